"""What is kept beside an image about it: which packages it holds, and how it was built.

Called after a build, and when somebody asks for the list of an image that has none yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from reconciler.build.trees import empty_tree, opened
from reconciler.build.wanted import BuildWanted
from runtime.images.attached import PROVENANCE, SBOM, read_attached, write_attached
from runtime.images.record import ImageRecord
from runtime.images.sbom.cyclonedx import document_of
from runtime.images.sbom.packages import read_packages
from runtime.images.sbom.provenance import Built, statement_of
from runtime.images.store import layer_directories
from runtime.layout import Layout
from schemas.errors import Refused


def ensure_sbom(layout: Layout, image: ImageRecord) -> bytes:
    """The image's list of packages, made if it is not there. Raises Refused for an image that is damaged."""
    kept = read_attached(layout, image.digest, SBOM)
    if kept is not None:
        return kept
    try:
        with opened(layer_directories(layout, image), empty_tree(layout)) as top:
            found = read_packages(top)
    except OSError as error:
        raise Refused(
            error.strerror or str(error), object=f"Image/{image.name}", step="read packages", errno=error.errno
        ) from error
    content = document_of(found, image.name, image.digest, image.made_at)
    write_attached(layout, image.digest, SBOM, content)
    return content


def ensure_provenance(
    layout: Layout,
    wanted: BuildWanted,
    image: ImageRecord,
    bases: Mapping[str, str],
    files: Mapping[str, str],
    moments: tuple[float, float],
) -> None:
    """How the image was built; what was said of equal bytes before stays. `moments`: begun and ended."""
    if read_attached(layout, image.digest, PROVENANCE) is not None:
        return
    taken = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest() if files else ""
    built = Built(
        context=wanted.contexts.get("", ""),
        dockerfile=wanted.dockerfile if wanted.text is None else "(inline)",
        platform=str(image.platform),
        target=wanted.target,
        arguments=tuple(wanted.arguments),
        secrets=tuple(wanted.secrets),
        bases=bases,
        files=taken,
        started=moments[0],
        finished=moments[1],
    )
    write_attached(layout, image.digest, PROVENANCE, statement_of(built, image.name, image.digest))
