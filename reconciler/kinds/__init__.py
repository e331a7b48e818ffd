"""One file per kind: what it wants of kernel and disk, how far a change of that reaches, what follows from others."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds import container, content, image, network, service, source, volume
from reconciler.kinds.rules import Rules
from schemas.names import Kind

RULES: Mapping[Kind, Rules] = {
    Kind.IMAGE: image.RULES,
    Kind.CONTAINER: container.RULES,
    Kind.VOLUME: volume.RULES,
    Kind.NETWORK: network.RULES,
    Kind.SERVICE: service.RULES,
    Kind.SECRET: content.SECRET_RULES,
    Kind.CONFIG: content.CONFIG_RULES,
    Kind.SOURCE: source.RULES,
}
