"""Where an image may come from: the mirrors of its registry, then the registry.

Pure. Called by `pull`. An endpoint has credentials and certificates of its own; nothing of one is shown to another.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.images.registry.settings import RegistrySettings, split_mirror

DOCKER_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that speaks the distribution-spec."""

    host: str
    """`host[:port]`, as in its addresses."""
    schemes: tuple[str, ...] = ("https",)
    """In the order they are tried; the second only when nobody speaks the first."""
    prefix: str = ""
    """Stands before each repository's name (a mirror that keeps several registries)."""
    account: str = ""
    """The registry's name where credentials are kept."""

    def repository(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path


def endpoints(domain: str, settings: RegistrySettings) -> tuple[Endpoint, ...]:
    """Where images of the registry `domain` are looked for, in order; the registry itself is the last."""
    mirrors = (mirror_endpoint(mirror, settings) for mirror in settings.host(domain).mirrors)
    return (*mirrors, registry_endpoint(domain, settings))


def registry_endpoint(domain: str, settings: RegistrySettings) -> Endpoint:
    """The registry itself, without its mirrors."""
    insecure = settings.host(domain).insecure
    host = _HUB_HOST if domain == DOCKER_HUB else domain
    return Endpoint(host, ("https", "http") if insecure else ("https",), account=domain)


def mirror_endpoint(mirror: str, settings: RegistrySettings) -> Endpoint:
    """A mirror with a scheme is spoken to in that one; without, as its own settings say."""
    scheme, host, prefix = split_mirror(mirror)
    insecure = settings.host(host).insecure
    schemes = (scheme,) if scheme else ("https", "http") if insecure else ("https",)
    return Endpoint(host, schemes, prefix, account=host)
