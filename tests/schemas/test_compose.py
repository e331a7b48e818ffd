"""A compose file is an input like any other: the same objects as of manifests, the same problems at their places."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.check import check
from schemas.container import ContainerSpec
from schemas.envelope import Declared
from schemas.errors import Invalid
from schemas.image import ImageSpec
from schemas.load import Text, load
from schemas.names import Kind
from schemas.service import ServiceSpec

SHOP = """\
name: shop
version: "3.9"
x-logging: &logging
  driver: local
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: ["8080:80"]
    logging: *logging
    depends_on:
      db:
        condition: service_healthy
    networks: [front, back]
    deploy:
      replicas: 3
      resources:
        limits: {memory: 64m}
  db:
    image: postgres:16
    environment:
      POSTGRES_PASSWORD_FILE: /run/secrets/password
      VERSION: 1.10
    volumes:
      - data:/var/lib/postgresql/data
    secrets: [password]
    networks: [back]
    restart: unless-stopped
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U postgres"]
      interval: 10s
    deploy:
      resources:
        limits:
          cpus: "0.5"
          memory: 256m
        reservations: {memory: 128m}
      restart_policy: {condition: any}
networks:
  front:
  back: {internal: true}
volumes:
  data: {}
secrets:
  password:
    file: ./password.txt
"""


def load_compose(text: str, **environment: str) -> dict[str, Declared]:
    return {str(declared.key): declared for declared in load([Text("compose.yaml", text)], environment)}


def specs_of(text: str, **environment: str) -> dict[str, Any]:
    return {key: declared.spec for key, declared in load_compose(text, **environment).items()}


def problems_of(text: str) -> list[str]:
    try:
        objects = load([Text("compose.yaml", text)], {})
    except Invalid as refusal:
        return [str(problem) for problem in refusal.problems]
    return [str(problem) for problem in check(objects)]


def test_a_shop_becomes_its_objects() -> None:
    shop = load_compose(SHOP)
    assert list(shop) == [
        "Service/web",
        "Container/db",
        "Network/front",
        "Network/back",
        "Volume/data",
        "Secret/password",
    ]
    assert check(list(shop.values())) == []
    web, database = shop["Service/web"].spec, shop["Container/db"].spec
    assert isinstance(web, ServiceSpec)
    assert isinstance(database, ContainerSpec)
    assert (web.image, web.deploy.replicas, web.deploy.resources.limits.memory) == ("nginx:1.27", 3, 64 * 2**20)
    assert (database.cpus, database.mem_limit, database.mem_reservation) == (0.5, 256 * 2**20, 128 * 2**20)
    assert database.restart == "unless-stopped"
    assert database.environment["VERSION"] == "1.10"


def test_it_is_the_same_as_the_manifests_one_would_write() -> None:
    manifest = """\
apiVersion: trimtab/v1
kind: Container
metadata: {name: db}
spec:
  image: postgres:16
  volumes: ["data:/srv"]
  cpus: 2
  restart: on-failure
"""
    compose = """\
services:
  db:
    image: postgres:16
    volumes: [{type: volume, source: data, target: /srv}]
    deploy: {resources: {limits: {cpus: 2}}, restart_policy: {condition: on-failure}}
"""
    (written,) = load([Text("db.yaml", manifest)], {})
    assert specs_of(compose)["Container/db"] == written.spec


def test_every_field_has_its_place() -> None:
    database = load_compose(SHOP)["Container/db"]
    assert str(database.place()) == "compose.yaml:18:3"
    assert str(database.place(("spec", "volumes", 0))) == "compose.yaml:24:9"
    assert str(database.place(("spec", "mem_limit"))) == "compose.yaml:35:11"
    assert database.origin.line == 18


KINDS = [
    ("{image: a}", "Container"),
    ("{image: a, scale: 1}", "Service"),
    ("{image: a, deploy: {replicas: 1}}", "Service"),
    ("{image: a, deploy: {mode: replicated}}", "Service"),
    ("{image: a, deploy: {update_config: {parallelism: 2}}}", "Service"),
    ("{image: a, deploy: {labels: {a: b}}}", "Container"),
    ("{image: a, deploy: {resources: {limits: {pids: 9}}}}", "Container"),
]


@pytest.mark.parametrize(("service", "kind"), KINDS, ids=[service for service, _ in KINDS])
def test_a_service_becomes_a(service: str, kind: str) -> None:
    assert list(specs_of(f"services: {{web: {service}}}")) == [f"{kind}/web"]


def test_scale_is_replicas() -> None:
    assert specs_of("services: {web: {image: a, scale: 4}}")["Service/web"].deploy.replicas == 4


def test_names_of_the_file_become_those_of_the_objects() -> None:
    text = """\
services:
  web:
    image: a
    container_name: shop-web
    depends_on: [db]
    networks: {net: {aliases: [www]}}
    volumes: ["data:/a", {type: volume, source: data, target: /b}, "./x:/c"]
    secrets: [key]
    configs: [{source: conf, target: /conf}]
  db: {image: a, container_name: shop-db, pid: "service:cache", network_mode: "service:app"}
  app: {image: a, scale: 2}
  cache: {image: a, container_name: shop-cache}
