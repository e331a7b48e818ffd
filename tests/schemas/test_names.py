"""Keys as people write them."""

from __future__ import annotations

import pytest

from schemas.names import Key, Kind


@pytest.mark.parametrize("written", ["container/web", "Container/web", "containers/web", "CONTAINERS/web"])
def test_a_key_is_read_in_any_case_and_number(written: str) -> None:
    assert Key.parse(written) == Key(Kind.CONTAINER, "web")


@pytest.mark.parametrize(
    "written", ["web", "pod/web", "container/", "container/Web", "container/web\n", "container/../web"]
)
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not KIND/NAME"):
        Key.parse(written)
