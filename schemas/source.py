"""What a Source manifest may say: a directory or a git repository that manifests are read from, again and again.

Only described and checked here; the daemon follows it (`reconciler.sources`). What could make git run something else
than git is refused.
"""

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, model_validator

from schemas.faults import Fault, refuse
from schemas.field import Spec, live, part
from schemas.paths import FilePath, Subpath
from schemas.plain_types import Flag, Name, Names, Seconds, one_of, read_line
from schemas.spelling import Spelling, exactly_one, not_together, pattern
from schemas.versions import read_range
from schemas.windows import read_windows

SCHEMES = ("https", "http", "ssh", "git", "file")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEAST_INTERVAL = 1.0
"""Seconds: a shorter interval is a flood of git's processes."""
_SCP = re.compile(r"(?:[A-Za-z0-9_.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s:]+")
_REF = re.compile(r"(?![-/.])(?!.*(?:\.\.|//|@\{|\.lock$|[/.]$))[^\x00-\x20\x7f~^:?*\[\\]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def read_git_url(value: Any) -> str:
    """https, ssh, git, file, or `git@host:path`. Raises ValueError, also for a password inside."""
    text = read_line(value)
    if "://" not in text:
        if text.startswith(("/", "./", "../")) or (_SCP.fullmatch(text) and not text.startswith("-")):
            return text
        raise ValueError(f"{text!r} is no repository; write one as in https://example.com/shop.git")
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"{parts.scheme!r} is not supported; write one of {', '.join(SCHEMES)}")
    if parts.password:
        raise ValueError("holds a password; put it into a Secret and name that with secret:")
    if (parts.hostname or "").startswith("-") or (not parts.hostname and parts.scheme != "file"):
        raise ValueError(f"{text!r} has no host; write one as in https://example.com/shop.git")
    return text


def is_open_to_all(url: str) -> bool:
    """Whether nothing protects what comes from there: neither encrypted nor of this machine."""
    parts = urlsplit(url) if "://" in url else None
    return parts is not None and parts.scheme in ("http", "git") and parts.hostname not in LOOPBACK


def read_ref(value: Any) -> str:
    """A branch's or tag's name (git-check-ref-format(1)). Raises ValueError."""
    text = read_line(value)
    if not _REF.fullmatch(text):
        raise ValueError(f"{text!r} is no branch or tag; write its name as git shows it")
    return text


def read_commit(value: Any) -> str:
    """All 40 digits, in lower case. Raises ValueError with the remedy."""
    text = read_line(value).lower()
    if not _COMMIT.fullmatch(text):
        raise ValueError(f"{text!r} is no commit; write all 40 hexadecimal digits")
    return text


def read_semver(value: Any) -> str:
    """A range as npm writes it. Raises ValueError with the remedy."""
    text = read_line(value)
    if len(text) > 128:
        raise ValueError("is too long for a range of versions; write one as in >=1.4 <2")
    read_range(text)
    return text


def read_window(value: Any) -> str:
    """One or several maintenance windows, as they are written. Raises ValueError with the remedy."""
    text = read_line(value)
    if not read_windows(text):
        raise ValueError("names no time; write it as Mon-Fri 02:00-04:30, or 22:00-06:00")
    return text


_URL = {"type": "string", "pattern": r"^(https?|ssh|git|file)://|^[A-Za-z0-9_.][A-Za-z0-9_.@-]*:[^/:]|^\.{0,2}/|\$"}
GitUrl = Annotated[str, Spelling(read_git_url, "URL", _URL, final=True)]
Ref = Annotated[str, Spelling(read_ref, "name", {"type": "string", "minLength": 1}, final=True)]
Commit = Annotated[str, Spelling(read_commit, "commit", pattern("[0-9a-fA-F]{40}|[0-9a-fA-F]{64}"), final=True)]
SelfHeal = Annotated[str, one_of("on", "off", "window")]
Rollouts = Annotated[str, one_of("on", "window")]
Windows = Annotated[str, Spelling(read_window, "windows", {"type": "string", "minLength": 1}, final=True)]
Semver = Annotated[str, Spelling(read_semver, "range of versions", {"type": ["string", "number"]}, final=True)]


class Held(Spec):
    """Something secret: the content of a Secret, or of a file of this machine."""

    model_config = ConfigDict(json_schema_extra=exactly_one("secret", "file"))

    secret: Annotated[Name | None, part("Secret that holds it.")] = None
    file: Annotated[FilePath | None, part("File that holds it, relative to the manifest.")] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        faults: list[Fault] = []
        if self.secret is None and self.file is None:
            faults.append(((), "does not say where it is held; write one of secret, file"))
        if self.secret is not None and self.file is not None:
            faults.append((("file",), "cannot stand beside secret; keep one of them"))
        refuse("held", faults)
        return self


