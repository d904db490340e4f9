"""One value in a pod template that says which model it runs, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stanch.versions.roles import Role
    from stanch.versions.template import Place


class Where(StrEnum):
    """The kinds of places, in the order of preference: what the server is told comes first."""

    ARG = "arg"
    ENV = "env"
    IMAGE_VOLUME = "imageVolume"
    ANNOTATION = "annotation"


@dataclass(frozen=True, slots=True)
class Located:
    """One value that says which model runs.

    `place` leads to the string that holds `value`, from its character `start` on. `standing` is where the
    value takes effect: a variable that an argument refers to counts as an argument.
    """

    where: Where
    container: str | None
    key: str
    value: str
    role: Role
    place: Place
    start: int
    standing: Where
    via: str | None = None
    """The flag whose value this variable is."""
    mutable: bool = False
    in_script: bool = False

    def __str__(self) -> str:
        of = f" of container {self.container}" if self.container else ""
        return f"{self.where} {self.key}={self.value}{of}"
