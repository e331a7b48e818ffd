"""What a daemon is told: on its command line, by the environment (`TRIMTAB_DAEMON_*`), in one YAML file; in this order.

Read again at SIGHUP. `trimtab daemon --print-config` writes them as they are in effect, in the form of the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource
from yaml import YAMLError

from reconciler.daemon.unit import GROUP
from schemas.errors import Refused
from schemas.units import read_seconds
from schemas.windows import read_windows

SYSTEM_FILE = Path("/etc/trimtab/daemon.yaml")


class Settings(BaseSettings):
    """Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="TRIMTAB_DAEMON_", extra="forbid", frozen=True)
    file: ClassVar[Path | None] = None

    listen: tuple[str, ...] = Field((), description="Where the API is heard: unix://PATH, tcp://HOST:PORT [api.sock].")
    source: tuple[str, ...] = Field((), description="Directories and git repositories to keep the machine as.")
    group: str = Field(GROUP, description="Whose members may use the UNIX socket, where there is such a group.")
    log: Literal["auto", "console", "json"] = Field("auto", description="Form of the log; auto: console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    resync: float = Field(60.0, ge=1, description="Everything is looked at that often.")
    parallel: int = Field(4, ge=1, le=64, description="Actions of one pass at once.")
    passes: int = Field(4, ge=1, le=64, description="Passes at once, over different objects.")
    probes: int = Field(16, ge=1, le=1024, description="Health checks at once; after a new start.")
    followers: int = Field(512, ge=2, le=8192, description="Streams followed at once; by one client half of them.")
    patience: float = Field(30.0, ge=1, description="A client that takes nothing for so long has left.")
    self_heal: Literal["on", "off", "window"] = Field("on", description="Whether drift is repaired, or in `window`.")
    rollouts: Literal["on", "window"] = Field("on", description="Whether what sources offer comes, or in `window`.")
    window: str = Field("", description="When, as `Mon-Fri 02:00-04:30`, at local time.")
    poll: float = Field(60.0, ge=1, description="A git repository is asked that often.")
    debounce: float = Field(0.05, ge=0, le=10, description="A directory is read after it was quiet for so long.")
    prune: bool = Field(True, description="Delete what a source's set owns and its manifests no longer have.")
    tls_ca: Path | None = Field(None, description="Certificates of those who sign clients' certificates.")
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_revoked: Path | None = Field(None, description="List (CRL) of certificates that count no more.")
    insecure_tcp: bool = Field(False, description="Let tcp:// be plain, on loopback alone.")
    collect_every: float = Field(300.0, ge=1, description="Whether the disk is full is looked at that often.")
    collect_above: float = Field(0.85, gt=0, le=1, description="Full to this share, images that nobody uses go,")
    collect_until: float = Field(0.80, ge=0, le=1, description="the oldest first, until it is full to this share,")
    collect_age: float = Field(120.0, ge=0, description="none that is younger than this.")
    stop_timeout: float = Field(30.0, ge=0, description="At the end, actions under way are waited for that long.")

    @field_validator(
        "resync", "poll", "debounce", "patience", "collect_every", "collect_age", "stop_timeout", mode="before"
    )
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return read_seconds(value) if isinstance(value, str) else value

    @field_validator("self_heal", "rollouts", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        # the file is read as YAML 1.1, where on and off are no words
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("window")
    @classmethod
    def _windows(cls, value: str) -> str:
        read_windows(value)
        return value

    @model_validator(mode="after")
    def _has_window(self) -> Self:
        for name in ("self_heal", "rollouts"):
            if getattr(self, name) == "window" and not self.window:
                raise ValueError(f"{name}: window has no window; write one as in window: Mon-Fri 02:00-04:30")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = (init_settings, env_settings)
        return (*sources, YamlConfigSettingsSource(settings_cls, cls.file)) if cls.file is not None else sources


def read_settings(given: Mapping[str, Any], file: Path | None = None) -> Settings:
    """`given`: from the command line, without what was not given. Raises Refused naming each wrong setting."""
    path = file or _system_file()
    if file is not None and not file.is_file():
        raise Refused("no such file", step="read settings", path=str(file))

    class _Settings(Settings):
        pass

    _Settings.file = path
    try:
        return _Settings(**given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise Refused(faults, step="read settings", path=str(path or "")) from error
    except (YAMLError, TypeError, OSError) as error:
        raise Refused(str(error), step="read settings", path=str(path or "")) from error


def _system_file() -> Path | None:
    return SYSTEM_FILE if SYSTEM_FILE.is_file() and os.access(SYSTEM_FILE, os.R_OK) else None


def settings_text(settings: Settings) -> str:
    """As a settings file, with what each means."""
    lines: list[str] = []
    for name, value in settings.model_dump(mode="json").items():
        described = Settings.model_fields[name].description
        lines += [f"# {described}"] if described else []
        # JSON is YAML
        lines.append(f"{name}: {json.dumps(value)}")
    return "\n".join(lines)
