"""What changes between two versions, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.versions.models import identify
from stanch.versions.template import Json, PodTemplate

if TYPE_CHECKING:
    from stanch.api.v1alpha1.versions import ModelLocator

_LONGEST = 120
_SHOWN = 6


def changed(current: Json, chosen: Json, locator: ModelLocator | None) -> str:
    """`server image llm:2 → llm:1, --revision r2 → r1`; mutable references are flagged."""
    before, after = _said(current, locator), _said(chosen, locator)
    told = [
        f"{what} {_short(before.get(what))} → {_short(after.get(what))}"
        for what in {**before, **after}
        if before.get(what) != after.get(what)
    ]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return (", ".join(told[:_SHOWN]) + more) or "neither image nor model version"


def _said(template: Json, locator: ModelLocator | None) -> dict[str, str]:
    parsed = PodTemplate.parse(template)
    images = {f"{placed.container.name} image": placed.container.image for placed in parsed.placed()}
    models = {
        f"{one.container or one.where} {one.key}": f"{one.value}{' (mutable)' if one.mutable else ''}"
        for one in identify(template, locator)
    }
    return images | models


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
