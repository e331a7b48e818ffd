"""How a container's health may be asked for without a program inside it: by a request over its own network.

The engine asks from inside the container's network namespace, so neither a shell nor a published port is needed. Also
what follows when a container is unhealthy. These fields are ours; Compose has commands alone.

Source: Kubernetes, Probe; gRPC, health checking protocol.
"""

from typing import Annotated, Self

from pydantic import model_validator

from schemas.faults import refuse
from schemas.field import Spec, part
from schemas.healthcheck import Healthcheck, Retries
from schemas.plain_types import Labels, Line, Text, one_of, whole

PortNumber = Annotated[int, whole(1, 65535)]


class HttpProbe(Spec):
    """An HTTP request: a status from 200 to 399 is healthy."""

    port: Annotated[PortNumber, part("Port inside the container.")]
    path: Annotated[Line, part("What is asked for.")] = "/"
    host: Annotated[Line | None, part("The Host header.", default="localhost")] = None
    headers: Annotated[Labels, part("Further headers.")] = {}
    scheme: Annotated[
        Annotated[str, one_of("http", "https")], part("`https` asks over TLS and believes any certificate.")
    ] = "http"


class TcpProbe(Spec):
    """A connection: one that is taken is healthy."""

    port: Annotated[PortNumber, part("Port inside the container.")]


class GrpcProbe(Spec):
    """A call of grpc.health.v1.Health/Check: SERVING is healthy."""

    port: Annotated[PortNumber, part("Port inside the container.")]
    service: Annotated[Text, part("The service asked about.", default="the server as a whole")] = ""


class Probing(Healthcheck):
    """A command run inside the container, or a request to it, at intervals: exit code 0 or an answer is healthy."""

    http: Annotated[HttpProbe | None, part("Ask over HTTP instead of by a command.")] = None
    tcp: Annotated[TcpProbe | None, part("Connect instead of running a command.")] = None
    grpc: Annotated[GrpcProbe | None, part("Ask the gRPC health service instead of running a command.")] = None
    on_unhealthy: Annotated[
        Annotated[str, one_of("none", "restart", "replace")], part("What the daemon does once it is unhealthy.")
    ] = "none"
    flap_limit: Annotated[
        Retries | None, part("Restarts or replacements for that within ten minutes before giving up.", default="5")
    ] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("test", "http", "tcp", "grpc") if getattr(self, name) is not None]
        if len(ways) > 1 and not self.disable:
            refuse("healthcheck", [((ways[1],), f"stands beside {ways[0]}; keep one of them")])
        return self
