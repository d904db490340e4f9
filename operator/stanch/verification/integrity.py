"""Whether what runs is what is known to be good, and nothing that is condemned. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.verification.reading import Answer, Reading, Subject
from stanch.versions import images
from stanch.versions.condemned import runs
from stanch.versions.located import Located, Where
from stanch.versions.models import Unlocated, version_places
from stanch.versions.template import PodTemplate, Statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from stanch.api.v1alpha1.versions import ModelLocator
    from stanch.verification.serving import PodSeen, Seen

_SHOWN = 200


def condemned_reading(subject: Subject, seen: Sequence[Seen], at: datetime) -> Reading | None:
    """What fails whether or not any pod is ready: one that has not ended is of a condemned version."""
    for pod in _pods(seen):
        carried = runs(pod.json, subject.condemned)
        if carried:
            message = f"pod {pod.name} is of a condemned version: {carried[0][:_SHOWN]}"
            return Reading(Answer.FAILS, "Condemned", message, at)
    return None


def integrity_reading(
    subject: Subject, seen: Sequence[Seen], at: datetime, locator: ModelLocator | None = None
) -> Reading:
    """Every pod that has not ended counts, with its init containers. `locator` says where the version is."""
    condemned = condemned_reading(subject, seen, at)
    if condemned is not None:
        return condemned
    good = subject.known_good
    if not subject.condemned and (good is None or not (good.images or good.model_version)):
        message = "nothing is condemned, and spec.knownGood of the incident names neither images nor a model"
        return Reading(Answer.UNKNOWN, "NothingToCompare", message, at)
    found = list(_differences(subject, _pods(seen), at, locator))
    for answer in (Answer.FAILS, Answer.UNKNOWN):
        first = next((reading for reading in found if reading.answer is answer), None)
        if first is not None:
            return first
    count = sum(1 for _ in _pods(seen))
    what = "is condemned" if good is None else "is condemned or other than known to be good"
    return Reading(Answer.HOLDS, "Intact", f"nothing in {count} pods {what}", at)


def _pods(seen: Sequence[Seen]) -> Iterator[PodSeen]:
    return (pod for one in seen for pod in one.pods if pod.member.live)


def _differences(
    subject: Subject, pods: Iterable[PodSeen], at: datetime, locator: ModelLocator | None
) -> Iterator[Reading]:
    good = subject.known_good
    if good is None:
        return
    for pod in pods:
        if good.images:
            yield from _images(pod, good.images, at)
        if good.model_version:
            yield from _model(pod, good.model_version, at, locator)


def _images(pod: PodSeen, good: Sequence[str], at: datetime) -> Iterator[Reading]:
    """A container whose image is not told yet is not known."""
    told = dict(Statuses.parse(pod.json).image_ids())
    for placed in PodTemplate.parse(pod.json).placed():
        name = placed.container.name
        digest = images.digest_of(told.get(name, ""))
        where = f"container {name} of pod {pod.name}"
        if digest is None:
            yield Reading(Answer.UNKNOWN, "DigestUnknown", f"no digest is told of the image of {where}", at)
        elif digest not in good:
            message = f"{where} runs {digest}, which is none of knownGood.images"
            yield Reading(Answer.FAILS, "OtherImage", message, at, digest[: len("sha256:") + 12])


def _model(pod: PodSeen, good: str, at: datetime, locator: ModelLocator | None) -> Iterator[Reading]:
    places = version_places(pod.json, locator)
    if isinstance(places, Unlocated):
        yield Reading(Answer.UNKNOWN, places.reason, f"pod {pod.name}: {places.message}", at)
        return
    for place in places:
        if good not in _spellings(place):
            message = f"pod {pod.name} runs {str(place)[:_SHOWN]}, and knownGood.modelVersion is {good}"
            yield Reading(Answer.FAILS, "OtherModel", message, at, place.value[:_SHOWN])


def _spellings(place: Located) -> set[str]:
    """An image volume's version may be told by its tag or its digest alone."""
    if place.where is not Where.IMAGE_VOLUME:
        return {place.value}
    image = images.parse(place.value)
    return {place.value, image.tag or place.value, image.digest or place.value}
