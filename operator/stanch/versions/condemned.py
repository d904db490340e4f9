"""What must not run again: strings that the admission policies look up, word for word.

Keys are `image/<reference>`, `digest/<digest>`, `arg/<one word of command or args>`, `env/<NAME>=<value>` and
`annotation/<key>=<value>`. `carries` answers as the policies do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.versions import images
from stanch.versions.located import Located, Where
from stanch.versions.models import identify
from stanch.versions.roles import Role, moving
from stanch.versions.template import Json, PodTemplate, Statuses, value_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from stanch.api.v1alpha1.versions import ModelLocator

LONGEST = 1024
"""Characters of a key. Longer ones would fill the hold: what they stand for is said to be unmatched."""
MOST = 64
"""Keys of one condemnation. The least usual spellings are the first to be left out."""


@dataclass(frozen=True, slots=True)
class Condemnation:
    """The keys, sorted, and for people what tells the versions apart but cannot be denied."""

    keys: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


def condemn(bad: Json, good: Json, locator: ModelLocator | None = None) -> Condemnation:
    """What names the bad version's images and model and is nowhere in the good one."""
    spared = frozenset(_strings(good)) | {key for ref in _references(good) for key in _image_keys(ref)}
    kept = {images.parse(reference).canonical for reference in _references(good)}
    condemned = [ref for ref in _references(bad) if images.parse(ref).canonical not in kept]
    keys = {key for reference in condemned for key in _image_keys(reference)} - spared
    models = _gone(bad, good, locator)
    names = [one for one in models if one.role is Role.NAME]
    telling = [one for one in models if one.role is not Role.NAME]
    unmatched: list[str] = []
    # Clients know a model by its name: a repaired version will want to bear it.
    for located in telling or ([] if keys else names):
        found = _model_keys(bad, located) - spared
        keys |= found
        if not found:
            unmatched.append(str(located)[:LONGEST])
    written = frozenset(_strings(bad))
    ranked = sorted(keys, key=lambda key: (key not in written, len(key), key))
    unmatched += ranked[MOST:]
    return Condemnation(tuple(sorted(ranked[:MOST])), tuple(unmatched))


def carries(template: Json, keys: Collection[str]) -> list[str]:
    """The condemned keys that a pod template or a pod carries, sorted."""
    return sorted({key for key in _strings(template) if key in keys})


def runs(pod: Json, keys: Collection[str]) -> list[str]:
    """Those that a pod carries or is seen to run: a tag may have come to name a condemned image."""
    seen = {f"digest/{digest}" for digest in _running(pod).values()}
    return sorted({*carries(pod, keys), *(key for key in seen if key in keys)})


def digests(pods: Iterable[Json], keys: Collection[str]) -> list[str]:
    """The keys of the digests that pods run where they were asked to run a condemned image.

    A digest that also runs by another, uncondemned name is not among them.
    """
    bad: set[str] = set()
    spared: set[str] = set()
    for pod in pods:
        condemned = {
            placed.container.name
            for placed in PodTemplate.parse(pod).placed()
            if any(key in keys for key in _lookups(placed.container.image))
        }
        for container, digest in _running(pod).items():
            (bad if container in condemned else spared).add(f"digest/{digest}")
    return sorted(bad - spared)


def coarse(word: str) -> bool:
    """Whether a word says too little to be denied wherever it stands alone: a number, a branch."""
    return len(word) < 2 or not any(each.isalpha() for each in word) or moving(word)  # noqa: PLR2004 - a letter


def _gone(bad: Json, good: Json, locator: ModelLocator | None) -> list[Located]:
    """What the bad version says of its model and the good one says nowhere."""
    said = {(one.role, one.value) for one in identify(good, locator)}
    return [
        one
        for one in identify(bad, locator)
        if one.where is not Where.IMAGE_VOLUME and (one.role, one.value) not in said
    ]


def _model_keys(template: Json, located: Located) -> frozenset[str]:
    if located.where is Where.ENV:
        keys = {f"env/{located.key}={located.value}"}
    elif located.where is Where.ANNOTATION:
        keys = {f"annotation/{located.key}={located.value}"}
    else:
        standing: str = value_at(template, located.place)
        # Written the other way, `--model X` for `--model=X`, it is the same version.
        ways = {standing, f"{located.key}={located.value}", located.value}
        keys = {f"arg/{way}" for way in ways if way != located.value or not coarse(way)}
    return frozenset(key for key in keys if len(key) <= LONGEST)


def _image_keys(reference: str) -> frozenset[str]:
    image = images.parse(reference)
    untied = images.tagged(image)
    spellings = image.spellings() | (untied.spellings() if untied else frozenset())
    keys = {f"image/{each}" for each in {reference, *spellings}}
    if image.digest:
        keys.add(f"digest/{image.digest}")
    return frozenset(keys)


def _references(template: Json) -> Iterator[str]:
    parsed = PodTemplate.parse(template)
    found = [placed.container.image for placed in parsed.placed()]
    found += [volume.image.reference for volume in parsed.volumes if volume.image]
    yield from filter(None, found)


def _lookups(reference: str) -> Iterator[str]:
    yield f"image/{reference}"
    _, at, digest = reference.partition("@")
    if at:
        yield f"digest/{digest}"


def _strings(template: Json) -> Iterator[str]:
    """All that the policies look up of a pod or a pod template."""
    parsed = PodTemplate.parse(template)
    for reference in _references(template):
        yield from _lookups(reference)
    for placed in parsed.placed():
        container = placed.container
        yield from (f"arg/{word}" for word in (*container.command, *container.args))
        for variable in container.env:
            if variable.literal is not None:
                yield f"env/{variable.name}={variable.literal}"
    yield from (f"annotation/{key}={value}" for key, value in parsed.annotations.items())


def _running(pod: Json) -> dict[str, str]:
    """Digest by container, as the kubelet tells."""
    found = {name: images.digest_of(image_id) for name, image_id in Statuses.parse(pod).image_ids()}
    return {name: digest for name, digest in found.items() if digest}
