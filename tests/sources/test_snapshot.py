"""A look at a directory: what is read again, and what is known to be as it was."""

from __future__ import annotations

import os
import time
from pathlib import Path

from reconciler.sources.snapshot import LONG_STILL, take


def age(file: Path, seconds: float) -> None:
    at = time.time() - seconds
    os.utime(file, (at, at))


def test_a_file_that_has_long_stood_still_is_not_read_again(tmp_path: Path) -> None:
    old, new = tmp_path / "a.yaml", tmp_path / "b.yaml"
    old.write_text("a: 1\n")
    new.write_text("b: 1\n")
    age(old, 10 * LONG_STILL)
    age(new, -3600)
    seen = take(tmp_path)
    assert [stamp[0] for stamp in seen.kept] == [str(old)]
    again = take(tmp_path, last=seen)
    assert (again.digest, again.texts) == (seen.digest, seen.texts)
    assert again.texts[0].text is seen.texts[0].text and again.texts[1].text is not seen.texts[1].text


def test_an_edit_is_seen_whatever_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n")
    age(file, 10 * LONG_STILL)
    seen = take(tmp_path)
    file.write_text("a: 2\n")
    assert take(tmp_path, last=seen).digest == take(tmp_path).digest != seen.digest
    file.unlink()
    (tmp_path / "b.yaml").write_text("b: 1\n")
    assert [text.name for text in take(tmp_path, last=seen).texts] == [str(tmp_path / "b.yaml")]