networks: {net: {name: shop-net}}
volumes: {data: {name: shop-data, external: true}}
secrets: {key: {name: shop-key, content: x}}
configs: {conf: {name: shop-conf, content: x}}
"""
    objects = load_compose(text)
    assert sorted(objects) == [
        "Config/shop-conf",
        "Container/shop-cache",
        "Container/shop-db",
        "Container/shop-web",
        "Network/shop-net",
        "Secret/shop-key",
        "Service/app",
        "Volume/shop-data",
    ]
    assert check(list(objects.values())) == []
    web: Any = objects["Container/shop-web"].spec
    database: Any = objects["Container/shop-db"].spec
    assert list(web.depends_on) == ["shop-db"]
    assert web.networks["shop-net"].aliases == ("www", "web")
    assert [mount.source for mount in web.volumes] == ["shop-data", "shop-data", "./x"]
    assert (web.secrets[0].source, web.configs[0].source) == ("shop-key", "shop-conf")
    assert (database.pid, database.network_mode) == ("container:shop-cache", "service:app")


def test_profiles_are_off_unless_asked_for() -> None:
    text = "services: {web: {image: a}, debug: {image: a, profiles: [dev, test]}}"
    assert list(specs_of(text)) == ["Container/web"]
    assert list(specs_of(text, COMPOSE_PROFILES="x,dev")) == ["Container/web", "Container/debug"]


def test_an_external_secret_is_no_object() -> None:
    text = "services: {web: {image: a, secrets: [key]}}\nsecrets: {key: {external: true}}\n"
    objects = load([Text("compose.yaml", text)], {})
    assert [declared.key.kind for declared in objects] == [Kind.CONTAINER]
    assert check(objects, [*(declared.key for declared in objects)]) != []


REFUSED = [
    pytest.param(
        "services:\n  web:\n    image: nginx:${NO_TAG}\n",
        ["compose.yaml:3:12 services.web.image: the variable NO_TAG is not set"],
        id="a variable that is not set, and nothing that follows from it",
    ),
    pytest.param(
        "services:\n  web: {imag: a, image: b}\n",
        ["compose.yaml:2:9 Container/web spec.imag: is not a field here; did you mean image?"],
        id="an unknown field",
    ),
    pytest.param(
        "services:\n  web:\n    build: {context: ., contxt: b}\n",
        ["compose.yaml:3:25 Image/web spec.build.contxt: is not a field here; did you mean context?"],
        id="a build",
    ),
    pytest.param(
        "services: {web: {image: a}}\nvolume: {}\n",
        ["compose.yaml:2:1 volume: is no section of a compose file; did you mean volumes?"],
        id="an unknown section",
    ),
    pytest.param(
        "services: {web: {image: a}}\ninclude: [x.yaml]\n",
        ["compose.yaml:2:1 include: is not known to this engine; give its files beside this one"],
        id="an include",
    ),
    pytest.param(
        "services: [web]\n", ["compose.yaml:1:1 services: is a list, not a map; write `name:` lines"], id="a list"
    ),
    pytest.param(
        "services: {web: nginx}\n", ["compose.yaml:1:12 services.web: 'nginx' is not a map"], id="a service of text"
    ),
    pytest.param(
        "services: {Web: {image: a}}\n",
        ["compose.yaml:1:12 services.Web: 'Web' is not a name; write web"],
        id="a service with a capital",
    ),
    pytest.param(
        "services: {web: {image: a, scale: 2, container_name: x}}\n",
        ["compose.yaml:1:38 services.web.container_name: is one name, and there may be several replicas"],
        id="a name for several replicas",
    ),
    pytest.param(
        "services: {web: {image: a, deploy: {placement: {constraints: [x]}}}}\n",
        ["compose.yaml:1:49 services.web.deploy.placement.constraints: is not known of a single container"],
        id="placement of a container",
    ),
    pytest.param(
        "services: {web: {image: a, networks: [fron], depends_on: [db]}}\nnetworks: {front: }\n",
        [
            "compose.yaml:1:39 Container/web spec.networks.fron: there is no Network fron; did you mean front?",
            "compose.yaml:1:59 Container/web spec.depends_on.db: there is no Container or Service db",
        ],
        id="dangling references",
    ),
    pytest.param(
        "services:\n  web: {image: a, deploy: {resources: {limits: {memory: lots}}}}\n",
        ["compose.yaml:2:49 Container/web spec.mem_limit: 'lots' is no size"],
        id="a limit below deploy",
    ),
    pytest.param(
        "services: {web: {image: a, deploy: 3}}\n",
        ["compose.yaml:1:28 Container/web spec.deploy: is not a field here"],
        id="deploy that is no map",
    ),
    pytest.param(
        "services: {web: {image: a}}\nservices: {}\n", ["compose.yaml:2:1 services: the key services was"], id="twice"
    ),
    pytest.param(
        "services: {web: {image: !reset a}}\n", ["compose.yaml:1:25 services.web.image: the tag !reset"], id="!reset"
    ),
]


@pytest.mark.parametrize(("text", "problems"), REFUSED)
def test_it_is_refused(text: str, problems: list[str]) -> None:
    found = problems_of(text)
    assert len(found) == len(problems), found
    for each, wanted in zip(found, problems, strict=True):
        assert each.startswith(wanted)


def test_a_service_with_a_build_is_an_image_and_what_runs_it() -> None:
    text = "services:\n  web: {build: ./web}\n  api: {image: shop/api:1, build: {dockerfile: api.Dockerfile}}\n"
    found = {str(each.key): each.spec for each in load([Text("compose.yaml", text)], {})}
    assert sorted(found) == ["Container/api", "Container/web", "Image/api", "Image/web"]
    web, api, container = found["Image/web"], found["Image/api"], found["Container/api"]
    assert isinstance(web, ImageSpec)
    assert isinstance(api, ImageSpec)
    assert isinstance(container, ContainerSpec)
    assert web.build is not None
    assert web.build.context == "web"
    assert api.build is not None
    assert (api.build.context, api.build.dockerfile) == (".", "api.Dockerfile")
    assert api.build.tags == ("docker.io/shop/api:1",)
    assert container.image == "api"
