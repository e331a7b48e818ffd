"""Who may do what with which repositories: a file of lines, each `WHO REPOSITORIES RIGHTS`.

    alice   team/**     pull,push,delete
    *       shared/*    pull                 everybody with a name
    -       public/**   pull                 everybody else, too

All lines that fit count. `*` of a repository's name stands for what has no slash, `**` for anything. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

PULL, PUSH, DELETE = "pull", "push", "delete"
RIGHTS = frozenset({PULL, PUSH, DELETE})
SOMEBODY, ANYBODY = "*", "-"
_PATTERN = re.compile(r"[a-z0-9._/*-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """`who`: a name, or one of SOMEBODY, ANYBODY. `repositories`: matches their names whole."""

    who: str
    repositories: re.Pattern[str]
    rights: frozenset[str]


def read_rules(text: str) -> tuple[Rule, ...]:
    """Raises ValueError, which names the line."""
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3:
            raise ValueError(f"line {number} is not WHO REPOSITORIES RIGHTS")
        who, pattern, listed = words
        rights = frozenset(listed.split(","))
        if not rights <= RIGHTS:
            raise ValueError(f"line {number} names rights other than {', '.join(sorted(RIGHTS))}")
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"line {number}: {pattern[:60]!r} fits no repository")
        rules.append(Rule(who, _compiled(pattern), rights))
    return tuple(rules)


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", pattern)
    wild = {"": "", "*": "[^/]*"}
    return re.compile("".join(wild.get(part, ".*") if part.strip("*") == "" else re.escape(part) for part in parts))


def rights_of(rules: Sequence[Rule], name: str, repository: str) -> frozenset[str]:
    """What `name` may do there; of nobody in particular where it is empty."""
    found = (
        rule.rights for rule in rules if _is_for(rule, name) and rule.repositories.fullmatch(repository) is not None
    )
    return frozenset().union(*found)


def _is_for(rule: Rule, name: str) -> bool:
    return rule.who == ANYBODY or (bool(name) and rule.who in (SOMEBODY, name))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: a name, or "" for nobody in particular, and what the registry's rules give it.

    `rules`: None where everybody who got in may do everything, or only what is among `otherwise`. `granted`: by a
    token, where one was shown; it gives no more than the rules do.
    """

    name: str = ""
    rules: tuple[Rule, ...] | None = None
    otherwise: Collection[str] = RIGHTS
    granted: tuple[tuple[str, frozenset[str]], ...] | None = None

    def rights(self, repository: str) -> frozenset[str]:
        """Now, by the rules, whatever a token says."""
        return frozenset(self.otherwise) if self.rules is None else rights_of(self.rules, self.name, repository)

    def may(self, right: str, repository: str) -> bool:
        if self.granted is not None and not any(name == repository and right in may for name, may in self.granted):
            return False
        return right in self.rights(repository)

    @property
    def sees_all(self) -> bool:
        """Whether no repository is kept from it."""
        return self.rules is None


ANY_VISITOR = Visitor()
"""Where everybody may do everything."""
