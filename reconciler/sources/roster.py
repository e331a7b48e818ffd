"""All sources that are followed: begun, ended and begun anew as the daemon's settings and the Source objects say.

The daemon makes one, runs it, and gives it what applies an offer. It reads the Source objects from the inventory, after
each apply of its own and whenever it is told that something was applied; so a source may itself declare sources.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.claims import declared_of
from reconciler.lock import engine_lock
from reconciler.sources.attempts import NOTHING, Memory
from reconciler.sources.followed import Followed, followed_of, sort_out
from reconciler.sources.follower import Applied, Apply, Follower
from reconciler.sources.git.followed import FollowedRepository
from reconciler.sources.held import held_content
from reconciler.sources.noting import Noting
from reconciler.sources.offer import TIMEOUT, Offer
from reconciler.sources.revision import Source
from reconciler.sources.sops import NO_KEYS, Keys, read_keys
from reconciler.sources.status import SourceStatus, State
from reconciler.sources.strayed import Digests, SetNow, deed, read_set
from reconciler.sources.watched import SETTLE, WatchedDirectory
from reconciler.steering import Steering
from reconciler.store.attempts import forget_attempts, read_attempts, write_attempt
from reconciler.store.database import Database
from reconciler.store.inventory import Entry, read_inventory
from reconciler.store.pins import remove_pin
from reconciler.store.standing import Topic, read_standing
from runtime.layout import Layout
from schemas.envelope import Declared
from schemas.errors import RetryLater, TrimtabError
from schemas.names import Key, Kind
from schemas.source import Held

INTERVAL = 60.0
"""Seconds, where a source names none."""
WINDOWS = 20.0
"""Seconds between two looks whether a maintenance window has begun."""
DEED_SECONDS = 30.0
"""Of waiting, at most, for the end of what somebody does."""
NO_STEERING = Steering()
SUSPENDED = "its manifest says suspend: true; false ends that"
PAUSE = 5.0
"""Seconds until the inventory is read again after it could not be."""
Tell = Callable[[SourceStatus], None]


def silent(status: SourceStatus) -> None:
    """Tells nobody."""


class Roster:
    """Made anywhere, run once, in one event loop. `settings`: the daemon's own sources; `apply` is awaited for each
    offer, for several sources at once; `tell` hears each new status; `settle`: seconds without a write after which a
    directory is read; `steering`: what the daemon's settings say of drift."""

    def __init__(
        self,
        layout: Layout,
        database: Database,
        apply: Apply,
        settings: Sequence[Followed] = (),
        environment: Mapping[str, str] | None = None,
        tell: Tell = silent,
        settle: float = SETTLE,
        steering: Steering = NO_STEERING,
    ) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._layout = layout
        self._database = database
        self._apply = apply
        self._settings = tuple(settings)
        self._tell = tell
        self._settle = settle
        self._steering = steering
        self._digests = Digests()
        self._changed = asyncio.Event()
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._others: dict[str, SourceStatus] = {}
        self._memories: dict[str, Memory] = {}
        self._noting = Noting(database)
        self._steered: Mapping[str, Any] | None = None

    # what the daemon calls

    async def run(self) -> None:
        """Until cancelled; then nothing is followed any more."""
        noting = asyncio.create_task(self._noting.run(), name="note sources")
        try:
            self._memories = await asyncio.to_thread(read_attempts, self._database)
            while True:
                self._changed.clear()
                try:
                    await self._sort()
                except Exception as error:  # what keeps the machine as declared goes on
                    message = f"sources cannot be read: {error}"
                    self._tell(SourceStatus("", "", "", State.STALLED, message, temporary=True))
                    asyncio.get_running_loop().call_later(PAUSE, self._changed.set)
                await self._wait()
        finally:
            await self._end(list(self._tasks))
            noting.cancel()
            await asyncio.gather(noting, return_exceptions=True)

    async def _wait(self) -> None:
        """Until something has changed. Meanwhile a maintenance window may begin."""
        while not self._changed.is_set():
            try:
                async with asyncio.timeout(WINDOWS):
                    await self._changed.wait()
            except TimeoutError:
                with suppress(TrimtabError):
                    await self._see_sets()

    def refresh(self, settings: Sequence[Followed] | None = None, steering: Steering | None = None) -> None:
        """Something was applied, or the daemon's settings are others."""
        if steering is not None:
            self._steering = steering
        if settings is not None:
            self._settings = tuple(settings)
        self._changed.set()

    def statuses(self) -> dict[str, SourceStatus]:
        """By name; also of those that are suspended, or that cannot be followed."""
        return {**self._others, **{name: follower.status for name, follower in self._followers.items()}}

    def fetch_now(self, name: str) -> bool:
        """Look at a source at once; whether it is followed."""
        follower = self._followers.get(name)
        if follower is not None:
            follower.fetch_now()
        return follower is not None

    def retry(self, name: str) -> bool:
        """Try again what is remembered as failed, leave a pin, and apply anew what is; whether it is followed."""
        follower = self._followers.get(name)
        if follower is not None:
            follower.retry()
        return follower is not None

    async def webhook_secret(self, name: str) -> bytes | None:
        """What a webhook of the source must prove to know; None where it has no webhook. Raises Refused."""
        follower = self._followers.get(name)
        if follower is None or follower.followed.spec.webhook is None:
            return None
        held = follower.followed.spec.webhook
        return (await asyncio.to_thread(self._held, held)).strip()

    # what followers call

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    async def apply(self, offer: Offer) -> Applied:
        try:
            return await self._apply(offer)
        finally:
            self._changed.set()

    async def remember(self, source: str, memory: Memory) -> None:
        self._memories[source] = memory
        await asyncio.to_thread(write_attempt, self._database, source, memory)

    async def set_now(self, followed: Followed) -> SetNow:
        return await asyncio.to_thread(read_set, self._database, followed, self._steering, self._digests)

    async def deed(self, set_name: str) -> str:
        return await asyncio.to_thread(self._deed, set_name)

    def _deed(self, set_name: str) -> str:
        """Who does it still holds the engine, and tells of it at its end."""
        with suppress(RetryLater), engine_lock(self._layout.lock, DEED_SECONDS):
            pass
        return deed(self._database, set_name)

    async def unpin(self, set_name: str) -> None:
        await asyncio.to_thread(remove_pin, self._database, set_name)

    async def keys(self, followed: Followed) -> Keys:
        held = followed.spec.decrypt
        return read_keys(await asyncio.to_thread(self._held, held)) if held is not None else NO_KEYS

    def missing(self, followed: Followed) -> list[str]:
        """Sources it depends on that are not ready."""
        known = self._followers
        return [name for name in followed.spec.depends_on if name not in known or not known[name].is_ready]

    def told(self, status: SourceStatus) -> None:
        self._say(status)
        if status.state is State.READY:
            for follower in self._followers.values():
                if follower.waits and status.name in follower.followed.spec.depends_on:
                    follower.fetch_now()

    # inside

    def _say(self, status: SourceStatus) -> None:
        self._noting.note(status)
        self._tell(status)

    async def _sort(self) -> None:
        inventory = await asyncio.to_thread(read_inventory, self._database)
        declared, unreadable = _declared(entry for key, entry in sorted(inventory.items()) if key.kind is Kind.SOURCE)
        chosen, refused = sort_out([*self._settings, *followed_of(declared)])
        refused |= {name: why for name, why in unreadable.items() if name not in chosen}
        wanted = {name: followed for name, followed in chosen.items() if not followed.spec.suspend}
        over = [name for name, follower in self._followers.items() if wanted.get(name) != follower.followed]
        await self._end(over)
        for name in set(self._memories) - chosen.keys() - refused.keys():
            await self._forget(name)
        before, self._others = self._others, {name: _unfollowed(name, why) for name, why in refused.items()}
        self._others |= {name: self._suspended(each) for name, each in chosen.items() if each.spec.suspend}
        for name, status in self._others.items():
            if before.get(name) != status:
                self._say(status)
        for name, followed in wanted.items():
            if name not in self._followers:
                self._begin(followed)
        self._noting.keep(self.statuses())
        await self._heed_people()
        await self._see_sets()

    async def _heed_people(self) -> None:
        """`trimtab reconcile source/NAME` since the last look: its revision is tried again."""
        before, now = self._steered, await asyncio.to_thread(read_standing, self._database, Topic.STEERING)
        self._steered = now
        for name in self._followers:
            scope = str(Key(Kind.SOURCE, name))
            if before is not None and _is_urged(before.get(scope, {}), now.get(scope, {})):
                self.retry(name)

    async def _see_sets(self) -> None:
        """What somebody did to a set (a rollback, an apply, a deletion, a suspension) shows at once, and not only when
        its source offers something else."""
        for follower in list(self._followers.values()):
            if follower.must_look(await self.set_now(follower.followed)):
                follower.fetch_now()

    def _suspended(self, followed: Followed) -> SourceStatus:
        good = self._memories.get(followed.name, NOTHING).good
        return SourceStatus(
            *(followed.name, followed.set, followed.where, State.SUSPENDED, SUSPENDED, "Suspended"),
            applied=good.revision[:12] if good is not None else "",
            applied_commit=good.commit if good is not None else "",
            applied_at=good.at if good is not None else 0.0,
        )

    def _begin(self, followed: Followed) -> None:
        name = followed.name
        follower = Follower(followed, self._source(followed), self, self._memories.get(name, NOTHING))
        self._followers[name] = follower
        self._tasks[name] = asyncio.create_task(follower.run(), name=f"source {name}")

    async def _end(self, names: Sequence[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for name in names:
            del self._followers[name]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forget(self, name: str) -> None:
        """It is no source any more. What stands on disk for its objects stays as long as they do."""
        self._memories.pop(name, None)
        await asyncio.to_thread(forget_attempts, self._database, name)
        for part in ("repository", "home"):
            await asyncio.to_thread(shutil.rmtree, self._layout.source(name) / part, ignore_errors=True)

    def _source(self, followed: Followed) -> Source:
        spec = followed.spec
        interval = spec.interval or INTERVAL
        if spec.git is None:
            return WatchedDirectory(Path(spec.directory or "/nowhere"), interval, self._settle)
        git = spec.git
        held = Held(secret=git.secret, file=git.credentials) if git.secret or git.credentials else None
        directory = self._layout.source(followed.name)
        credential = (lambda: self._held(held)) if held is not None else (lambda: None)
        return FollowedRepository(git, directory, interval, spec.timeout or TIMEOUT, credential)

    def _held(self, held: Held) -> bytes:
        """The content of a Secret or file. Blocks. Raises Refused; nothing of it is told."""
        return held_content(self._layout, self._database, held, self.environment)


def _declared(entries: Iterable[Entry]) -> tuple[list[Declared], dict[str, str]]:
    """The Source objects; and of those that this version cannot read any more, why."""
    declared: list[Declared] = []
    unreadable: dict[str, str] = {}
    for entry in entries:
        try:
            declared.append(declared_of(entry))
        except ValueError as error:
            unreadable[entry.key.name] = f"is not valid any more: {error}"
    return declared, unreadable


def _is_urged(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether somebody asked for it anew. To suspend and to resume says something else."""
    asked_anew = now.get("at") not in (None, before.get("at"))
    return asked_anew and not now.get("suspended") and not before.get("suspended")


def _unfollowed(name: str, why: str) -> SourceStatus:
    return SourceStatus(name, "", "", State.STALLED, why, "Refused")
