"""Registries that stall and break off: what is tried again, where it is taken up, and when it is given up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from runtime.images.blobs import BlobStore, BlobWriter
from runtime.images.registry.download import write_all
from runtime.images.registry.settings import RegistrySettings
from schemas.errors import RetryLater
from tests.registry.conftest import Pull
from tests.registry.fake import (
    Answer,
    Asked,
    Fake,
    breaks_after,
    error,
    reset,
    send_blob,
    silence,
    stall,
    status,
)
from tests.registry.samples import Sample, image, layer_tar, noise

# tried again


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("500 twice", [status(500), status(503)]),
        ("429 twice", [status(429, Retry_After="0"), status(429)]),
        ("a reset twice", [reset, reset]),
        ("silence", [silence]),
    ],
)
@pytest.mark.parametrize("what", ["/manifests/latest", "layer"])
def test_what_may_pass_is_tried_again(
    name: str, answers: list[Answer], what: str, fake: Fake, sample: Sample, pull_from: Pull
) -> None:
    fake.script(sample.largest if what == "layer" else what, *answers)
    assert pull_from(fake.host, "app:latest").digest == sample.digest


def test_the_pause_that_a_registry_asks_for_is_kept(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script("/manifests/latest", status(429, Retry_After="1"))
    started = time.monotonic()
    pull_from(fake.host, "app:latest")
    assert time.monotonic() - started >= 1.0


def test_a_pause_that_is_too_long_is_not_waited_for(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script("/manifests/latest", status(429, Retry_After="86400"))
    with pytest.raises(RetryLater, match=r"asks for fewer requests.*higher limit"):
        pull_from(fake.host, "app:latest")
    assert len(fake.asked("/manifests/latest")) == 1


def test_attempts_are_bounded_and_the_last_failure_is_told(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script("/manifests/latest", *[error(503, "UNAVAILABLE", "back\x1b[31m soon")] * 50)
    with pytest.raises(RetryLater, match=r"answered 503: UNAVAILABLE back \[31m soon"):
        pull_from(fake.host, "app:latest")
    assert len(fake.asked("/manifests/latest")) == 3


def test_a_stalled_layer_is_resumed_and_a_stalling_registry_given_up(
    fake: Fake, sample: Sample, pull_from: Pull
) -> None:
    fake.script(sample.largest, *[stall_in(sample.blobs[sample.largest])] * 50)
    started = time.monotonic()
    with pytest.raises(RetryLater, match=r"pull layer sha256:\w+: .*sent nothing for 0.4 s"):
        pull_from(fake.host, "app:latest")
    assert time.monotonic() - started < 10
    assert [one.range for one in fake.asked(sample.largest)] == [None, "bytes=1000-", "bytes=2000-"]

    fake.scripts.clear()
    assert pull_from(fake.host, "app:latest").digest == sample.digest


def stall_in(blob: bytes) -> Answer:
    """A thousand bytes more, then nothing."""
    send = breaks_after(blob, 1000)

    def answer(asked: Asked) -> None:
        send(asked)
        asked.fake.ended.wait(10)

    return answer


def test_a_stalled_body_of_a_manifest_is_given_up(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script("/manifests/latest", *[stall] * 3)
    with pytest.raises(RetryLater, match="sent nothing"):
        pull_from(fake.host, "app:latest")


def test_a_manifest_that_drips_is_given_up(
    fake: Fake, sample: Sample, pull_from: Pull, settings: RegistrySettings
) -> None:
    def drip(asked: Asked) -> None:
        asked.start(200, 1000)
        for _ in range(1000):
            asked.wfile.write(b" ")
            if asked.fake.ended.wait(0.05):
                break

    fake.script("/manifests/latest", drip, drip)
    quick = replace(settings, attempts=2, request_timeout=0.5)
    with pytest.raises(RetryLater, match=r"did not answer within 0\.5 s"):
        pull_from(fake.host, "app:latest", with_settings=quick)


# resumed


def test_a_broken_layer_is_resumed_where_it_broke(
    fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    blob = sample.blobs[sample.largest]
    fake.script(sample.largest, breaks_after(blob, 2_000_000), breaks_after(blob, 500_000))
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == [None, "bytes=2000000-", "bytes=2500000-"]
    assert store.path(sample.largest).read_bytes() == blob


def test_the_next_pull_resumes_what_a_failed_one_left(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, breaks_after(sample.blobs[sample.largest], 2_000_000), *[status(503)] * 50)
    with pytest.raises(RetryLater):
        pull_from(fake.host, "app:latest")
    fake.scripts.clear()
    fake.seen.clear()
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == ["bytes=2000000-"]


@pytest.mark.parametrize("count", [1_500_000, 2_900_000])
def test_what_came_before_a_break_is_kept_by_a_slow_disk_too(
    count: int, fake: Fake, sample: Sample, pull_from: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(writer: BlobWriter, piece: Sequence[bytes]) -> None:
        time.sleep(0.1)
        write_all(writer, piece)

    monkeypatch.setattr("runtime.images.registry.download.write_all", slowly)
    fake.script(sample.largest, breaks_after(sample.blobs[sample.largest], count))
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == [None, f"bytes={count}-"]


def test_an_attempt_that_brought_much_is_not_counted(fake: Fake, pull_from: Pull, settings: RegistrySettings) -> None:
    sample = fake.hold(image(layer_tar({"noise": noise(60_000_000)})))
    blob = sample.blobs[sample.largest]
    fake.script(sample.largest, *[breaks_after(blob, 10_000_000)] * 5)
    patient = replace(settings, stall_timeout=30.0, request_timeout=30.0)  # a busy machine stalls as well
    pull_from(fake.host, "app:latest", with_settings=patient)
    assert [one.range for one in fake.asked(sample.largest)] == [
        None,
        *(f"bytes={number}0000000-" for number in range(1, 6)),
    ]
    assert len(fake.asked(sample.largest)) > patient.attempts


def test_a_registry_without_ranges_sends_the_layer_anew(
    fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    blob = sample.blobs[sample.largest]
    fake.script(sample.largest, breaks_after(blob, 2_000_000), status(200, blob))
    pull_from(fake.host, "app:latest")
    assert store.path(sample.largest).read_bytes() == blob


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-999/{size}", "bytes 1999999-{last}/{size}", "bytes 2000000-{last}/9", "bytes */{size}", "nonsense", ""],
)
def test_another_range_than_asked_is_thrown_away(
    content_range: str, fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    blob = sample.blobs[sample.largest]
    said = content_range.format(size=len(blob), last=len(blob) - 1)
    wrong = status(206, blob[2_000_000:], Content_Range=said)
    fake.script(sample.largest, breaks_after(blob, 2_000_000), wrong)
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == [None, "bytes=2000000-", None]
    assert store.path(sample.largest).read_bytes() == blob


def test_a_range_that_was_not_asked_for_is_not_taken(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    blob = sample.blobs[sample.largest]
    part = status(206, blob[:10], Content_Range=f"bytes 0-9/{len(blob)}")
    fake.script(sample.largest, *[part] * 3)
    with pytest.raises(RetryLater, match="sent another range than asked"):
        pull_from(fake.host, "app:latest")


def test_416_starts_the_layer_anew(fake: Fake, sample: Sample, pull_from: Pull) -> None:
    fake.script(sample.largest, breaks_after(sample.blobs[sample.largest], 2_000_000), status(416))
    pull_from(fake.host, "app:latest")
    assert [one.range for one in fake.asked(sample.largest)] == [None, "bytes=2000000-", None]


def test_a_wrong_rest_is_noticed_and_the_layer_fetched_anew(
    fake: Fake, sample: Sample, store: BlobStore, pull_from: Pull
) -> None:
    blob = sample.blobs[sample.largest]
    lie = blob[:-1] + bytes([blob[-1] ^ 1])
    fake.script(sample.largest, breaks_after(blob, 2_000_000), lambda asked: send_blob(asked, lie))
    pull_from(fake.host, "app:latest")
    assert fake.asked(sample.largest)[-1].range is None
    assert store.path(sample.largest).read_bytes() == blob
