"""Choosing the version to go back to, or saying why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stanch.versions import images
from stanch.versions.condemned import carries
from stanch.versions.diff import clean
from stanch.versions.models import Unlocated, identify, replace_value, version_places
from stanch.versions.revisions import KNOWN_GOOD, Revision, current_of
from stanch.versions.template import Json, PodTemplate, with_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stanch.api.v1alpha1.versions import ImageChoice, ModelLocator, RollbackTo


@dataclass(frozen=True, slots=True)
class Standing:
    """The workload as it stands."""

    template: Json = field(repr=False)
    revisions: tuple[Revision, ...] = ()
    paused: bool = False
    history_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The template to put in place, and for people what it is."""

    template: Json = field(repr=False)
    what: str
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    message: str


def choose(
    standing: Standing, to: RollbackTo, locator: ModelLocator | None, condemned: Collection[str]
) -> Chosen | Refused:
    """The version that `to` asks for, unless it is condemned, by this incident or another."""
    if standing.paused:
        return Refused("Paused", "the Deployment is paused and would not roll out; resume it first")
    if to.image is not None:
        chosen = _image(standing.template, to.image)
    elif to.model_version is not None:
        chosen = _model(standing.template, to.model_version, locator)
    else:
        chosen = _of_history(standing, to, locator, condemned)
    if isinstance(chosen, Refused):
        return chosen
    if clean(chosen.template) == clean(standing.template):
        return Refused("AlreadyCurrent", f"{chosen.what} is what the workload runs now")
    carried = carries(chosen.template, condemned)
    if carried:
        return Refused("Condemned", f"{chosen.what} carries what is condemned: {_listed(carried)}")
    return chosen


def _of_history(
    standing: Standing, to: RollbackTo, locator: ModelLocator | None, condemned: Collection[str]
) -> Chosen | Refused:
    if standing.history_limit == 0:
        return Refused(
            "HistoryDisabled",
            "spec.revisionHistoryLimit is 0, so no earlier version is kept; name an image or a model version",
        )
    current = current_of(standing.revisions, standing.template)
    if not any(revision is not current for revision in standing.revisions):
        return Refused("NoHistory", "no earlier revision is kept; name an image or a model version")
    if to.revision is not None:
        return _revision(standing.revisions, to.revision)
    return _last_known_good(standing, current, locator, condemned)


def _revision(revisions: Sequence[Revision], number: int) -> Chosen | Refused:
    asked = next((revision for revision in revisions if revision.number == number), None)
    if asked is not None:
        return _chosen(asked)
    renumbered = next((revision for revision in revisions if number in revision.former), None)
    hint = f"; it is revision {renumbered.number} now" if renumbered else ""
    kept = ", ".join(str(revision.number) for revision in revisions[-10:])
    return Refused("RevisionNotFound", f"there is no revision {number}{hint}; kept are {kept}")


def _last_known_good(
    standing: Standing, current: Revision | None, locator: ModelLocator | None, condemned: Collection[str]
) -> Chosen | Refused:
    earlier = [each for each in standing.revisions if current is None or each.number < current.number]
    clear = [each for each in earlier if not carries(each.template, condemned)]
    vouched = [each for each in clear if each.known_good]
    version = _version(standing.template, locator)
    other = [each for each in clear if _version(each.template, locator) != version]
    candidates = vouched or other
    if candidates:
        return _chosen(candidates[-1])
    if not earlier:
        message = "the workload runs its oldest revision"
    elif not clear:
        message = f"all {len(earlier)} earlier revisions carry what is condemned"
    else:
        message = "no earlier revision differs in image or model version"
    advice = f"annotate one with {KNOWN_GOOD}=true, or name a revision, an image or a model version"
    return Refused("NoKnownGood", f"{message}; {advice}")


def _version(template: Json, locator: ModelLocator | None) -> tuple[object, ...]:
    """What a version is told by: the image of the container that serves, and the model."""
    parsed = PodTemplate.parse(template)
    models = identify(template, locator)
    serving = {one.container for one in models if one.container} or {parsed.main.name if parsed.main else ""}
    return (
        {
            (placed.container.name, images.parse(placed.container.image).canonical)
            for placed in parsed.placed()
            if placed.container.name in serving
        },
        {(one.role, one.value) for one in models},
    )


def _image(template: Json, choice: ImageChoice) -> Chosen | Refused:
    placed = [each for each in PodTemplate.parse(template).placed() if each.place[1] != "ephemeralContainers"]
    names = ", ".join(each.container.name for each in placed[:10])
    if choice.container is not None:
        found = [each for each in placed if each.container.name == choice.container]
        if not found:
            return Refused("ContainerNotFound", f"it has no container {choice.container}, but {names}")
    else:
        found = [each for each in placed if each.place[1] == "containers"]
        if len(found) != 1:
            return Refused("ContainerAmbiguous", f"it has several containers, {names}; name one in to.image")
    one = found[0]
    reference = choice.reference or one.container.image
    if choice.tag is not None:
        reference = images.with_tag(reference, choice.tag)
    elif choice.digest is not None:
        reference = images.with_digest(reference, choice.digest)
    what = f"image {reference} in container {one.container.name}"
    if images.equal(reference, one.container.image):
        return Refused("AlreadyCurrent", f"{what} is what the workload runs now")
    return Chosen(clean(with_value(template, (*one.place, "image"), reference)), what)


def _model(template: Json, version: str, locator: ModelLocator | None) -> Chosen | Refused:
    places = version_places(template, locator)
    if isinstance(places, Unlocated):
        return Refused(places.reason, places.message)
    for place in places:
        template = replace_value(template, place, version)
    where = " and ".join(f"{place.where} {place.key}" for place in places[:3])
    return Chosen(clean(template), f"model version {version} in {where}")


def _chosen(revision: Revision) -> Chosen:
    return Chosen(revision.template, f"revision {revision.number} ({revision.name})", revision.number)


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(key[:200] for key in keys[:3])
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")  # noqa: PLR2004 - fits a line
