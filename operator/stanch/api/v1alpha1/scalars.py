"""Texts and comparisons that more than one type is made of, with the sentences that refuse others."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from stanch.api.schema import Matching
from stanch.api.v1alpha1.base import ApiModel

LabelValue = Annotated[
    str,
    Matching(
        r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        "a label value has letters, digits, '-', '_', '.' only, and begins and ends with a letter or digit",
        max_length=63,
    ),
]
Labels = dict[str, LabelValue]
Matcher = Annotated[
    str,
    Matching(
        r'^[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\]|\\.)*"$',
        'a matcher looks like alertname="ToxicOutput"; operators are =, !=, =~ and !~',
        max_length=1024,
    ),
]
Number = Annotated[
    str, Matching(r"^-?[0-9]+(\.[0-9]+)?$", 'a threshold is a number in quotes, such as "0.2"', max_length=32)
]
Percentage = Annotated[str, Matching(r"^(100|[1-9]?[0-9])%$", "a share is 0% to 100%", max_length=4)]
ShortName = Annotated[
    str,
    Matching(
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "a name has lower-case letters, digits and '-' only, and begins and ends with a letter or digit",
        max_length=63,
        min_length=1,
    ),
]
Query = Annotated[str, Field(min_length=1, max_length=4096)]


class Operator(StrEnum):
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    EQ = "eq"
    NE = "ne"


class Comparison(ApiModel):
    operator: Operator
    value: Number
