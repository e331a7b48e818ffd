"""The timer of images that follow a repository: looks, chooses, watches what runs the new one, takes it back.

Lives in the loop's thread; registries, kernel and store are asked in the worker's. What it changes is the chosen
reference; the loop's own passes bring it and replace what runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from reconciler.bundle.config import image_digest
from reconciler.engine import Engine
from reconciler.health import HealthStatus
from reconciler.images.follow import Followed, Verdict, chosen, failed, is_due_to_write, judged, read_followed
from reconciler.images.selection import look, read_state, write_state
from reconciler.images.write_back import WriteBack, write_back
from reconciler.loop.settings import Tell, Worker
from reconciler.loop.timers import kept
from reconciler.loop.wanted import Wanted
from reconciler.observe.health import health_of
from reconciler.perform.bundles import read_config
from reconciler.registries import read_registries
from reconciler.rollouts.looking import read_rollout_of
from reconciler.rollouts.state import Progress, Rollout
from reconciler.rollouts.turns import rolls
from reconciler.status import read_status
from reconciler.steering import Steering, rollouts_wait, steer
from reconciler.store.standing import Topic, read_one, read_standing
from runtime.images.registry.settings import RegistrySettings
from runtime.images.store import read_image
from runtime.process.client import read_process
from runtime.process.records import Phase
from schemas.errors import TrimtabError
from schemas.image import ImageSpec
from schemas.names import Key, Kind
from schemas.windows import read_windows

BEAT_SECONDS = 0.5
"""Between two looks at what is on probation, and whether another is due."""
WRITE_AGAIN_SECONDS = 60.0
LOOKS_AT_ONCE = 2
"""Images whose registries are asked at the same time."""

Renew = Callable[[Iterable[Key], str], None]
"""Forget that these failed, and look at them."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image that follows. `users`: containers made of it. `steering`: of its set, when a newer one may come.
    `services`: those of its users that replace their replicas in turns."""

    key: Key
    spec: ImageSpec
    users: tuple[str, ...]
    steering: Steering = field(default_factory=Steering)
    services: tuple[Key, ...] = ()


class Following:
    """Made and run in one event loop."""

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        wanted: Callable[[], Wanted],
        renew: Renew,
        tell: Tell,
        steering: Callable[[], Steering] = Steering,
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._wanted = wanted
        self._renew = renew
        self._tell = tell
        self._steering = steering
        self._tried: dict[Key, float] = {}
        self._images: dict[Key, Image] = {}
        self._known: dict[Key, Followed] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._writing = asyncio.Lock()
        """Several images may stand in one repository."""

    async def run(self) -> None:
        """Until it is cancelled. Each image has a beat of its own: a registry that is dead keeps no other waiting."""
        try:
            while True:
                self._images = {image.key: image for image in images_of(self._wanted(), self._steering())}
                for key in self._images.keys() - self._tasks.keys():
                    work = kept(f"following {key}", partial(self._follow, key), self._tell)
                    self._tasks[key] = task = asyncio.create_task(work)
                    task.add_done_callback(partial(self._ended, key))
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _follow(self, key: Key) -> None:
        """As long as it is wanted."""
        while (image := self._images.get(key)) is not None:
            await self._beat(image)
            await asyncio.sleep(BEAT_SECONDS)
        self._known.pop(key, None)

    async def _advance(self, image: Image) -> tuple[Followed, Followed]:
        """One of few at once where its registry is to be asked: others need the worker's threads, too."""
        known = self._known.get(image.key)
        if known is None:
            known = await self._worker.do(read_state, self._engine.database, image.key.name, image.spec)
        idle = known.on_probation or not is_due_to_look(known, image.spec, time.time())
        async with nullcontext() if idle else self._looks:
            found = await self._worker.do(advance, self._engine, image, time.time(), datetime.now())
        self._known[image.key] = found[1]
        return found

    async def _beat(self, image: Image) -> None:
        try:
            before, after = await self._advance(image)
        except (TrimtabError, OSError) as error:
            self._tell("follow.failed", {"image": image.key.name, "error": str(error)})
            return
        if after.failure and after.failure != before.failure:
            self._tell("follow.failed", {"image": image.key.name, "error": after.failure})
        if after.selected != before.selected:
            self._tell("follow", {"image": image.key.name, "from": before.selected, "to": after.selected})
            self._renew([image.key], f"{after.selected} was chosen")
        await self._write_back(image, after)

    async def _write_back(self, image: Image, state: Followed) -> None:
        assert image.spec.ref is not None and image.spec.follow is not None
        due = self._tried.get(image.key, 0.0) + (WRITE_AGAIN_SECONDS if state.write_failure else 0.0)
        if not is_due_to_write(state, image.spec.ref, image.spec.follow) or time.monotonic() < due:
            return
        self._tried[image.key] = time.monotonic()
        wanted = self._wanted()
        entry = wanted.inventory.get(image.key)
        try:
            if entry is not None:
                async with self._writing:
                    await write_back(WriteBack(self._engine.layout, wanted.inventory, entry, state.selected))
        except (TrimtabError, OSError) as error:
            failure = str(error)
            self._tell("write_back.failed", {"image": image.key.name, "error": failure})
        else:
            failure = ""
            self._tell("write_back", {"image": image.key.name, "reference": state.selected})
        await self._worker.do(note_written, self._engine, image.key, state, failure)


