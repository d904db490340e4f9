"""Which questions show that an account has lost what its bindings gave it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from stanch.access.rights import Grant, Right, allowed, grants_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from stanch.access.models import Binding, Role, RoleKey

CAP = 64
"""Questions asked at most: each is one small request to the API server, each time the step is judged."""
_EXAMINED = 512
"""Rights looked at at most: a hostile role spells out billions in one object."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What to ask. `granted` counts what the rules spell out, repetitions included."""

    asked: tuple[Right, ...]
    granted: int
    remaining: tuple[Right, ...]
    """Rights among them that groups give as well: no answer about these says anything about the bindings."""
    complete: bool
    roles_missing: tuple[RoleKey, ...]

    @property
    def note(self) -> str:
        """What the questions do not show, for people; empty when they show all."""
        parts = []
        if not self.complete:
            parts.append(f"asked about {len(self.asked)} of up to {self.granted} rights")
        if self.remaining:
            more = f" and {len(self.remaining) - 1} more" if len(self.remaining) > 1 else ""
            parts.append(f"kept through groups: {self.remaining[0]}{more}")
        if self.roles_missing:
            names = ", ".join(str(key) for key in self.roles_missing)
            parts.append(f"granted nothing, as the role does not exist: {names}")
        return "; ".join(parts)


def questions(
    direct: Sequence[Binding],
    through_groups: Sequence[Binding],
    roles: Mapping[RoleKey, Role],
    cap: int = CAP,
) -> Questions:
    """The rights that `direct` bindings give and no group does, each once.

    Above the cap each rule is asked about in turn, so that no binding goes without a question as long as
    there are fewer rules than questions. The order of the bindings does not matter.
    """
    ordered = sorted(direct, key=lambda binding: binding.key)
    grants = [grant for binding in ordered for grant in grants_of(binding, roles)]
    kept = [grant for binding in through_groups for grant in grants_of(binding, roles)]
    asked: dict[Right, None] = {}
    remaining: dict[Right, None] = {}
    examined = 0
    for grant, right in islice(_in_turn(grants), _EXAMINED):
        if len(asked) == cap and right not in asked:
            break
        examined += 1
        if grant.allows(right):
            (remaining if allowed(right, kept) else asked).setdefault(right)
    granted = sum(grant.size for grant in grants)
    missing = {binding.role for binding in ordered if binding.role not in roles}
    return Questions(
        tuple(asked), granted, tuple(sorted(remaining)), examined == granted, tuple(sorted(missing))
    )


def _in_turn(grants: Iterable[Grant]) -> Iterator[tuple[Grant, Right]]:
    """One right of each, then a second one of each, until all are through."""
    waiting = [(grant, grant.rights()) for grant in grants]
    while waiting:
        left = []
        for grant, rights in waiting:
            right = next(rights, None)
            if right is not None:
                yield grant, right
                left.append((grant, rights))
        waiting = left
