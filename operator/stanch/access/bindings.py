"""Which bindings give an account its rights, taking the account out of one, and putting it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stanch.access.models import Account, Binding, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stanch.access.models import Json


_DEFAULTS = "kubernetes.io/bootstrapping"


@dataclass(frozen=True, slots=True)
class GroupGrant:
    """A binding that gives rights to groups the account cannot be taken out of."""

    binding: Binding
    groups: tuple[str, ...]

    @property
    def built_in(self) -> bool:
        """One of the bindings that every API server creates and keeps.

        https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
        """
        metadata = self.binding.metadata
        return metadata.name.startswith("system:") and metadata.labels.get(_DEFAULTS) == "rbac-defaults"

    def __str__(self) -> str:
        return f"{self.binding} (group {', '.join(self.groups)})"


@dataclass(frozen=True, slots=True)
class Bindings:
    """`direct` name the account itself; a binding that also names a group of it stands in both."""

    direct: tuple[Binding, ...]
    through_groups: tuple[GroupGrant, ...]


def bindings_of(account: Account, bindings: Iterable[Binding]) -> Bindings:
    ordered = sorted(bindings, key=lambda binding: binding.key)
    direct = tuple(
        binding
        for binding in ordered
        if any(subject.names(account, binding.metadata.namespace) for subject in binding.subjects)
    )
    return Bindings(direct, tuple(grant for binding in ordered if (grant := _grant(binding, account))))


def _grant(binding: Binding, account: Account) -> GroupGrant | None:
    groups = dict.fromkeys(subject.name for subject in binding.subjects if subject.holds(account))
    return GroupGrant(binding, tuple(groups)) if groups else None


@dataclass(frozen=True, slots=True)
class Taken:
    """A subject as it was stored, and where in the list it stood."""

    place: int
    subject: Json


@dataclass(frozen=True, slots=True)
class Stripped:
    """A binding's subjects without the account. What is left is other people's, as it was stored."""

    left: tuple[Json, ...]
    taken: tuple[Taken, ...]

    @property
    def whole(self) -> bool:
        """The account was all it named: the binding as a whole goes."""
        return bool(self.taken) and not self.left


def stripped(binding: Json, account: Account) -> Stripped:
    """`binding` as stored; a binding that does not name the account is left whole with nothing taken."""
    namespace = Binding.model_validate(binding).metadata.namespace
    subjects: Sequence[Json] = binding.get("subjects") or ()
    taken = tuple(
        Taken(place, subject)
        for place, subject in enumerate(subjects)
        if Subject.model_validate(subject).names(account, namespace)
    )
    ours = {each.place for each in taken}
    return Stripped(tuple(each for place, each in enumerate(subjects) if place not in ours), taken)


def put_back(subjects: Sequence[Json], taken: Iterable[Taken]) -> list[Json]:
    """`subjects` as they are now with ours where they stood, as near as others' edits leave that place.

    One that is there again is not put back twice. The order of subjects means nothing to RBAC, but an
    untouched list comes back as it was.
    """
    restored = list(subjects)
    for each in sorted(taken, key=lambda one: one.place):
        if each.subject not in subjects:
            restored.insert(each.place, each.subject)
    return restored