def note_written(engine: Engine, key: Key, state: Followed, failure: str) -> None:
    """What came of writing back what `state` had selected. What else is known may be newer by now, and stays; nothing
    where the image is gone, or follows something else."""
    value = read_one(engine.database, Topic.FOLLOWED, key.name)
    now = read_followed(value) if value is not None else None
    if now is None or now.basis != state.basis:
        return
    written = now.written if failure else state.selected
    write_state(engine.database, key.name, replace(now, written=written, write_failure=failure))


def is_due_to_look(state: Followed, spec: ImageSpec, now: float) -> bool:
    """Whether the registry is to be asked, unless something is on probation."""
    assert spec.follow is not None
    # a look to come: the clock was set back since
    return not 0 <= now - state.checked_at < spec.follow.interval


def images_of(wanted: Wanted, engine: Steering) -> list[Image]:
    """Those that follow something."""
    found = []
    for key, want in wanted.desired.items():
        spec = want.declared.spec if want.declared is not None else None
        if isinstance(spec, ImageSpec) and spec.follow is not None and spec.ref is not None:
            users = tuple(user.name for user in wanted.users.get(key, ()) if user.kind is Kind.CONTAINER)
            of_set = wanted.steering.get(f"set/{wanted.set_of.get(key)}")
            annotations = want.declared.metadata.annotations if want.declared is not None else {}
            steering = steer(annotations, wanted.steering.get(str(key)), of_set, engine)
            found.append(Image(key, spec, users, steering, _services(wanted, users)))
    return found


def _services(wanted: Wanted, users: Iterable[str]) -> tuple[Key, ...]:
    wants = (wanted.desired.get(Key(Kind.CONTAINER, name)) for name in users)
    owners = {want.owner for want in wants if want is not None and want.owner is not None}
    return tuple(sorted(owner for owner in owners if rolls(wanted.desired.get(owner))))


def advance(engine: Engine, image: Image, now: float, local: datetime) -> tuple[Followed, Followed]:
    """One step: what was known, and what is known now, which stands in the store then."""
    spec = image.spec.follow
    assert spec is not None
    before = state = read_state(engine.database, image.key.name, image.spec)
    if state.on_probation:
        verdict, why = judge(engine, image, state)
        if verdict is Verdict.WAITING and _roll_out(engine, image):
            state = replace(state, since=now)  # as long as that goes on, it is not late
        state = judged(state, spec, verdict, why, now)
    elif is_due_to_look(state, image.spec, now):
        try:
            state = look(state, image.spec, _impatient(read_registries(engine.layout)))
        except TrimtabError as error:
            state = failed(state, str(error), now)
    if state.selected:  # the first is chosen when the image is made
        is_open = _is_open(spec.window, local) and not rollouts_wait(image.steering, local)
        state = chosen(state, now, _restarts(engine, image.users), is_open=is_open)
    if state != before:
        write_state(engine.database, image.key.name, state)
    return before, state


