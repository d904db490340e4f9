"""Label selectors as sets of label maps: conjunction, negation and inclusion, all exact.

A requirement restricts one key, a selector is a conjunction of requirements. So a selector is a *box*: per
key the values it may have, and whether it may be absent; keys that are not named may be anything.
Meanings: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from stanch.network.parsing import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Values:
    """What one label may be: `names`, or all but `names` when `negated`; and whether it may be absent."""

    names: frozenset[str]
    negated: bool
    absent: bool

    @property
    def empty(self) -> bool:
        return not (self.names or self.negated or self.absent)

    def __and__(self, other: Values) -> Values:
        absent = self.absent and other.absent
        match self.negated, other.negated:
            case True, True:
                return Values(self.names | other.names, negated=True, absent=absent)
            case True, False:
                return Values(other.names - self.names, negated=False, absent=absent)
            case False, True:
                return Values(self.names - other.names, negated=False, absent=absent)
            case _:
                return Values(self.names & other.names, negated=False, absent=absent)

    def __invert__(self) -> Values:
        return Values(self.names, negated=not self.negated, absent=not self.absent)

    def __contains__(self, value: str | None) -> bool:
        return self.absent if value is None else (value in self.names) != self.negated


ANYTHING = Values(frozenset(), negated=True, absent=True)
PRESENT = Values(frozenset(), negated=True, absent=False)


class Box(dict[str, Values]):
    """The label maps whose every named key has one of its values."""

    @property
    def empty(self) -> bool:
        return any(values.empty for values in self.values())

    def __and__(self, other: Mapping[str, Values]) -> Box:
        met = Box(self)
        for key, values in other.items():
            met[key] = met.get(key, ANYTHING) & values
        return met

    def minus(self, other: Box) -> Iterator[Box]:
        """Disjoint boxes that together are what is in this one and not in `other`."""
        inside = self
        for key, values in other.items():
            outside = inside & {key: ~values}
            if not outside.empty:
                yield outside
            inside = inside & {key: values}

    def within(self, covers: Sequence[Box]) -> bool:
        """Whether every label map in this box is in one of `covers`."""
        if self.empty:
            return True
        for number, cover in enumerate(covers):
            if not (self & cover).empty:
                return all(piece.within(covers[number + 1 :]) for piece in self.minus(cover))
        return False


class Requirement(Part):
    key: str = Field(min_length=1)
    operator: Operator
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if (self.operator in {Operator.IN, Operator.NOT_IN}) != bool(self.values):
            wanted = "at least one value" if not self.values else "no values"
            raise ValueError(f"operator {self.operator} on key {self.key!r} takes {wanted}")
        return self

    @property
    def allowed(self) -> Values:
        names = frozenset(self.values)
        return {
            Operator.IN: Values(names, negated=False, absent=False),
            # A pod without the label satisfies NotIn.
            Operator.NOT_IN: Values(names, negated=True, absent=True),
            Operator.EXISTS: PRESENT,
            Operator.DOES_NOT_EXIST: ~PRESENT,
        }[self.operator]

    @property
    def text(self) -> str:
        values = f"({', '.join(self.values)})"
        return {
            Operator.IN: f"{self.key} in {values}",
            Operator.NOT_IN: f"{self.key} not in {values}",
            Operator.EXISTS: f"{self.key} set",
            Operator.DOES_NOT_EXIST: f"{self.key} unset",
        }[self.operator]


class LabelSelector(Part):
    """metav1.LabelSelector. Empty, it matches everything; where absent means nothing, it is None."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def box(self) -> Box:
        box = Box()
        for key, value in self.match_labels.items():
            box &= {key: Values(frozenset({value}), negated=False, absent=False)}
        for requirement in self.match_expressions:
            box &= {requirement.key: requirement.allowed}
        return box

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) in values for key, values in self.box.items())

    @property
    def satisfiable(self) -> bool:
        return not self.box.empty

    def meets(self, other: LabelSelector) -> bool:
        """Whether some label map matches both."""
        return not (self.box & other.box).empty

    def within(self, other: LabelSelector) -> bool:
        """Whether all that matches this one matches `other`."""
        return self.box.within([other.box])

    def also(self, *requirements: Requirement) -> LabelSelector:
        """This selector AND these; what it says already stays as it is written."""
        return LabelSelector(
            match_labels=self.match_labels, match_expressions=(*self.match_expressions, *requirements)
        )

    def negation(self) -> tuple[Requirement, ...]:
        """Requirements of which at least one holds exactly where this selector does not match.

        NOT(a AND b) is NOT a OR NOT b, and the negation of one requirement is one requirement. None at
        all for the empty selector, which matches everywhere.
        """
        denied: list[Requirement] = []
        for key, values in sorted(self.box.items()):
            names = tuple(sorted(values.names))
            if values.negated:
                if not values.absent:
                    denied.append(Requirement(key=key, operator=Operator.DOES_NOT_EXIST))
                if names:
                    denied.append(Requirement(key=key, operator=Operator.IN, values=names))
            elif names:
                # No conjunction of requirements leaves both some values and absence.
                denied.append(Requirement(key=key, operator=Operator.NOT_IN, values=names))
            elif values.absent:
                denied.append(Requirement(key=key, operator=Operator.EXISTS))
        return tuple(denied)

    @property
    def text(self) -> str:
        """`app=llm, tier in (a, b)`; empty when it matches everything."""
        return ", ".join(
            [f"{key}={value}" for key, value in sorted(self.match_labels.items())]
            + [requirement.text for requirement in self.match_expressions]
        )
