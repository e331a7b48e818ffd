"""Files of the real sops 3.11 (`sops_made/`), and of an encryptor of our own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sources.contents import read_contents, read_environments
from reconciler.sources.sealed import is_sealed
from reconciler.sources.sops import NO_KEYS, read_keys, unseal_file, unseal_texts
from schemas.errors import Invalid, Refused
from schemas.load import Text, load
from tests.sources.sealing import seal

MADE = Path(__file__).parent / "sops_made"
KEYS = read_keys((MADE / "keys.txt").read_bytes())
CONTENT = 'pass: "wörd" \n two 😀'


def opened(name: str) -> str:
    texts, sealed = unseal_texts([Text(name, (MADE / name).read_bytes())], KEYS)
    assert sealed == {name}
    assert isinstance(texts[0].text, str)
    return texts[0].text


@pytest.mark.parametrize("name", ["all.yaml", "content.yaml", "mac.yaml", "unencrypted.yaml"])
def test_what_sops_has_encrypted_is_read_as_manifests(name: str) -> None:
    secret, config = load([Text(name, opened(name))], {})
    assert secret.spec.content == CONTENT  # type: ignore[attr-defined]
    assert config.spec.content == "a\nb\n"  # type: ignore[attr-defined]
    assert secret.metadata.labels["tier"] == "back"


@pytest.mark.parametrize("name", ["all.yaml", "content.yaml", "all.json"])
def test_every_line_keeps_its_number(name: str) -> None:
    before, after = (MADE / name).read_text().splitlines(), opened(name).splitlines()
    for number, line in enumerate(before):
        word = re.match(r"\W*(apiVersion|kind|spec|content)", line)
        if word is not None:
            assert after[number].startswith(word[0])


def test_json_is_read_too() -> None:
    (secret,) = load([Text("all.json", opened("all.json"))], {})
    assert secret.spec.content == "x\ty"  # type: ignore[attr-defined]


def test_files_that_manifests_point_at_are_read_in_every_form() -> None:
    assert unseal_file("app.env", (MADE / "app.env").read_bytes(), KEYS) == b'USER=shop\nPASSWORD=a b=c "d"\nEMPTY=\n'
    assert unseal_file("token.bin", (MADE / "token.bin").read_bytes(), KEYS) == "binary\nsecret é\n".encode()


def test_an_ssh_key_opens_what_was_encrypted_for_it() -> None:
    keys = read_keys((MADE / "ssh.key").read_bytes())
    texts, _ = unseal_texts([Text("ssh.yaml", (MADE / "ssh.yaml").read_bytes())], keys)
    assert load(texts, {})[0].spec.content == CONTENT  # type: ignore[attr-defined]


def test_without_the_key_nothing_is_told_but_what_to_do() -> None:
    text = Text("all.yaml", (MADE / "all.yaml").read_bytes())
    with pytest.raises(Refused, match="the source has no keys"):
        unseal_texts([text], NO_KEYS)
    with pytest.raises(Refused, match="not encrypted for any"):
        unseal_texts([text], (pyrage.x25519.Identity.generate(),))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("content.yaml", "name: db", "name: other"),
        ("content.yaml", "large: 1e+06", "large: 2e+06"),
        ("app.env", "sops_lastmodified=2", "sops_lastmodified=3"),
    ],
)
def test_a_value_that_was_changed_afterwards_is_found_by_the_mac(name: str, old: str, new: str) -> None:
    content = (MADE / name).read_text()
    assert old in content
    with pytest.raises(Refused, match="MAC does not fit"):
        unseal_file(name, content.replace(old, new).encode(), KEYS)


def test_with_a_mac_of_encrypted_values_only_the_others_may_change() -> None:
    content = (MADE / "mac.yaml").read_text().replace("name: db", "name: other")
    assert b"name: other" in unseal_file("mac.yaml", content.encode(), KEYS)
    content = re.sub(r"(?m)^spec:\n    content: .*\n", "spec: {}\n", content, count=1)
    with pytest.raises(Refused, match="MAC does not fit"):
        unseal_file("mac.yaml", content.encode(), KEYS)


def test_a_value_moved_to_another_place_is_refused_with_its_line() -> None:
    content = (MADE / "all.yaml").read_text()
    first, second = re.findall(r"(?m)^(?:kind|    name): (ENC.*)$", content)[:2]
    moved = content.replace(first, "<first>").replace(second, first).replace("<first>", second)
    with pytest.raises(Invalid, match=r"all.yaml:3:7 kind: cannot be decrypted"):
        unseal_file("all.yaml", moved.encode(), KEYS)


def test_a_plain_value_among_encrypted_ones_is_refused() -> None:
    content = re.sub(r"(?m)^kind: ENC.*$", "kind: Secret", (MADE / "all.yaml").read_text(), count=1)
    with pytest.raises(Invalid, match=r"all.yaml:3:7 kind: is not encrypted"):
        unseal_file("all.yaml", content.encode(), KEYS)


def test_an_encrypted_value_in_a_plain_file_is_refused() -> None:
    value = re.findall(r"ENC\[AES.*", (MADE / "all.yaml").read_text())[3]
    with pytest.raises(Invalid, match=r"x.yaml:2:6 a.b: is encrypted, but the file has no notes"):
        unseal_texts([Text("x.yaml", f"a:\n  b:  {value}\n".replace("  b:  ", "  b: "))], KEYS)


def test_plain_texts_stay_as_they_are() -> None:
    texts = (Text("a.yaml", b"a: &x 1\nb: *x\n"), Text("b.yaml", "# ENC[AES256_GCM,data:\na: 1\n"))
    assert unseal_texts(texts, NO_KEYS)[0] == texts


@pytest.mark.parametrize(
    "notes",
    [
        {"pgp": [{"enc": "x"}], "mac": "m", "lastmodified": "l"},
        {"kms": [{"arn": "x"}]},
        {"age": [{"enc": "x"}]},
        {"age": [{"enc": "x"}], "mac": "m", "lastmodified": "l", "encrypted_regex": "("},
        {"age": [{"enc": "x"}], "mac": "m", "lastmodified": "l", "encrypted_comment_regex": "x"},
        {"age": [{"enc": "x"}], "mac": "m", "lastmodified": "l", "encrypted_regex": "x", "encrypted_suffix": "y"},
        {"age": "x", "mac": [], "lastmodified": {}},
        {},
        {"key_groups": [{"age": []}, {"age": []}]},
    ],
)
def test_notes_that_cannot_be_followed_are_refused(notes: dict[str, Any]) -> None:
    text = json.dumps({"a": "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]", "sops": notes})
    with pytest.raises(Refused):
        unseal_texts([Text("x.json", text)], KEYS)


def test_no_message_holds_a_key() -> None:
    with pytest.raises(Refused) as refused:
        read_keys(b"AGE-SECRET-KEY-1NOTAKEY\n")
    assert "NOTAKEY" not in str(refused.value)
    with pytest.raises(Refused):
        read_keys(b"# nothing\n")


def test_whoever_applies_without_the_source_gets_no_ciphertext_for_a_secret(tmp_path: Path) -> None:
    sealed = (MADE / "all.yaml").read_text()
    value = re.findall(r"(?m)^kind: (ENC.*)$", sealed)[0]
    (tmp_path / "app.env").write_bytes((MADE / "app.env").read_bytes())
    head = "apiVersion: trimtab/v1\nkind: {}\nmetadata: {{name: x}}\nspec:\n  {}\n"
    with pytest.raises(Invalid, match=r"s.yaml:4:1 Secret/x spec: is encrypted with SOPS; give the source"):
        read_contents(load([Text("s.yaml", head.format("Secret", f"content: '{value}'"))], {}), {})
    read_contents(load([Text("s.yaml", head.format("Config", f"content: '{value}'"))], {}), {})
    container = head.format("Container", f"image: a\n  env_file: {tmp_path}/app.env")
    with pytest.raises(Invalid, match=r"env_file\[0\]: is encrypted with SOPS"):
        read_environments(load([Text("c.yaml", container)], {}), {})


SCALARS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.integers(-(2**31), 2**31),
    st.booleans(),
)
NAMES = st.text(alphabet="abcxyz_:", min_size=1, max_size=6).filter(lambda name: name != "sops")
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    ),
    min_size=1,
    max_size=4,
)


@given(TREES)
def test_any_tree_comes_back_as_it_was(tree: dict[str, Any]) -> None:
    identity = pyrage.x25519.Identity.generate()
    made = seal(tree, identity.to_public())
    if not is_sealed(made.encode()):
        return
    opened = unseal_texts([Text("x.json", made)], (identity,))[0][0].text
    assert isinstance(opened, str)
    import yaml

    assert yaml.safe_load(opened) == tree


@given(TREES, st.data())
def test_no_changed_byte_goes_unnoticed(tree: dict[str, Any], data: st.DataObject) -> None:
    identity = pyrage.x25519.Identity.generate()
    made = seal(tree, identity.to_public())
    values = re.findall(r"ENC\[AES256_GCM,data:([^,]+)", made)
    value = data.draw(st.sampled_from(values))
    at = data.draw(st.integers(0, len(value.rstrip("=")) - 2))
    other = "A" if value[at] != "A" else "B"
    changed = made.replace(value, value[:at] + other + value[at + 1 :], 1)
    with pytest.raises(Refused):
        unseal_texts([Text("x.json", changed)], (identity,))