def _impatient(settings: RegistrySettings) -> RegistrySettings:
    """The next look is soon enough."""
    return replace(settings, attempts=min(settings.attempts, 2))


def _is_open(window: str | None, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    return window is None or any(each.holds(local.weekday(), minute) for each in read_windows(window))


def _restarts(engine: Engine, users: Iterable[str]) -> dict[str, int]:
    told: Mapping[str, int] = read_standing(engine.database, Topic.RESTARTS)
    return {name: int(told.get(name, 0)) for name in users}


def judge(engine: Engine, image: Image, state: Followed) -> tuple[Verdict, str]:
    """How the image that was chosen does: whether it could be brought, and what runs it is well."""
    record = read_image(engine.layout, image.key.name)
    if record is None or record.reference != state.selected:
        refused = _refusal(engine, image.key, state.since)
        return (Verdict.BAD, refused) if refused else (Verdict.WAITING, "it could not be brought")
    for rollout in _rollouts(engine, image):
        if rollout.progress is Progress.HALTED and _is_run(engine, image, record.digest):
            return Verdict.BAD, rollout.why
        if rollout.under_way:
            return Verdict.WAITING, f"it rolls out: {rollout.told}"
    counts = _restarts(engine, image.users)
    found = [_judge(engine, name, record.digest, counts[name] > state.counts.get(name, 0)) for name in image.users]
    for verdict in (Verdict.BAD, Verdict.WAITING):
        why = next((text for one, text in found if one is verdict), None)
        if why is not None:
            return verdict, why
    return Verdict.GOOD, ""


def _rollouts(engine: Engine, image: Image) -> list[Rollout]:
    found = (read_rollout_of(engine.database, service) for service in image.services)
    return [state for state in found if state is not None]


def _roll_out(engine: Engine, image: Image) -> bool:
    return any(state.under_way for state in _rollouts(engine, image))


def _is_run(engine: Engine, image: Image, digest: str) -> bool:
    """Whether a replica came to be made of it: else what was halted was an earlier rollout."""
    bundles = (read_config(engine.layout.container(name)) for name in image.users)
    return any(image_digest(bundle) == digest for bundle in bundles if bundle is not None)


def _refusal(engine: Engine, key: Key, since: float) -> str:
    """Why the image cannot be had, where nothing but another one would help; as it was found since it was chosen."""
    value = read_one(engine.database, Topic.STATUS, str(key))
    stalled = read_status(value).condition("Stalled") if value is not None else None
    is_new = stalled is not None and stalled.status == "True" and stalled.since >= since
    return stalled.message if stalled is not None and is_new and stalled.reason == "Refused" else ""


def _judge(engine: Engine, name: str, digest: str, restarted: bool) -> tuple[Verdict, str]:
    bundle, process = read_config(engine.layout.container(name)), read_process(engine.layout, name)
    if bundle is None or process is None or image_digest(bundle) != digest:
        return Verdict.WAITING, f"Container/{name} does not run it yet"
    if process.phase is Phase.EXITED:
        code = process.exit.exit_code if process.exit is not None else None
        return (Verdict.GOOD, "") if code == 0 else (Verdict.BAD, f"Container/{name} exited {code}")
    if restarted:
        return Verdict.BAD, f"Container/{name} was started again and again"
    match health_of(engine, name):
        case HealthStatus.UNHEALTHY:
            return Verdict.BAD, f"Container/{name} is unhealthy"
        case HealthStatus.STARTING:
            return Verdict.WAITING, f"Container/{name} is starting"
    return Verdict.GOOD, ""
