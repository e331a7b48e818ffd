"""Where a field of the canonical spec was written, whatever form its author chose."""

from __future__ import annotations

import pytest

from schemas.errors import Place
from schemas.load import Text, load

WEB = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: web}
spec:
  image: nginx
  environment:
    - FOO=1
    - BAR
  networks:
    - front
    - back
  depends_on: [db]
  ports:
    - 80:80
    - 443:443
  expose: ["8000-8003"]
  volumes:
    - data:/srv
    - {type: bind, source: /x, target: /y,
       read_only: true}
  env_file: one.env
  extra_hosts: ["db:10.0.0.1"]
  labels:
    FOO: 1
"""

PLACES = [
    pytest.param(("environment", "FOO"), (7, 7), id="an item that stands for an entry"),
    pytest.param(("environment", "BAR"), (8, 7), id="an item without a value"),
    pytest.param(("environment", "BA"), (6, 3), id="no item for it: the field"),
    pytest.param(("networks", "back"), (11, 7), id="a list of names that stands for a map"),
    pytest.param(("networks", "back", "ipv4_address"), (11, 7), id="below an item that stands for an entry"),
    pytest.param(("depends_on", "db", "condition"), (12, 16), id="a dependency"),
    pytest.param(("ports", 1, "published"), (15, 7), id="a part of a short form"),
    pytest.param(("expose", 2), (16, 3), id="one of many that an item stands for: the field"),
    pytest.param(("volumes", 1, "read_only"), (20, 8), id="a part of a long form"),
    pytest.param(("env_file", 0, "path"), (21, 3), id="a text that stands for a list"),
    pytest.param(("extra_hosts", "db"), (22, 17), id="an entry with a colon"),
    pytest.param(("labels", "FOO"), (24, 5), id="an entry of a map"),
]


@pytest.mark.parametrize(("path", "place"), PLACES)
def test_the_place_of(path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    (web,) = load([Text("web.yaml", WEB)], {})
    assert web.place(("spec", *path)) == Place("web.yaml", *place)
