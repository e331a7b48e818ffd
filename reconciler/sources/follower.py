"""One source being followed: each revision it yields is made ready, tried once, and remembered.

An asyncio task's work. It never ends by itself, whatever a source or an apply may come to; what went wrong is its
status. Which sources are followed is the roster's to decide.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from reconciler.backoff import JITTER
from reconciler.sources.attempts import NOTHING, Attempt, Memory, Next, Result, decide, is_strayed, parameters_of
from reconciler.sources.followed import Followed
from reconciler.sources.offer import Offer, make_offer, pointed_at, short
from reconciler.sources.revision import Revision, Source, SourceTrouble
from reconciler.sources.sops import Keys
from reconciler.sources.status import SourceStatus, State
from reconciler.sources.strayed import SetNow
from reconciler.sources.watched import WatchedDirectory
from reconciler.steering import drift_stays, rollouts_wait
from reconciler.store.pins import Pin
from schemas.errors import Invalid, Problem, Refused, RetryLater, TrimtabError
from schemas.load_again import LoadAgain

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before an apply is tried again that may yet succeed; chance takes away a share of it."""
RETRY = "trimtab source fetch {} --retry"
REASONS = {
    Result.APPLIED: "Applied",
    Result.FAILED: "Failed",
    Result.REFUSED: "Refused",
    Result.TIMED_OUT: "TimedOut",
}
"""Of the state that an attempt leads to."""
STRAYED = (State.OUT_OF_SYNC, State.MISSING)


@dataclass(frozen=True, slots=True)
class Applied:
    """How an apply ended: whether every action succeeded, in words, and how it left its set (`strayed.digests_of`);
    `timed_out`: its time was over before all was begun; `passing`: what failed may heal, the loop tries it again."""

    ok: bool
    message: str = ""
    left: str = ""
    timed_out: bool = False
    passing: bool = False

    @property
    def result(self) -> Result:
        return Result.APPLIED if self.ok else Result.TIMED_OUT if self.timed_out else Result.FAILED


Apply = Callable[[Offer], Awaitable[Applied]]
"""Makes the machine as offered. Raises Refused (Invalid) before the first effect, RetryLater to be asked again."""


