"""Records on disk: what is refused, what is read back, what a crash leaves."""

from __future__ import annotations

import pytest

from runtime.layout import Layout
from runtime.network.dns.record_files import NetworkRecords, OwnerRecords
from runtime.network.dns.records import ensure_listen, ensure_records, read_records, remove_listen, remove_records
from schemas.errors import Refused


def test_what_was_recorded_is_read_back(layout: Layout) -> None:
    assert read_records(layout) == {}
    assert ensure_listen(layout, "front", ["10.1.0.1/24", "fd01::1/64"], internal=True)
    assert ensure_records(layout, "front", "web", ["Web", "www."], ["10.1.0.2", "fd01::0002"], ["1.1.1.1"])
    assert read_records(layout) == {
        "front": NetworkRecords(
            ("10.1.0.1/24", "fd01::1/64"),
            True,
            {"web": OwnerRecords(("web", "www"), ("10.1.0.2", "fd01::2"), ("1.1.1.1",))},
        )
    }


def test_what_was_removed_is_gone_and_removing_it_again_is_nothing(layout: Layout) -> None:
    ensure_listen(layout, "front", ["10.1.0.1/24"])
    ensure_records(layout, "front", "web", ["web"], ["10.1.0.2"])
    for _ in range(2):
        remove_records(layout, "front", "web")
    assert read_records(layout)["front"].owners == {}
    for _ in range(2):
        remove_listen(layout, "front")
    assert read_records(layout) == {}


def test_a_half_written_record_is_not_seen_and_not_in_the_way(layout: Layout) -> None:
    ensure_records(layout, "front", "web", ["web"], ["10.1.0.2"])
    (layout.dns / "networks/front/.web.123").write_bytes(b'{"na')
    assert list(read_records(layout)["front"].owners) == ["web"]
    remove_listen(layout, "front")
    assert not (layout.dns / "networks/front").exists()


@pytest.mark.parametrize(
    ("names", "addresses", "reason"),
    [
        (["bad name"], ["10.0.0.1"], "not a DNS name"),
        (["a..b"], ["10.0.0.1"], "not a DNS name"),
        (["x" * 64], ["10.0.0.1"], "not a DNS name"),
        ([".".join(["abcdefgh"] * 30)], ["10.0.0.1"], "not a DNS name"),
        (["-web"], ["10.0.0.1"], "not a DNS name"),
        (["web"], ["10.0.0"], "does not appear to be"),
    ],
)
def test_a_record_that_cannot_be_answered_is_refused(
    layout: Layout, names: list[str], addresses: list[str], reason: str
) -> None:
    with pytest.raises(Refused, match=reason):
        ensure_records(layout, "front", "web", names, addresses)
    assert read_records(layout) == {}


@pytest.mark.parametrize("owner", ["", ".hidden", "../web", "a/b", "@network", "x" * 201])
def test_an_owner_that_is_no_file_name_is_refused(layout: Layout, owner: str) -> None:
    with pytest.raises(Refused, match="cannot name DNS records"):
        ensure_records(layout, "front", owner, ["web"], ["10.0.0.1"])


@pytest.mark.parametrize("address", ["10.1.0.1", "10.1.0.1/40", "gateway/24"])
def test_a_gateway_without_its_subnet_is_refused(layout: Layout, address: str) -> None:
    with pytest.raises(Refused, match="Network/front record its DNS addresses"):
        ensure_listen(layout, "front", [address])
