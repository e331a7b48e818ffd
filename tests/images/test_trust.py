"""`verify`: an image that nobody vouched for is refused before any of its layers is fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.image import trust as image_trust
from reconciler.images.trusting import read_policy
from reconciler.registries import read_registries
from runtime.images.blobs import BlobStore
from runtime.images.documents import canonical_json
from runtime.images.layers import list_layers
from runtime.images.registry.referrers import list_referrers
from runtime.images.store import read_image
from runtime.images.trust.listed import is_listed, line_of
from runtime.images.trust.signing import ARTIFACT, is_signed, names_digest, payload_of, public_of, sign, signature_tag
from schemas.errors import Refused
from schemas.image_verify import VerifySpec
from schemas.reference import Reference
from tests.cli.engine import Engine, making_engine
from tests.images.shop import Shop
from tests.machine.machine import Machine
from tests.machine.probe import document
from tests.registry.distribution import docker_registry, openssl
from tests.registry.fake import serving
from tests.registry.samples import image, index, layer_tar, push

DIGEST = f"sha256:{'a' * 64}"
REFERENCE = Reference.parse("registry.lan/app:1")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs by openssl(1): `ours` and `theirs` on P-256, `other` on another curve; and a list's key."""
    made = tmp_path_factory.mktemp("keys")
    for name, curve in (("ours", "P-256"), ("theirs", "P-256"), ("other", "P-384")):
        openssl(made, "genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", f"{name}.key")
        openssl(made, "pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")
    (made / "list.key").write_text("0123456789abcdef0123456789abcdef\n")
    return made


def test_a_signature_is_what_openssl_verifies_and_the_other_way_round(keys: Path, tmp_path: Path) -> None:
    payload = payload_of(REFERENCE, DIGEST)
    assert payload == (
        b'{"critical":{"identity":{"docker-reference":"registry.lan/app"},"image":{"docker-manifest-digest":"%b"},'
        b'"type":"cosign container image signature"},"optional":null}' % DIGEST.encode()
    )
    (tmp_path / "payload").write_bytes(payload)
    signature = sign((keys / "ours.key").read_bytes(), payload)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature))
    verify = ("dgst", "-sha256", "-verify", str(keys / "ours.pub"), "-signature", "signature", "payload")
    openssl(tmp_path, *verify)
    openssl(tmp_path, "dgst", "-sha256", "-sign", str(keys / "theirs.key"), "-out", "signature", "payload")
    theirs = base64.b64encode((tmp_path / "signature").read_bytes()).decode()
    assert is_signed((keys / "theirs.pub").read_bytes(), payload, theirs)
    assert not is_signed((keys / "ours.pub").read_bytes(), payload, theirs)
    assert not is_signed((keys / "theirs.pub").read_bytes(), payload + b" ", theirs)
    assert not is_signed((keys / "theirs.pub").read_bytes(), payload, "no base64!")
    assert not is_signed((keys / "theirs.pub").read_bytes(), payload, "no ASCII: ü")
    assert public_of((keys / "ours.key").read_bytes()) == (keys / "ours.pub").read_bytes()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"critical": {}}',
        canonical_json({"critical": {"type": "another", "image": {"docker-manifest-digest": DIGEST}}}),
        payload_of(REFERENCE, f"sha256:{'b' * 64}"),
    ],
)
def test_a_document_that_says_something_else_vouches_for_nothing(payload: bytes) -> None:
    assert not names_digest(payload, DIGEST)
    assert names_digest(payload_of(REFERENCE, DIGEST), DIGEST)


@pytest.mark.parametrize("name", ["other.key", "ours.pub", "list.key"])
def test_what_is_no_key_on_p256_does_not_sign(keys: Path, name: str) -> None:
    with pytest.raises(Refused, match="is no"):
        sign((keys / name).read_bytes(), b"payload")


def test_a_list_vouches_by_codes_that_only_its_key_makes(keys: Path) -> None:
    key = (keys / "list.key").read_bytes()
    content = "# ours\n" + line_of(key, DIGEST, "app") + "\n"
    assert is_listed(key, content, DIGEST)
    assert not is_listed(b"another key, long enough", content, DIGEST)
    assert not is_listed(key, content.replace("a" * 64, "b" * 64), f"sha256:{'b' * 64}")
    with pytest.raises(Refused, match="fewer than 16 bytes"):
        is_listed(b"short", content, DIGEST)


