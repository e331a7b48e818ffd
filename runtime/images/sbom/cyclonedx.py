"""A list of packages as a CycloneDX document (1.6, JSON), by cyclonedx-python-lib, which is loaded only here.

Source: cyclonedx.org, specification 1.6; package-url, purl-spec.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from runtime.images.sbom.packages import Package, Packages

MEDIA_TYPE = "application/vnd.cyclonedx+json"
_SPACE = uuid.UUID("7c7e9a52-0f7b-5a6c-9f0e-6f3c8f0a1d11")
_ID = "bom-ref"


def document_of(found: Packages, name: str, digest: str, created: float) -> bytes:
    """Of the image called `name`, whose manifest has that digest. Equal input gives equal bytes."""
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import Tool
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = Bom(serial_number=uuid.uuid5(_SPACE, digest))
    bom.metadata.timestamp = datetime.fromtimestamp(created, UTC)
    bom.metadata.tools.tools.add(Tool(name="trimtab"))
    root = bom.metadata.component = Component(
        name=name, type=ComponentType.CONTAINER, version=digest, bom_ref=f"pkg:oci/{name}@{digest}"
    )
    for gap in found.gaps:
        bom.metadata.properties.add(Property(name="trimtab:gap", value=gap))
    parts = [_component(package, found) for package in found.packages]
    if found.distribution:
        kind, ref = ComponentType.OPERATING_SYSTEM, f"os:{found.distribution}@{found.release}"
        parts.append(Component(name=found.distribution, version=found.release, type=kind, bom_ref=ref))
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(root, parts)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    return _sorted(json.loads(text))


def _component(package: Package, found: Packages) -> Any:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    namespace, name = "", package.name
    if package.type in ("deb", "apk", "rpm"):
        namespace = found.distribution
    elif package.type == "npm" and name.startswith("@") and "/" in name:
        namespace, _, name = name.partition("/")
    qualifiers = {"arch": package.architecture} if package.architecture else None
    url = PackageURL(package.type, namespace or None, name, package.version or None, qualifiers)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=url,
        bom_ref=f"{url.to_string()}#{package.place}",
        licenses=[DisjunctiveLicense(name=package.license[:200])] if package.license.strip() else None,
        properties=[Property(name="trimtab:place", value=f"/{package.place}")],
    )


def _sorted(document: dict[str, Any]) -> bytes:
    document["components"] = sorted(document.get("components", []), key=lambda each: str(each.get(_ID, each["name"])))
    document["dependencies"] = sorted(document.get("dependencies", []), key=lambda each: str(each["ref"]))
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