class GitVerify(Spec):
    """Whose signatures a commit must bear."""

    allowed_signers: Annotated[FilePath, part("File of ssh-keygen(1)'s allowed signers, or an OpenPGP key ring.")]


class GitSource(Spec):
    """A git repository, and what of it is followed."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                *not_together("branch", "tag", "commit", "semver"),
                *not_together("tag", "commit", "semver"),
                *not_together("commit", "semver"),
                *not_together("secret", "credentials"),
            ]
        }
    )

    url: Annotated[GitUrl, part("The repository: https, ssh, file, or git@host:path.")]
    branch: Annotated[Ref | None, part("Branch to follow.", default="the repository's own")] = None
    tag: Annotated[Ref | None, part("Tag to follow.")] = None
    commit: Annotated[Commit | None, part("Commit to stay at.")] = None
    semver: Annotated[Semver | None, part("Range of versions: the newest tag in it is followed.")] = None
    path: Annotated[Subpath | None, part("Directory or file in the repository.", default="all of it")] = None
    submodules: Annotated[Flag, part("Fetch submodules too.")] = False
    secret: Annotated[Name | None, part("Secret with the key or password.", default="none")] = None
    credentials: Annotated[FilePath | None, part("File with the key or password.", default="none")] = None
    known_hosts: Annotated[
        FilePath | None, part("File of ssh(1)'s known hosts.", default="/etc/ssh/ssh_known_hosts")
    ] = None
    ca: Annotated[FilePath | None, part("Certificates to trust over https.", default="the machine's")] = None
    verify: Annotated[GitVerify | None, part("Refuse commits that are not signed.", default="not asked for")] = None

    @model_validator(mode="after")
    def _one_revision(self) -> Self:
        given = [name for name in ("branch", "tag", "commit", "semver") if getattr(self, name) is not None]
        faults: list[Fault] = [((name,), f"cannot stand beside {given[0]}; keep one of them") for name in given[1:]]
        if self.verify is None and is_open_to_all(self.url):
            message = "lets anybody on the way change the manifests; use https or ssh, or require signatures by verify"
            faults.append((("url",), message))
        if self.secret is not None and self.credentials is not None:
            faults.append((("credentials",), "cannot stand beside secret; keep one of them"))
        refuse("git", faults)
        return self


class SourceSpec(Spec):
    """Where manifests come from, and how they are kept."""

    model_config = ConfigDict(json_schema_extra=exactly_one("directory", "git"))

    directory: Annotated[FilePath | None, live("Directory of manifests to follow.")] = None
    git: Annotated[GitSource | None, live("Git repository of manifests to follow.")] = None
    interval: Annotated[
        Seconds | None, live("Time between two looks without any event.", unit="seconds", default="60s")
    ] = None
    timeout: Annotated[
        Seconds | None,
        live("A fetch that takes longer failed; an apply begins no further action.", unit="seconds", default="5m"),
    ] = None
    set: Annotated[Name | None, live("Set its objects belong to.", default="the source's name")] = None
    prune: Annotated[Flag, live("Remove what it no longer declares.")] = True
    suspend: Annotated[Flag, live("Leave everything as it is until this is false again.")] = False
    self_heal: Annotated[SelfHeal | None, live("Whether drift of its set is repaired.", default="the daemon's")] = None
    rollouts: Annotated[
        Rollouts | None,
        live("Whether new revisions, and newer images of its set, come at any time.", default="the daemon's"),
    ] = None
    window: Annotated[
        Windows | None,
        live(
            "When `self_heal: window` repairs drift and `rollouts: window` applies, at local time.",
            default="the daemon's",
        ),
    ] = None
    depends_on: Annotated[Names, live("Sources that must be ready before it.")] = ()
    decrypt: Annotated[Held | None, live("Age keys for what SOPS has encrypted.", default="none")] = None
    webhook: Annotated[Held | None, live("Secret of the webhook that says: look now.", default="no webhook")] = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        refuse("source", source_faults(self))
        return self


def source_faults(spec: SourceSpec) -> list[Fault]:
    """What of a Source contradicts itself."""
    faults: list[Fault] = []
    if spec.directory is None and spec.git is None:
        faults.append(((), "does not say where manifests come from; write one of directory, git"))
    if spec.directory is not None and spec.git is not None:
        faults.append((("git",), "cannot stand beside directory; keep one of them"))
    if spec.interval is not None and spec.interval < LEAST_INTERVAL:
        faults.append((("interval",), "is too short; write at least 1s"))
    for name in ("self_heal", "rollouts"):
        if getattr(spec, name) == "window" and spec.window is None:
            faults.append(((name,), "names no window; write one as in window: Mon-Fri 02:00-04:30"))
    if spec.timeout == 0:
        faults.append((("timeout",), "leaves no time at all; write one as in 5m"))
    return faults
