"""Writes docs/reference and docs/schemas from the models, and checks that what stands there is in step.

`python -m schemas.reference_docs --write` after a change of a model; `--check` in `make check`: it prints the files
that differ and exits with 1. Everything is made of the same declarations as `explain`'s text.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.explain import EFFECT_WORDS, children
from schemas.field import FieldInfo, fields_of
from schemas.jsonschema import any_manifest_schema, file_name, manifest_schema
from schemas.names import API_VERSION, Kind
from schemas.spec_models import SPEC_MODELS

DOCS = Path(__file__).parent.parent / "docs"
NOTICE = "<!-- Made by `python -m schemas.reference_docs --write` from the models in schemas/; do not edit. -->"


def documents() -> dict[str, str]:
    """Every generated file by its path below docs/."""
    made = {f"reference/{kind.value.lower()}.md": reference(kind) for kind in Kind}
    made["reference/README.md"] = index()
    made |= {f"schemas/{file_name(kind)}": _json(manifest_schema(kind)) for kind in Kind}
    made["schemas/trimtab.schema.json"] = _json(any_manifest_schema())
    return made


def index() -> str:
    """The page that leads to the kinds' pages."""
    lines = [
        NOTICE,
        "# Manifests",
        "",
        "Every manifest has four parts:",
        "",
        "```yaml",
        f"apiVersion: {API_VERSION}",
        "kind: Container",
        "metadata:",
        "  name: web               # unique among its kind: a-z, 0-9, and inside . _ -, at most 63",
        "  labels: {app: shop}     # to select by",
        "  annotations: {}         # for tools; trimtab/prune: disabled keeps the object from being pruned",
        "spec: {}                  # the fields of its kind",
        "```",
        "",
        "Several manifests in one file are parted by `---`; `${NAME:-default}` is filled in as Compose does.",
        "",
        "| kind | what it is |",
        "|---|---|",
        *(f"| [{kind.value}]({kind.value.lower()}.md) | {SPEC_MODELS[kind].__doc__} |" for kind in Kind),
        "",
        "How a change of a field reaches a living object:",
        "",
        *(f"- **{effect}**{words.removeprefix(effect)}" for effect, words in EFFECT_WORDS.items()),
        "",
        "An editor that speaks YAML completes fields and underlines mistakes with this first line in a manifest",
        "(the path is that of this repository's docs/schemas):",
        "",
        "```yaml",
        "# yaml-language-server: $schema=../docs/schemas/trimtab.schema.json",
        "```",
        "",
    ]
    return "\n".join(lines)


def reference(kind: Kind) -> str:
    """The page of one kind: its fields, then each field that has parts."""
    fields = fields_of(SPEC_MODELS[kind])
    lines = [
        NOTICE,
        f"# {kind.value}",
        "",
        SPEC_MODELS[kind].__doc__ or "",
        "",
        f"JSON Schema: [{file_name(kind)}](../schemas/{file_name(kind)}). All kinds: [README.md](README.md).",
        "",
        "## spec",
        "",
        *_table(fields, ""),
    ]
    for path, info in fields.items():
        if info.model is not None:
            lines += ["", f"## spec.{path}", "", info.model.__doc__ or "", "", *_table(fields, path)]
    return "\n".join([*lines, ""])


def _table(fields: Mapping[str, FieldInfo], parent: str) -> Iterator[str]:
    yield "| field | type | default | change | |"
    yield "|---|---|---|---|---|"
    for info in children(fields, parent):
        name = f"[{info.name}](#{_anchor(info.path)})" if info.model is not None else f"`{info.name}`"
        default = "**required**" if info.required else info.default
        kind = f"{info.type_text} ({info.unit})" if info.unit else info.type_text
        yield f"| {name} | {_cell(kind)} | {_cell(default)} | {info.effect} | {_cell(info.description)} |"


def _anchor(path: str) -> str:
    """What a Markdown renderer calls the heading `spec.ports`: letters, digits, dashes and underscores stay."""
    return "spec" + path.replace(".", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _json(schema: Mapping[str, object]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def stale(docs: Path = DOCS) -> list[str]:
    """Generated files that are missing, differ, or are no longer made."""
    made = documents()
    differing = [name for name, text in made.items() if _read(docs / name) != text]
    present = [*docs.glob("reference/*.md"), *docs.glob("schemas/*.json")]
    left = [str(path.relative_to(docs)) for path in present if str(path.relative_to(docs)) not in made]
    return sorted(differing + left)


def write(docs: Path = DOCS) -> list[str]:
    """Make docs/ agree; gives the names of the files that were changed or removed."""
    made, changed = documents(), stale(docs)
    for name in changed:
        path = docs / name
        if name in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit 0: in step; 1: something was not (and, with --write, now is written: 0)."""
    parser = argparse.ArgumentParser(prog="python -m schemas.reference_docs", description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true", help="say which files are out of step")
    choice.add_argument("--write", action="store_true", help="write them")
    chosen = parser.parse_args(arguments)
    names = write() if chosen.write else stale()
    for name in names:
        print(f"docs/{name}: {'written' if chosen.write else 'out of step with the models; run with --write'}")
    return 0 if chosen.write or not names else 1


if __name__ == "__main__":
    sys.exit(main())