@pytest.mark.parametrize("content", [None, b"\n"])
def test_a_key_that_is_not_there_trusts_nobody(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(Refused):
        read_policy(VerifySpec(keys=(str(tmp_path / "key"),)))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with making_engine() as made:
        made.layout.root.mkdir()
        yield made


@pytest.fixture(scope="module")
def shop(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as registry:
        made = Shop(Machine(engine.layout, Path("/nonexistent")), registry)
        made.settle()
        yield made


def manifest(reference: str, **verify: object) -> str:
    return document("Image", "app", ref=reference, verify=verify)


@pytest.mark.kernel
def test_an_unsigned_image_is_refused_and_a_signed_one_is_used(engine: Engine, shop: Shop, keys: Path) -> None:
    ref, theirs = shop.ref("app"), str(keys / "theirs.pub")
    digest = push(shop.registry, "app", "1", image())
    text = manifest(ref, keys=[str(keys / "ours.pub"), theirs])
    (failed,) = [each for each in shop.machine.apply(text) if not each.ok]
    assert isinstance(failed.error, Refused) and "no signature of any of the 2 keys is there" in str(failed.error)
    assert read_image(shop.machine.layout, "app") is None and list_layers(shop.machine.layout) == ()

    with pytest.raises(Refused, match="not trusted"):
        image_trust.verify(shop.machine.layout, ref, [theirs], None)
    said = engine.ok("image", "sign", ref, "--key", str(keys / "theirs.key"))
    assert said.out.strip() == f"{ref}@{digest}"
    assert engine.ok("image", "verify", ref, "--key", theirs).out == said.out
    shop.machine.converge(text)
    record = read_image(shop.machine.layout, "app")
    assert record is not None and record.digest == digest and record.tags == (ref,)

    (failed,) = [each for each in shop.machine.apply(manifest(ref, keys=[str(keys / "ours.pub")])) if not each.ok]
    assert "no signature of the key is there" in str(failed.error)
    shop.machine.delete()


@pytest.mark.kernel
def test_a_signature_stands_under_its_tag_and_refers_and_is_made_once(shop: Shop, keys: Path) -> None:
    digest = push(
        shop.registry, "twice", "1", index({"linux/amd64": image(), "linux/arm64": image(architecture="arm64")})
    )
    layout = shop.machine.layout
    for name in ("ours", "ours", "theirs"):
        image_trust.sign(layout, shop.ref("twice"), str(keys / f"{name}.key"), None)
    tagged = shop.manifest("twice", signature_tag(digest))
    assert tagged is not None
    layers = tagged["layers"]
    assert [layer["mediaType"] for layer in layers] == ["application/vnd.dev.cosign.simplesigning.v1+json"] * 2
    assert shop.blob("twice", layers[0]["digest"]) == payload_of(Reference.parse(shop.ref("twice")), digest)
    listed, found = list_referrers(Reference.parse(shop.ref("twice")), read_registries(layout), ARTIFACT)
    assert listed == digest and len(found) == 2
    shop.machine.converge(manifest(shop.ref("twice"), keys=[str(keys / "theirs.pub")]))
    shop.machine.delete()


@pytest.mark.kernel
def test_a_list_is_added_to_and_vouches_for_what_it_names(shop: Shop, keys: Path, tmp_path: Path) -> None:
    push(shop.registry, "listed", "1", image(layer_tar({"listed": b"yes"})))
    listed, key, ref = str(tmp_path / "list"), str(keys / "list.key"), shop.ref("listed")
    (tmp_path / "list").write_text("# nothing yet")
    text = manifest(ref, list=listed, list_key=key)
    (failed,) = [each for each in shop.machine.apply(text) if not each.ok]
    assert "the list does not name it" in str(failed.error)
    for _ in range(2):
        image_trust.sign(shop.machine.layout, ref, key, listed)
    assert len((tmp_path / "list").read_text().splitlines()) == 2
    image_trust.verify(shop.machine.layout, ref, [key], listed)
    shop.machine.converge(text)
    (tmp_path / "list").write_text("# revoked\n")
    (failed,) = [each for each in shop.machine.apply(text) if not each.ok]
    assert "the list does not name it" in str(failed.error)
    shop.machine.delete()


@pytest.mark.kernel
def test_a_repair_believes_whom_the_manifest_believes(engine: Engine, shop: Shop, keys: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_bytes((keys / "ours.pub").read_bytes())
    ref, layout = shop.ref("mended"), shop.machine.layout
    good = image(layer_tar({"mended": b"good"}))
    digest = push(shop.registry, "mended", "1", good)
    engine.ok("image", "sign", ref, "--key", str(keys / "ours.key"))
    text = manifest(ref, keys=[str(tmp_path / "key.pub")])
    shop.machine.converge(text)
    record = read_image(layout, "app")
    assert record is not None and record.digest == digest
    BlobStore(layout).path(record.blobs[0].digest).write_bytes(b"spoilt")
    push(shop.registry, "mended", "1", image(layer_tar({"mended": b"evil"})))

    engine.ok("system", "fsck", "--repair")
    record = read_image(layout, "app")
    assert record is not None and record.digest == digest
    assert engine.run("system", "fsck").code == 0 and shop.machine.diff(text).empty

    (tmp_path / "key.pub").write_bytes((keys / "theirs.pub").read_bytes())
    BlobStore(layout).path(record.blobs[0].digest).write_bytes(b"spoilt")
    said = engine.run("system", "fsck", "--repair")
    assert said.code == 1 and "! Image/app cannot be mended" in said.out and "is not trusted" in said.out
    shop.machine.delete()


@pytest.mark.kernel
def test_no_layer_of_a_refused_image_is_asked_for(shop: Shop, keys: Path) -> None:
    with serving() as fake:
        sample = fake.hold(image(), tag="1")
        shop.settle(fake.host)
        try:
            text = manifest(f"{fake.host}/app:1", keys=[str(keys / "ours.pub")])
            (failed,) = [each for each in shop.machine.apply(text) if not each.ok]
        finally:
            shop.settle()
        assert "is not trusted" in str(failed.error)
        assert [asked for asked in fake.seen if "/blobs/" in asked.path] == []
        assert sample.layers
    shop.machine.delete()


def built(dockerfile: str, context: Path, name: str = "app", **more: object) -> str:
    return document("Image", name, build={"context": str(context), "dockerfile_inline": dockerfile, **more})


@pytest.mark.kernel
def test_a_build_begins_only_with_what_was_vouched_for(engine: Engine, shop: Shop, keys: Path, tmp_path: Path) -> None:
    ref, layout = shop.ref("begun"), shop.machine.layout
    push(shop.registry, "begun", "1", image(layer_tar({"begun": b"1"})))
    before = list_layers(layout)
    text = built(f"FROM {ref}\nENV A=1\n", tmp_path, verify=[str(keys / "ours.pub")])
    (failed,) = [each for each in shop.machine.apply(text) if not each.ok]
    assert "is not trusted" in str(failed.error)
    assert read_image(layout, "app") is None and list_layers(layout) == before

    engine.ok("image", "sign", ref, "--key", str(keys / "ours.key"))
    shop.machine.converge(text)
    # what is here already, and came from a registry, is asked about all the same
    other = built(f"FROM scratch\nCOPY --from={ref} / /\n", tmp_path, "other", verify=[str(keys / "theirs.pub")])
    (failed,) = [each for each in shop.machine.apply(text + other) if not each.ok]
    assert failed.action.key.name == "other" and "is not trusted" in str(failed.error)
    shop.machine.delete()


@pytest.mark.kernel
def test_a_build_believes_whom_the_manifest_of_its_base_believes(shop: Shop, keys: Path, tmp_path: Path) -> None:
    ref, layout = shop.ref("shared"), shop.machine.layout
    push(shop.registry, "shared", "1", image(layer_tar({"shared": b"1"})))
    base = document("Image", "base", ref=ref, verify=[str(keys / "ours.pub")])
    for name in ("base", ref):
        # by its name it waits for the manifest's; by its reference it is held against the same keys
        outcomes = shop.machine.apply(base + built(f"FROM {name}\nENV A=1\n", tmp_path))
        assert not any(each.ok for each in outcomes)
        assert read_image(layout, "app") is None and read_image(layout, "base") is None
        shop.machine.delete()
    assert not any("shared" in path.name for tree in layout.layers.iterdir() for path in (tree / "tree").iterdir())


@pytest.mark.kernel
def test_a_registry_may_say_who_must_vouch_for_images_of_no_manifest(
    engine: Engine, shop: Shop, keys: Path, tmp_path: Path
) -> None:
    ref, layout, host = shop.ref("implied"), shop.machine.layout, shop.registry.host
    push(shop.registry, "implied", "1", image(layer_tar({"implied": b"1"})))
    trust = f"registries: {{'{host}': {{insecure: true, verify: {{keys: [{keys / 'ours.pub'}]}}}}}}\n"
    (layout.root / "registries.yaml").write_text(trust)
    try:
        before = list_layers(layout)
        container = document("Container", "web", image=ref, command=["true"], network_mode="none")
        outcomes = shop.machine.apply(container)
        assert any("is not trusted" in str(each.error) for each in outcomes)
        outcomes = shop.machine.apply(built(f"FROM {ref}\nENV A=1\n", tmp_path, "second"), "other")
        assert any("is not trusted" in str(each.error) for each in outcomes)
        assert "is not trusted" in engine.run("image", "pull", ref).err
        assert list_layers(layout) == before
        # its own manifest has the last word
        engine.ok("image", "sign", ref, "--key", str(keys / "theirs.key"))
        shop.machine.converge(manifest(ref, keys=[str(keys / "theirs.pub")]), "own")
    finally:
        shop.settle()
    for name in ("own", "other", "shop"):
        shop.machine.delete(name)
