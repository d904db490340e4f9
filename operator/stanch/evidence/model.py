"""One collection of evidence as a hash chain. Pure.

Link 0 is the digest of the manifest's header, link n that of the n-th item, which names link n-1 as its
`previous`. The last link, the head, stands in the incident's status: whoever changes an item, the order, the
header or all of them would have to change the status too.

Digests are SHA-256 over canonical JSON (sorted keys, no white space, UTF-8), which is what RFC 8785 makes of
values that are strings, integers, booleans, lists and objects with ASCII names: there are no others here.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

MANIFEST = "manifest.json"
SUFFIXES = {"application/json": "json", "text/plain": "log", "application/yaml": "yaml"}

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[0-9]{3,6}-[a-z0-9]+\.(json|log|yaml)$")]


class _Model(BaseModel):
    """Unknown fields are refused: nothing may stand in a manifest that the chain does not cover."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def wire(self) -> Json:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Source(_Model):
    """What an item is a copy of. Of a list, `kind` is the list's, and there is neither uid nor version."""

    api_version: str
    kind: str
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    container: str | None = None
    instance: Literal["current", "previous"] | None = Field(
        default=None, description="of a container that was restarted: whose log"
    )

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        container = f" {self.container} ({self.instance})" if self.container else ""
        return f"{self.kind} {where}{container}".rstrip()


class Incomplete(_Model):
    """Something that should have been collected and was not, or not wholly."""

    what: str
    reason: str = Field(description="CamelCase, as in a condition: Forbidden, Timeout, TooLarge")
    message: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}: {self.message}"


class Draft(_Model):
    """An item as it was collected, before it has a place in the chain. `size` is in bytes."""

    name: Name
    kind: str
    media_type: str
    size: int = Field(ge=0)
    sha256: Digest
    collected_at: datetime
    source: Source
    truncated: bool = Field(default=False, description="there was more: this is the newest part")
    redactions: int = Field(default=0, ge=0, description="how many values were replaced")


class Item(Draft):
    """One custody record (ISO/IEC 27037): what, from where, when, by whom, and the link before it."""

    collector: str
    previous: Digest

    @property
    def number(self) -> int:
        return number_of(self.name)

    @property
    def link(self) -> str:
        return digest_of(self.wire())


class Incident(_Model):
    namespace: str
    name: str
    uid: str


class Header(_Model):
    version: Literal["stanch.dev/evidence/v1"] = "stanch.dev/evidence/v1"
    incident: Incident
    tool: str = Field(description="what collected: name and version")
    collector: str = Field(description="which process of it")
    started_at: datetime
    finished_at: datetime
    incomplete: tuple[Incomplete, ...] = ()
    skipped: tuple[int, ...] = Field(
        default=(), description="numbers that were given out to items which could not be stored"
    )

    @property
    def link(self) -> str:
        return digest_of(self.wire())


class Manifest(_Model):
    header: Header
    items: tuple[Item, ...]

    @property
    def head(self) -> str:
        return self.items[-1].link if self.items else self.header.link

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)

    def render(self) -> bytes:
        """The one way to write it: `parse` of anything else fails."""
        return render(self.wire())


def seal(header: Header, drafts: Iterable[Draft]) -> Manifest:
    """Chain the drafts in their order, each to the one before."""
    items: list[Item] = []
    link = header.link
    for draft in drafts:
        item = Item(**dict(draft), collector=header.collector, previous=link)
        items.append(item)
        link = item.link
    return Manifest(header=header, items=tuple(items))


def parse(body: bytes) -> Manifest:
    """Raises ValueError (of which pydantic's ValidationError is one) for anything but a rendered manifest."""
    manifest = Manifest.model_validate_json(body)
    if manifest.render() != body:
        raise ValueError("it is not written the way Stanch writes manifests: it was edited")
    return manifest


def number_of(name: str) -> int:
    return int(name.partition("-")[0])


def item_name(number: int, kind: str, media_type: str) -> str:
    """`007-pod.json`; `kind` is lower-case letters and digits."""
    return f"{number:03d}-{kind}.{SUFFIXES[media_type]}"


def digest_of_bytes(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def digest_of(value: Json) -> str:
    return digest_of_bytes(canonical(value))


def canonical(value: Json) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _utf8(text)


def render(value: Json) -> bytes:
    """JSON that people can read and that is always the same for the same value."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return _utf8(text) + b"\n"


def _utf8(text: str) -> bytes:
    """A lone surrogate, which JSON can hold and UTF-8 cannot, becomes the escape that it was in JSON."""
    return text.encode("utf-8", "backslashreplace")