class Surroundings(Protocol):
    """What a follower needs of the roster."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    async def apply(self, offer: Offer) -> Applied: ...

    async def remember(self, source: str, memory: Memory) -> None: ...

    async def set_now(self, followed: Followed) -> SetNow: ...

    async def deed(self, set_name: str) -> str: ...

    async def unpin(self, set_name: str) -> None: ...

    async def keys(self, followed: Followed) -> Keys: ...

    def missing(self, followed: Followed) -> list[str]: ...

    def told(self, status: SourceStatus) -> None: ...


class Follower:
    """Of one source, until its task is cancelled."""

    def __init__(self, followed: Followed, source: Source, around: Surroundings, memory: Memory = NOTHING) -> None:
        self.followed = followed
        self.source = source
        self.memory = memory
        self.waits = False
        self._around = around
        self._parameters = parameters_of(followed.spec, followed.set)
        self._loader = LoadAgain()
        self._asked = False
        self._started = True
        self._failures = 0
        self._retry_at = 0.0
        self._status = SourceStatus(followed.name, followed.set, followed.where, State.STARTING)

    @property
    def status(self) -> SourceStatus:
        looks = [at for at in (self.source.next_look, self._retry_at) if at]
        return replace(self._status, next_fetch=min(looks, default=0.0))

    @property
    def is_ready(self) -> bool:
        """Whether what was tried of it last was applied: sources that depend on it may go on."""
        last = self.memory.last
        return not self._started and last is not None and last.result is Result.APPLIED

    def fetch_now(self) -> None:
        self.source.fetch_now()

    def retry(self) -> None:
        """Try again what is remembered as failed, and leave a pin."""
        self._asked = True
        self.source.fetch_now()

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(self.source.revisions()) as revisions:
                    async for found in revisions:
                        await self._take_safely(found)
            except Exception as error:  # a defect of ours must not end what keeps the machine as declared
                self._defect(error)
            await asyncio.sleep(self._pause())

    async def _take_safely(self, found: Revision | SourceTrouble) -> None:
        try:
            await self._take(found)
        except Exception as error:
            self._defect(error)
            self._again()

    def _defect(self, error: Exception) -> None:
        self._tell(State.STALLED, f"{type(error).__name__}: {error}", "Defect", temporary=True)

    async def _take(self, found: Revision | SourceTrouble) -> None:
        if isinstance(found, SourceTrouble):
            self._trouble(found)
            return
        self._retry_at = 0.0
        self._see(found)
        missing = self._around.missing(self.followed)
        self.waits = bool(missing)
        if missing:
            self._tell(State.WAITING, f"waits for {', '.join(f'source {name}' for name in missing)}", "DependsOn")
            return
        now = await self._around.set_now(self.followed)
        asked, started, pin = self._asked, self._started, now.pin
        if now.steering.suspended and not asked:
            await self._stand_good()
            self._tell(State.SUSPENDED, self._suspended(), "Suspended")
            return
        pinned = pin is not None and self._is_pinned(pin, found)
        if not asked and not pinned and is_strayed(self.memory, found.id, self._parameters, now.asked):
            await self._see_strayed(found, now)
            return
        step = decide(self.memory, found.id, self._parameters, asked=asked, started=started, pinned=pinned)
        waits = rollouts_wait(now.steering, datetime.now()) if step is Next.TRY and self._is_news(found) else ""
        if waits and not asked:
            await self._stand_good()
            self._tell(State.WAITING, f"{waits}; `{RETRY.format(self.followed.name)}` applies it now", "Window")
            return
        if step is Next.TRY:
            await self._try(found, unpin=pin is not None)
            return
        self._started = False
        match step:
            case Next.LEAVE:
                self._tell(State.READY, self._good_message(), "Applied")
            case Next.PINNED:
                await self._stand_good()
                self._tell(State.PINNED, self._rolled_back(pin), "RolledBack")
            case Next.REMEMBERED:
                await self._stand_good()
                self._remind(await self._problems_of(found))

    def _remind(self, problems: tuple[Problem, ...]) -> None:
        last = self.memory.last
        failed = last is not None and last.result is Result.FAILED
        reason = "Failed" if failed else "Invalid" if problems else "Refused"
        self._tell(State.STALLED, last.message if last is not None else "", reason, problems=problems)

    async def _problems_of(self, found: Revision) -> tuple[Problem, ...]:
        """What is not valid in a revision that is remembered. What it points at counts from now on."""
        try:
            await self._offer(found)
        except Invalid as error:
            return error.problems
        except TrimtabError:
            pass
        return ()

    def _is_news(self, found: Revision) -> bool:
        """Whether something of the source runs already, and this is something else: the first one comes at once."""
        good = self.memory.good
        return good is not None and good.revision != found.id

    def _rolled_back(self, pin: Pin | None) -> str:
        where = f" to revision {pin.revision}" if pin is not None else ""
        end = f"another revision of the source ends that, or `{RETRY.format(self.followed.name)}`"
        return f"the set {self.followed.set} was rolled back{where}; {end}"

    def _suspended(self) -> str:
        scope = f"set/{self.followed.set}"
        return f"{scope} is suspended, and nothing new is applied; `trimtab resume {scope}` ends that"

    async def _see_strayed(self, found: Revision, now: SetNow) -> None:
        """Somebody else has changed the set: that is drift, put back or told as `self_heal` says."""
        deed = await self._around.deed(self.followed.set)
        stays = drift_stays(now.steering, datetime.now())
        if not stays:
            await self._try(found, unpin=False, puts_back=deed)
            return
        self._started = False
        await self._stand_good()
        state = State.OUT_OF_SYNC if now.asked else State.MISSING
        reason = "ChangedByHand" if now.asked else "DeletedByHand"
        self._tell(state, f"{deed}; {stays}: `{RETRY.format(self.followed.name)}` puts it back", reason)

    def must_look(self, now: SetNow) -> bool:
        """Whether its set stands otherwise than was told of it last."""
        told, last = self._status.state, self.memory.last
        strayed = last is not None and is_strayed(self.memory, last.revision, self._parameters, now.asked)
        if now.steering.suspended or told is State.SUSPENDED:
            return bool(now.steering.suspended) != (told is State.SUSPENDED)
        if now.pin is not None or told is State.PINNED:
            return told in (State.READY, *STRAYED, State.PINNED) and (now.pin is None or told is not State.PINNED)
        if told is State.WAITING:
            return not self.waits and not rollouts_wait(now.steering, datetime.now())
        if strayed and not drift_stays(now.steering, datetime.now()):
            return told in (State.READY, State.STALLED, *STRAYED)
        return (told is State.READY and strayed) or (told in STRAYED and not strayed)

    def _is_pinned(self, pin: Pin, revision: Revision) -> bool:
        """Whether this is what was rolled back from: what was tried last, or the commit that the pin names. A directory
        changes without a commit."""
        if self.memory.last is not None and self.memory.last.revision == revision.id:
            return True
        return self.followed.spec.git is not None and pin.commit == short(revision.commit)

    async def _try(self, revision: Revision, *, unpin: bool, puts_back: str = "") -> None:
        self._tell(State.APPLYING, "", "Applying")
        try:
            offer = await self._offer(revision, puts_back)
            await self.source.stand(revision.commit)
            applied = await self._around.apply(offer)
        except RetryLater as error:
            self._tell(State.STALLED, str(error), "Retrying", temporary=True)
            self._again()
            return
        except Invalid as error:
            await self._stand_good()
            if not error.may_heal:
                await self._end(revision, Result.REFUSED, error)
                return
            self._tell(State.STALLED, str(error), "Retrying", problems=error.problems, temporary=True)
            self._again()
            return
        except Refused as error:
            await self._stand_good()
            await self._end(revision, Result.REFUSED, error)
            return
        if unpin:
            await self._around.unpin(self.followed.set)
        # at a start what was applied before is only looked at: what is not there yet then is no failure of it
        stands = applied.passing and self._started and self._was_applied(revision)
        await self._end(revision, Result.APPLIED if stands else applied.result, applied.message, applied.left)

    def _was_applied(self, revision: Revision) -> bool:
        last = self.memory.last
        return last is not None and last.result is Result.APPLIED and last.revision == revision.id

    async def _offer(self, revision: Revision, puts_back: str = "") -> Offer:
        """The revision made ready. From then on a change of what its manifests point at is a new revision."""
        keys = await self._around.keys(self.followed)
        offer = await asyncio.to_thread(
            make_offer,
            *(self.followed, revision, self._around.environment, keys, self._loader),
            asked=self._asked,
            puts_back=puts_back,
        )
        if isinstance(self.source, WatchedDirectory):
            self.source.attend(pointed_at(offer.declared))
        return offer

    async def _end(self, revision: Revision, result: Result, why: TrimtabError | str, left: str = "") -> None:
        """The attempt is over and remembered."""
        self._asked, self._started = False, False
        attempt = Attempt(
            *(revision.id, self._parameters, result, str(why), revision.commit, time.time()),
            set=self.followed.set,
            left=left,
        )
        self.memory = self.memory.after(attempt)
        await self._around.remember(self.followed.name, self.memory)
        if result is Result.TIMED_OUT:
            self._again()
        else:
            self._failures = 0
        problems = why.problems if isinstance(why, Invalid) else ()
        state = State.READY if result is Result.APPLIED else State.STALLED
        reason = "Invalid" if problems else REASONS[result]
        self._tell(state, str(why), reason, problems=problems, temporary=result is Result.TIMED_OUT)

    async def _stand_good(self) -> None:
        """What manifests point at stands again as it was applied last."""
        good = self.memory.good
        try:
            await self.source.stand(good.commit if good is not None else "")
        except TrimtabError as error:
            self._tell(State.STALLED, str(error), "Retrying", temporary=True)

    def _good_message(self) -> str:
        return self.memory.good.message if self.memory.good is not None else ""

    def _trouble(self, trouble: SourceTrouble) -> None:
        self.waits = False
        if trouble.commit:
            self._status = replace(
                self._status, commit=trouble.commit, revision=trouble.commit[:12], subject="", signer=""
            )
        reason = "Invalid" if trouble.problems else "NotFetched"
        self._tell(State.STALLED, trouble.message, reason, problems=trouble.problems, temporary=trouble.temporary)

    def _again(self) -> None:
        """Look again later: the newest revision is tried then."""
        pause = self._pause()
        self._retry_at = time.time() + pause
        asyncio.get_running_loop().call_later(pause, self.source.fetch_now)

    def _pause(self) -> float:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause * (1 - JITTER * random.random())

    def _tell(
        self,
        state: State,
        message: str,
        reason: str,
        *,
        problems: tuple[Problem, ...] = (),
        temporary: bool = False,
    ) -> None:
        good = self.memory.good
        self._status = replace(
            self._status,
            state=state,
            message=message,
            reason=reason,
            problems=problems,
            temporary=temporary,
            applied=good.revision[:12] if good is not None else "",
            applied_commit=good.commit if good is not None else "",
            applied_at=good.at if good is not None else 0.0,
            at=time.time(),
        )
        self._around.told(self.status)

    def _see(self, revision: Revision) -> None:
        self._status = replace(
            self._status,
            revision=revision.short,
            commit=revision.commit,
            subject=revision.message,
            signer=revision.signer,
            fetched_at=time.time(),
        )
