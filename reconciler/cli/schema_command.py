"""`trimtab schema`: JSON Schemas of manifests, for editors and for checking them elsewhere."""

from __future__ import annotations

import click


@click.command()
@click.argument("kind", required=False, metavar="[KIND]")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there [standard output].")
def command(kind: str | None, output: str | None) -> None:
    """Print the JSON Schema of a kind's manifests; without KIND, of any manifest.

    An editor that speaks YAML completes and underlines by it when a manifest begins with
    `# yaml-language-server: $schema=FILE`.
    """
    import json
    from pathlib import Path

    from schemas.errors import Refused
    from schemas.jsonschema import any_manifest_schema, manifest_schema
    from schemas.kind_words import find_kind

    schema = manifest_schema(find_kind(kind)) if kind else any_manifest_schema()
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(error.strerror or str(error), step="write the schema", path=output) from error
