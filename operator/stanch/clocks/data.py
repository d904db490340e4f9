"""The clocks there are: versioned data, checked as a whole when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stanch.clocks import mistakes
from stanch.clocks.calendar import Within
from stanch.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# With its due time an id has to fit into the column Due, which is 63 characters wide.
ClockId = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=31)]


def _within(given: object) -> Within:
    if isinstance(given, Within):
        return given
    return Within.parse(str(given))


class _Model(BaseModel):
    """A key that is not known is a mistake here: a duty would be counted otherwise than was meant."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
    )


class RunsFrom(StrEnum):
    AWARENESS = "Awareness"
    CLASSIFICATION = "Classification"
    REPORT = "Report"


class Clock(_Model):
    """One reporting duty: from when it runs, how long it allows, and where that is written."""

    id: ClockId
    title: str = Field(min_length=1, max_length=253)
    source: str = Field(min_length=1, max_length=253, description="the article")
    runs_from: RunsFrom
    after: tuple[ClockId, ...] = Field(default=(), description="whose report a clock from Report runs from")
    within: Annotated[Within, BeforeValidator(_within)]
    group: str | None = Field(
        default=None, max_length=63, description="of these only the shortest that applies counts"
    )
    note: str | None = Field(default=None, max_length=300)

    @model_validator(mode="after")
    def _runs_from_something(self) -> Self:
        if (self.runs_from is RunsFrom.REPORT) != bool(self.after):
            raise ValueError(f"clock {self.id}: runsFrom: Report and after go together")
        return self


class ClockData(_Model):
    """One version of the clocks."""

    version: str = Field(min_length=1, max_length=32)
    clocks: tuple[Clock, ...] = Field(min_length=1, max_length=20)  # as many as status.clocks takes

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        seen: set[str] = set()
        for clock in self.clocks:
            if clock.id in seen:
                raise ValueError(f"clock {clock.id} is there twice")
            unknown = [id_ for id_ in clock.after if id_ not in seen]
            if unknown:
                raise ValueError(f"clock {clock.id} runs after {unknown[0]}, which does not stand before it")
            seen.add(clock.id)
        return self


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks there are, and which of them concern the organisation at all."""

    data: ClockData
    concerning: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, data: ClockData, wanted: Iterable[str]) -> Self:
        """`wanted` has ids, or what several begin with: `nis2`, `eu-ai-act`, `dora-19`.

        Raises Rejected for one that names no clock.
        """
        concerning: set[str] = set()
        for name in wanted:
            named = {clock.id for clock in data.clocks if f"{clock.id}-".startswith(f"{name}-")}
            if not named:
                raise Rejected(
                    "UnknownClock",
                    f"the setting clocks names {name!r}, which is no clock of version {data.version}; "
                    f"there are {', '.join(clock.id for clock in data.clocks)}",
                )
            concerning |= named
        return cls(data, frozenset(concerning))


def parse(text: str, where: str) -> ClockData:
    """Raises Rejected, saying on which lines what is wrong; `where` is the file that the text is from."""
    try:
        return ClockData.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise _refused(where, mistakes.syntax(error)) from error
    except ValidationError as error:
        raise _refused(where, mistakes.content(text, error)) from error


def _refused(where: str, what: str) -> Rejected:
    return Rejected(
        "ClocksUnreadable",
        f"the clocks of {where} are not understood, so no reporting duty can be counted; correct the file, "
        f"or unset clocks_file:\n{what}",
    )


def load(file: Path | None = None) -> ClockData:
    """The clocks of the file, or those that came with this version. Raises Rejected."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(str(file), str(error)) from error
        return parse(text, str(file))
    shipped = resources.files("stanch.clocks").joinpath("clocks.yaml")
    return parse(shipped.read_text(encoding="utf-8"), "this version of Stanch")
