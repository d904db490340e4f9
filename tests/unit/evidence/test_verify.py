"""Whoever can write to the store, but not to the incident's status, cannot change evidence unnoticed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.evidence.model import MANIFEST, Manifest, digest_of_bytes, parse, seal
from stanch.evidence.verify import Fault, Finding, Verdict, verify
from tests.unit.evidence.collections_of_evidence import Stored, draft, header, stored

BODIES = st.lists(st.binary(max_size=40), min_size=2, max_size=8, unique=True)
places = st.integers(0, 1_000)


async def verdict_of(evidence: Stored) -> Verdict:
    return await verify(evidence, evidence.head, items=evidence.items)


async def first_of(evidence: Stored) -> Finding:
    verdict = await verdict_of(evidence)
    assert not verdict.intact
    assert verdict.first is not None
    return verdict.first


@given(bodies=st.lists(st.binary(max_size=40), max_size=8))
async def test_what_nobody_touched_is_unaltered(bodies: list[bytes]) -> None:
    evidence = stored(bodies)
    verdict = await verdict_of(evidence)
    assert verdict.intact
    assert verdict.manifest == evidence.manifest
    assert set(evidence.read) == set(evidence.objects)


@given(bodies=BODIES, place=places, lost=places)
async def test_items_that_could_not_be_stored_are_not_missing(
    bodies: list[bytes], place: int, lost: int
) -> None:
    lost %= len(bodies) + 1
    evidence = stored(bodies, skipped=(lost,))
    assert (await verdict_of(evidence)).intact
    name = evidence.manifest.items[place % len(bodies)].name
    evidence.objects[name] += b"!"
    assert (await first_of(evidence)).name == name


# One thing altered


@given(bodies=BODIES, place=places, added=st.binary(min_size=1, max_size=3))
async def test_an_altered_item_is_named(bodies: list[bytes], place: int, added: bytes) -> None:
    evidence = stored(bodies)
    name = evidence.manifest.items[place % len(bodies)].name
    evidence.objects[name] += added
    first = await first_of(evidence)
    assert (first.name, first.fault) == (name, Fault.ALTERED)
    assert f"collected were {len(bodies[place % len(bodies)])}" in first.message


@given(bodies=BODIES, place=places)
async def test_an_item_altered_to_the_same_length_is_named(bodies: list[bytes], place: int) -> None:
    evidence = stored([body + b"x" for body in bodies])
    name = evidence.manifest.items[place % len(bodies)].name
    evidence.objects[name] = evidence.objects[name][:-1] + b"y"
    first = await first_of(evidence)
    assert (first.name, first.fault) == (name, Fault.ALTERED)


@given(bodies=BODIES, place=places)
async def test_a_missing_item_is_named(bodies: list[bytes], place: int) -> None:
    evidence = stored(bodies)
    name = evidence.manifest.items[place % len(bodies)].name
    del evidence.objects[name]
    first = await first_of(evidence)
    assert (first.name, first.fault) == (name, Fault.MISSING)


@pytest.mark.parametrize("name", ["003-pod.json", "000-pod.json.bak", "sub/000-pod.json", "readme"])
async def test_something_extra_is_named(name: str) -> None:
    evidence = stored([b"a", b"b"])
    evidence.objects[name] = b"planted"
    first = await first_of(evidence)
    assert (first.name, first.fault) == (name, Fault.EXTRA)


@given(bodies=BODIES, one=places, other=places)
async def test_items_that_changed_places_are_named(bodies: list[bytes], one: int, other: int) -> None:
    evidence = stored(bodies)
    items = list(evidence.manifest.items)
    low, high = sorted((one % len(items), other % len(items)))
    if low == high:
        high = (low := 0) + 1
    items[low], items[high] = items[high], items[low]
    evidence.rewrite(evidence.manifest.model_copy(update={"items": tuple(items)}))
    first = await first_of(evidence)
    assert first.fault == Fault.REORDERED
    assert low <= first.number < high


@given(bodies=BODIES, place=places)
async def test_two_items_whose_contents_changed_places_are_named(bodies: list[bytes], place: int) -> None:
    evidence = stored(bodies)
    place %= len(bodies) - 1
    one, other = (item.name for item in evidence.manifest.items[place : place + 2])
    evidence.objects[one], evidence.objects[other] = evidence.objects[other], evidence.objects[one]
    verdict = await verdict_of(evidence)
    assert [finding.name for finding in verdict.findings] == [one, other]


@given(bodies=BODIES, place=places, alter_object=st.booleans())
async def test_an_altered_entry_of_the_manifest_is_named(
    bodies: list[bytes], place: int, *, alter_object: bool
) -> None:
    """Content and entry agree with one another, the chain does not agree with them."""
    evidence = stored([*bodies, b"the last one"])
    place %= len(bodies)
    item = evidence.manifest.items[place]
    if alter_object:
        evidence.objects[item.name] = forged = b"forged"
        changed = {"size": len(forged), "sha256": digest_of_bytes(forged)}
    else:
        changed = {"collected_at": item.collected_at + timedelta(hours=1)}
    items = [*evidence.manifest.items]
    items[place] = item.model_copy(update=changed)
    evidence.rewrite(evidence.manifest.model_copy(update={"items": tuple(items)}))
    first = await first_of(evidence)
    assert (first.name, first.fault) == (item.name, Fault.ALTERED)


@given(bodies=BODIES, place=places, delete_object=st.booleans())
async def test_an_item_taken_out_of_the_manifest_is_named(
    bodies: list[bytes], place: int, *, delete_object: bool
) -> None:
    """At the end, too, where no gap is left: the incident knows how many there were."""
    evidence = stored(bodies)
    place %= len(bodies)
    items = [*evidence.manifest.items]
    gone = items.pop(place)
    if delete_object:
        del evidence.objects[gone.name]
    evidence.rewrite(evidence.manifest.model_copy(update={"items": tuple(items)}))
    first = await first_of(evidence)
    assert first.number == place
    assert first.name.startswith(f"{place:03d}")
    assert first.fault == Fault.MISSING


@given(bodies=BODIES, place=places)
async def test_an_item_put_into_the_manifest_is_named(bodies: list[bytes], place: int) -> None:
    evidence = stored(bodies)
    place %= len(bodies)
    planted = draft(place, b"planted").model_copy(update={"name": f"{place:03d}-log.log"})
    entry = seal(header(), [planted]).items[0]
    items = [*evidence.manifest.items]
    items.insert(place + 1, entry)
    evidence.objects[entry.name] = b"planted"
    evidence.rewrite(evidence.manifest.model_copy(update={"items": tuple(items)}))
    first = await first_of(evidence)
    assert first.number == place
    assert first.fault == Fault.EXTRA


async def test_an_altered_header_is_named() -> None:
    evidence = stored([b"a", b"b"])
    forged = evidence.manifest.header.model_copy(update={"incomplete": ()})
    evidence.rewrite(evidence.manifest.model_copy(update={"header": forged}))
    first = await first_of(evidence)
    assert (first.name, first.fault) == (MANIFEST, Fault.ALTERED)
    assert "its header" in first.message


# All of it rewritten


@given(bodies=BODIES, place=places)
async def test_a_manifest_rewritten_from_end_to_end_is_detected(bodies: list[bytes], place: int) -> None:
    evidence = stored(bodies)
    forged = [*bodies]
    forged[place % len(forged)] += b"!"
    rewritten = stored(forged)
    evidence.objects = rewritten.objects
    first = await first_of(evidence)
    assert (first.name, first.fault) == (MANIFEST, Fault.ALTERED)
    assert "does not end in the recorded head" in first.message


@given(bodies=BODIES)
async def test_another_collection_in_its_place_is_detected(bodies: list[bytes]) -> None:
    evidence, other = stored(bodies), stored([*bodies, b"one more"])
    evidence.objects = other.objects
    assert not (await verdict_of(evidence)).intact


async def test_an_empty_collection_in_its_place_is_detected() -> None:
    evidence = stored([b"a"])
    evidence.objects = stored([]).objects
    assert (await first_of(evidence)).fault == Fault.MISSING


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: body + b" ",
        lambda body: json.dumps(json.loads(body)).encode(),
        lambda body: body.replace(b'"items"', b'"note": "nothing to see", "items"'),
        lambda body: body.replace(b'"size": 1', b'"size": true'),
        lambda body: body[:-20],
        lambda _body: b"",
        lambda _body: b"[]",
        lambda _body: b"\xff\xfe",
    ],
)
async def test_a_manifest_that_was_edited_or_is_none_is_named(edit: object) -> None:
    evidence = stored([b"a", b"b"])
    assert callable(edit)
    evidence.objects[MANIFEST] = edit(evidence.objects[MANIFEST])
    first = await first_of(evidence)
    assert (first.name, first.fault) == (MANIFEST, Fault.ALTERED)
    assert "\n" not in str(first)


async def test_without_a_manifest_nothing_is_vouched_for() -> None:
    evidence = stored([b"a"])
    del evidence.objects[MANIFEST]
    verdict = await verdict_of(evidence)
    assert verdict.manifest is None
    assert verdict.first is not None
    assert (verdict.first.name, verdict.first.fault) == (MANIFEST, Fault.MISSING)


# Several at once


@given(bodies=BODIES, touched=st.sets(places, min_size=1))
async def test_of_several_altered_items_the_first_is_named_and_all_are_found(
    bodies: list[bytes], touched: set[int]
) -> None:
    evidence = stored(bodies)
    wanted = sorted({evidence.manifest.items[place % len(bodies)].name for place in touched})
    for number, name in enumerate(wanted):
        if number % 2:
            del evidence.objects[name]
        else:
            evidence.objects[name] += b"!"
    verdict = await verdict_of(evidence)
    assert [finding.name for finding in verdict.findings] == wanted
    assert verdict.first == verdict.findings[0]


# The manifest itself


@given(bodies=BODIES)
def test_a_manifest_reads_back_as_it_was_written(bodies: list[bytes]) -> None:
    manifest = stored(bodies).manifest
    assert parse(manifest.render()) == manifest
    assert Manifest.model_validate(manifest.wire()).head == manifest.head


def test_each_link_covers_what_came_before() -> None:
    manifest = stored([b"a", b"b", b"c"]).manifest
    assert manifest.items[0].previous == manifest.header.link
    assert [item.previous for item in manifest.items[1:]] == [item.link for item in manifest.items[:-1]]
    assert manifest.head == manifest.items[-1].link
    assert seal(header(), []).head == header().link
