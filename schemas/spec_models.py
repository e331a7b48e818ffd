"""The model of each kind's `spec`, for whoever reads, plans, explains or documents kinds alike."""

from collections.abc import Mapping
from types import MappingProxyType

from schemas.config import ConfigSpec
from schemas.container import ContainerSpec
from schemas.field import Spec
from schemas.image import ImageSpec
from schemas.names import Kind
from schemas.network import NetworkSpec
from schemas.secret import SecretSpec
from schemas.service import ServiceSpec
from schemas.source import SourceSpec
from schemas.volume import VolumeSpec

SPEC_MODELS: Mapping[Kind, type[Spec]] = MappingProxyType(
    {
        Kind.IMAGE: ImageSpec,
        Kind.CONTAINER: ContainerSpec,
        Kind.VOLUME: VolumeSpec,
        Kind.NETWORK: NetworkSpec,
        Kind.SERVICE: ServiceSpec,
        Kind.SECRET: SecretSpec,
        Kind.CONFIG: ConfigSpec,
        Kind.SOURCE: SourceSpec,
    }
)
