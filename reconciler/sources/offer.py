"""A revision made ready to be applied: decrypted, validated, its paths found, its set named.

Whatever is wrong with it is told before anything is touched. What SOPS had encrypted stays in memory: the content of a
Secret or Config is handed on as a variable, so that neither the store nor a message ever holds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.caller import Here
from reconciler.sources.followed import Followed
from reconciler.sources.relative import SECCOMP, locate
from reconciler.sources.revision import Revision
from reconciler.sources.sealed import is_sealed, variable_of
from reconciler.sources.sops import Keys, unseal_file, unseal_texts
from reconciler.store.revisions import BY_SOURCE
from reconciler.store.sealed import Sealed
from schemas.check import check
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem
from schemas.image import ImageSpec
from schemas.load_again import LoadAgain
from schemas.names import Key, Kind
from schemas.secret import ContentSpec

SHORT = 12
"""Digits of a commit."""
TIMEOUT = 300.0
"""Seconds, where a source names none."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be applied. `where`: the directory or repository; `environment`: variables, with contents that no
    manifest may hold; `caller`: reads the files that manifests name; `timeout`: seconds after which no action begins;
    `asked`: somebody wants it now; `puts_back`: what somebody else has done to the set, in words; `sealed`: what stands
    encrypted in it, as it stands."""

    source: str
    where: str
    revision: Revision
    set: str
    prune: bool
    declared: tuple[Declared, ...]
    environment: Mapping[str, str] = field(repr=False)
    caller: Reader = field(repr=False)
    timeout: float = TIMEOUT
    asked: bool = False
    puts_back: str = ""
    sealed: Mapping[Key, Sealed] = field(default_factory=dict, repr=False)

    @property
    def commit(self) -> str:
        return short(self.revision.commit)

    @property
    def cause(self) -> str:
        """Why now, for history."""
        why = f"puts back what {self.puts_back}" if self.puts_back else self.revision.message
        subject = f": {why}" if why else ""
        return f"{BY_SOURCE}{self.source} at {self.revision.short}{subject}"


def short(commit: str) -> str:
    """A commit as it is recorded and shown."""
    return commit[:SHORT]


class Reader(Here):
    """A source as the caller of an apply: its files are this machine's, decrypted as they are read."""

    def __init__(self, directory: Path, environment: Mapping[str, str], keys: Keys) -> None:
        self._directory = directory
        self._environment = environment
        self._keys = keys

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @property
    def directory(self) -> Path:
        return self._directory

    def read_bytes(self, path: str | Path) -> bytes:
        content = Path(path).read_bytes()
        return unseal_file(str(path), content, self._keys) if self._keys and is_sealed(content) else content


def make_offer(
    followed: Followed,
    revision: Revision,
    environment: Mapping[str, str],
    keys: Keys,
    loader: LoadAgain,
    *,
    asked: bool = False,
    puts_back: str = "",
) -> Offer:
    """Raises Invalid with every problem of the revision, Refused for what cannot be decrypted."""
    texts, sealed = unseal_texts(revision.texts, keys)
    loaded = loader.load(texts, environment, set=followed.set, commit=short(revision.commit))
    declared = [locate(item, revision.directory) for item in loaded]
    between = _own_problems(declared) if followed.spec.git is not None else ()
    problems = [*between, *_self_declared(followed, declared)]
    if problems:
        raise Invalid(problems)
    hidden = dict(_hide(declared, sealed))
    contents = {name: content for _, name, content in hidden.values()}
    return Offer(
        followed.name,
        followed.where,
        revision,
        followed.set,
        followed.spec.prune,
        tuple(hidden[item.key][0] if item.key in hidden else item for item in declared),
        {**environment, **contents},
        Reader(revision.directory, environment, keys),
        followed.spec.timeout or TIMEOUT,
        asked,
        puts_back,
        {key: _sealed_in(revision, item.origin.file) for key, (item, _, _) in hidden.items()},
    )


def _sealed_in(revision: Revision, name: str) -> Sealed:
    text = next(text.text for text in revision.texts if text.name == name)
    return Sealed(name, text if isinstance(text, str) else text.decode())


def _own_problems(declared: Sequence[Declared]) -> Iterable[Problem]:
    """Those that are found without knowing the machine: all but what other sets may make good. They are found again
    when it is applied; but before that, git's files are put in place."""
    known = [Key(kind, name) for kind, name in _mentioned(declared)]
    return check(declared, known)


def _mentioned(declared: Sequence[Declared]) -> Iterator[tuple[Kind, str]]:
    from schemas.mentions import mentions_of

    for item in declared:
        for mention in mentions_of(item):
            for kind in mention.kinds:
                yield kind, mention.name


def _self_declared(followed: Followed, declared: Iterable[Declared]) -> Iterator[Problem]:
    for item in declared:
        if item.key == Key(Kind.SOURCE, followed.name):
            yield item.problem(("metadata", "name"), "is the source that this comes from", "declare it elsewhere")


def _hide(declared: Iterable[Declared], sealed: Collection[str]) -> Iterator[tuple[Key, tuple[Declared, str, str]]]:
    """Objects whose content was decrypted, with a variable in place of it; the variable and the content."""
    for item in declared:
        if item.origin.file in sealed and isinstance(item.spec, ContentSpec) and item.spec.content is not None:
            name = variable_of(item.key)
            spec = item.spec.model_copy(update={"content": None, "environment": name})
            yield item.key, (replace(item, spec=spec), name, item.spec.content)


def pointed_at(declared: Iterable[Declared]) -> frozenset[Path]:
    """Files that manifests name, and whose change is a change of what they say."""
    return frozenset(Path(path) for item in declared for path in _paths(item.spec))


def _paths(spec: object) -> Iterator[str]:
    match spec:
        case ContentSpec() if spec.file:
            yield spec.file
        case ImageSpec() if spec.archive:
            yield spec.archive
        case ContainerTemplate():
            yield from (file.path for file in spec.env_file)
            options = [option.removeprefix(SECCOMP) for option in spec.security_opt if option.startswith(SECCOMP)]
            yield from (path for path in options if path.startswith("/"))
