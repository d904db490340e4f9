"""Where a pod template keeps its model's identity, and the same template with another version there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stanch.versions import images
from stanch.versions.located import Located, Where
from stanch.versions.roles import ANNOTATIONS, Role, is_commit, moving, on_hub, unpinned
from stanch.versions.servers import normal_flag, of_container
from stanch.versions.template import Json, PodTemplate, value_at, with_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stanch.api.v1alpha1.versions import ModelLocator


@dataclass(frozen=True, slots=True)
class Unlocated:
    """Why it cannot be said where the version is kept."""

    reason: str
    message: str


def identify(template: Json, locator: ModelLocator | None = None) -> list[Located]:
    """Every place that says which model runs, the preferred first; with a locator only what it names."""
    parsed = PodTemplate.parse(template)
    found = list(_image_volumes(parsed))
    for placed in parsed.placed():
        if locator is None or locator.container in {None, placed.container.name}:
            found += of_container(placed, locator)
    found += _annotations(parsed, locator)
    if locator is None:
        found = list(_pinned(_mounted(parsed, found)))
    else:
        found = list(_pinned([one for one in found if _named(one, locator)]))
    return sorted(found, key=lambda one: (list(Where).index(one.standing), list(Role).index(one.role)))


def version_places(template: Json, locator: ModelLocator | None = None) -> tuple[Located, ...] | Unlocated:
    """The places to write another version to: one, or several that hold the same value."""
    found = identify(template, locator)
    if not found:
        what = "the locator names nothing in it" if locator else "no known flag, variable or volume has it"
        return Unlocated(
            "ModelNotFound", f"where its pod template keeps the model version is unknown: {what}"
        )
    telling = [one for one in found if one.role in {Role.VERSION, Role.SOURCE}] or found
    preferred = [one for one in telling if one.standing is telling[0].standing]
    role = preferred[0].role
    chosen = [one for one in preferred if one.role is role]
    others = [one for one in telling if one.role is Role.VERSION and role is not Role.VERSION]
    rivals = [one for one in [*chosen, *others] if (one.role, one.value) != (role, chosen[0].value)]
    if rivals:
        places = "; ".join(str(one) for one in [chosen[0], *rivals][:4])
        return Unlocated(
            "ModelAmbiguous",
            f"several places could keep the model version: {places}; name one with a locator",
        )
    return tuple(one for one in found if (one.role, one.value) == (role, chosen[0].value))


def replace_value(template: Json, located: Located, value: str) -> Json:
    """The template with another value at that place, and equal everywhere else.

    An image volume keeps its repository when `value` is a tag or a digest.
    """
    text: str = value_at(template, located.place)
    if located.where is Where.IMAGE_VOLUME:
        value = _reference(located.value, value)
    changed = text[: located.start] + value + text[located.start + len(located.value) :]
    return with_value(template, located.place, changed)


def _reference(standing: str, value: str) -> str:
    if images.digest_of(value) == value:
        return images.with_digest(standing, value)
    if "/" in value or ":" in value or "@" in value:
        return value
    return images.with_tag(standing, value)


def _named(one: Located, locator: ModelLocator) -> bool:
    if locator.arg is not None:
        flag = one.key if one.where is Where.ARG else one.via
        return flag is not None and normal_flag(flag) == normal_flag(locator.arg)
    wanted = {
        Where.ENV: locator.env,
        Where.ANNOTATION: locator.annotation,
        Where.IMAGE_VOLUME: locator.image_volume,
    }
    return wanted.get(one.where) == one.key


def _image_volumes(parsed: PodTemplate) -> Iterator[Located]:
    for index, volume in enumerate(parsed.volumes):
        if volume.image is not None and volume.image.reference:
            place = ("spec", "volumes", index, "image", "reference")
            reference = volume.image.reference
            yield Located(
                Where.IMAGE_VOLUME,
                None,
                volume.name,
                reference,
                Role.SOURCE,
                place,
                0,
                Where.IMAGE_VOLUME,
                mutable=images.parse(reference).mutable,
            )


def _annotations(parsed: PodTemplate, locator: ModelLocator | None) -> Iterator[Located]:
    roles = dict(ANNOTATIONS)
    if locator is not None and locator.annotation is not None:
        roles.setdefault(locator.annotation, Role.VERSION)
    for key, role in roles.items():
        value = parsed.annotations.get(key)
        if value:
            place = ("metadata", "annotations", key)
            yield Located(Where.ANNOTATION, None, key, value, role, place, 0, Where.ANNOTATION)


def _mounted(parsed: PodTemplate, found: Sequence[Located]) -> Iterator[Located]:
    """A path into a mounted image volume says nothing by itself: the volume does, and stands for it."""
    volumes = {one.key for one in found if one.where is Where.IMAGE_VOLUME}
    mounts = {
        placed.container.name: [mount for mount in placed.container.volume_mounts if mount.name in volumes]
        for placed in parsed.placed()
    }
    served: dict[str, Where] = {}
    kept: list[Located] = []
    for one in found:
        path = one.value.rstrip("/") + "/"
        mount = next(
            (
                mount
                for mount in mounts.get(one.container or "", ())
                if one.role is Role.SOURCE and path.startswith(mount.mount_path.rstrip("/") + "/")
            ),
            None,
        )
        if mount is None:
            kept.append(one)
        else:
            served.setdefault(mount.name, one.standing)
    for one in kept:
        standing = served.get(one.key) if one.where is Where.IMAGE_VOLUME else None
        yield replace(one, standing=standing) if standing else one


def _pinned(found: Iterable[Located]) -> Iterator[Located]:
    """Says of each whether what it names may change: a branch, or a model on a hub without a commit."""
    found = list(found)
    pins = {one.container for one in found if one.role is Role.VERSION and is_commit(one.value)}
    for one in found:
        moves = one.mutable or moving(one.value)
        if one.role is Role.SOURCE and one.where is not Where.IMAGE_VOLUME and one.container not in pins:
            moves = moves or unpinned(one.value) or on_hub(one.value)
        yield replace(one, mutable=moves)
