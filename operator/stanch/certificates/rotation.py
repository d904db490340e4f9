"""When certificates that sign themselves are renewed, so that no sender is ever refused a new one.

A sender trusts what it read of `ca.crt`, perhaps long ago. So the next authority stands in there long before
it signs anything, and a former one until nothing that it signed can be served any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

AUTHORITY_LIFE = timedelta(days=3 * 365)
LEAF_LIFE = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
"""A third of its life: as cert-manager does it."""
ANNOUNCE_BEFORE = timedelta(days=365)
SWITCH_BEFORE = timedelta(days=90)
LEAST_OVERLAP = timedelta(days=30)
"""Of an authority that was announced late, as nothing ran for a long time."""
LAST_MOMENT = timedelta(days=7)


class Step(StrEnum):
    KEEP = "Keep"
    BEGIN = "Begin"
    """A new authority, and a certificate of it: nobody can be served with what is there."""
    ANNOUNCE = "AnnounceAuthority"
    """A next authority, trusted from now on, that signs nothing yet."""
    SWITCH = "SwitchAuthority"
    """A certificate of the next authority. The key of the former one is gone from here on."""
    RENEW = "RenewCertificate"
    DROP = "DropAuthority"
    """Authorities that have ended are no longer in `ca.crt`."""


@dataclass(frozen=True, slots=True)
class Span:
    begins: datetime
    ends: datetime

    def holds(self, now: datetime) -> bool:
        return self.begins <= now < self.ends


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is served, with a key that fits. `trusted`: an authority of the bundle signed it."""

    span: Span
    names: frozenset[str]
    trusted: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """`signing` and `next` are None where their key, or their certificate in the bundle, cannot be used."""

    signing: Span | None
    next: Span | None
    leaf: Leaf | None
    bundle: tuple[Span, ...]
    """Of every authority in `ca.crt`."""


def decide(facts: Facts, names: frozenset[str], now: datetime) -> Step:
    """One step; what it leaves is decided on again, until it is Keep. `names` have to be served."""
    signing = facts.signing if facts.signing and facts.signing.holds(now) else None
    following = facts.next if facts.next and facts.next.holds(now) else None
    usable = facts.leaf is not None and _is_usable(facts.leaf, names, now)
    if signing is not None:
        ends = signing.ends
    elif facts.leaf is not None and usable:
        ends = facts.leaf.span.ends
    else:
        return Step.BEGIN if following is None else Step.SWITCH
    left = ends - now
    if following is None:
        if left <= ANNOUNCE_BEFORE:
            return Step.ANNOUNCE
    elif left <= SWITCH_BEFORE and (now - following.begins >= LEAST_OVERLAP or left <= LAST_MOMENT):
        return Step.SWITCH
    if signing is not None and (facts.leaf is None or not usable or _is_due(facts.leaf, signing, now)):
        return Step.RENEW
    return Step.DROP if any(each.ends <= now for each in facts.bundle) else Step.KEEP


def _is_usable(leaf: Leaf, names: frozenset[str], now: datetime) -> bool:
    return leaf.trusted and names <= leaf.names and leaf.span.holds(now)


def _is_due(leaf: Leaf, signing: Span, now: datetime) -> bool:
    """No certificate outlives its authority, so that renewing one may gain nothing."""
    return leaf.span.ends - now <= RENEW_BEFORE and leaf.span.ends < signing.ends
