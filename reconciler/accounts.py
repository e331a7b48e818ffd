"""Whether an image has the users and groups that a container names, before the container before it is taken away.

Looked at with the plan, where the image is on this machine already and stays as it is (`refuse_unknown_accounts`), and
again when a replacement begins, since by then the image is there (`reconciler.perform.containers`). Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.actions import Effect, Plan, Verb
from reconciler.bundle.user import resolve_user
from reconciler.desired import Desired
from reconciler.resolve.expand import image_key
from runtime.images.record import ImageRecord
from runtime.images.store import layer_directories, read_image
from runtime.layout import Layout
from schemas.container import ContainerTemplate
from schemas.envelope import Declared
from schemas.errors import Invalid, Problem, Refused
from schemas.names import Key, Kind


def refuse_unknown_accounts(
    layout: Layout, plan: Plan, desired: Mapping[Key, Desired], declared: Mapping[Key, Declared]
) -> None:
    """Raises Invalid with every name that the image of a container that is about to be made has not."""
    changing = {action.key for action in plan.effective if action.key.kind is Kind.IMAGE}
    problems: list[Problem] = []
    for item in _about_to_begin(plan, desired):
        assert isinstance(item.spec, ContainerTemplate)
        key = image_key(item.spec.image, item.spec, declared)
        image = read_image(layout, key.name)
        if image is None or key in changing:
            continue
        layers = layer_directories(layout, image)
        if all(layer.is_dir() for layer in layers):
            problems += unknown_accounts(item, item.spec, image, layers)
    if problems:
        raise Invalid(problems)


def _about_to_begin(plan: Plan, desired: Mapping[Key, Desired]) -> list[Declared]:
    """The manifests of containers that are made or begin anew; a Service's once for all its replicas."""
    found = {}
    for action in plan.effective:
        want = desired.get(action.key)
        begins = action.verb is Verb.CREATE or (action.verb is Verb.UPDATE and action.effect is not Effect.LIVE)
        if begins and action.key.kind is Kind.CONTAINER and want is not None and want.declared is not None:
            found[want.declared.key] = want.declared
    return list(found.values())


def unknown_accounts(
    item: Declared, spec: ContainerTemplate, image: ImageRecord, layers: Sequence[Path]
) -> Iterator[Problem]:
    """A problem for each of `user` and `group_add` that the image's account files do not know."""
    field = ("spec", "user") if spec.user else ("spec", "image")
    if (why := _fault(layers, spec.user or image.config.user)) is not None:
        yield item.problem(field, why.message, why.hint)
        return
    for index, group in enumerate(spec.group_add):
        if (why := _fault(layers, "", (group,))) is not None:
            yield item.problem(("spec", "group_add", index), why.message, why.hint)


def _fault(layers: Sequence[Path], user: str, groups: Sequence[str] = ()) -> Refused | None:
    try:
        resolve_user(layers, user, groups)
    except Refused as error:
        return error
    return None
