"""Changing fields and giving them back: whatever the document, the way back ends where it began."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stanch.api.v1alpha1.status import FieldChange
from stanch.plans.changes import (
    all_in_place,
    back,
    field_change,
    forward,
    in_place,
    keys_of,
    lookup,
    overlay,
    pointer,
    same,
    stored_as,
)

Json = dict[str, Any]

KEYS = st.sampled_from(["a", "b", "c/d", "e~f", "", "~1", "é"])
SCALARS = st.one_of(st.integers(0, 5), st.booleans(), st.text(max_size=3))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
# The API server keeps no null and Go's omitempty no empty map: neither stands in a stored object.
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=4)


def apply(document: Json, ops: list[Json]) -> Json:
    """By an independent implementation of RFC 6902."""
    patched: Json = jsonpatch.apply_patch(copy.deepcopy(document), ops)
    return patched


def related(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def settable(document: Json, path: list[str]) -> bool:
    """A field can only be set in an object: not below a string, a number or a list."""
    return all(
        lookup(document, pointer(*path[:depth])) is None
        or isinstance(lookup(document, pointer(*path[:depth])), dict)
        for depth in range(1, len(path))
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[Json, tuple[FieldChange, ...]]:
    """A document and changes of fields apart from each other."""
    document = draw(DOCUMENTS)
    fields: list[FieldChange] = []
    for keys in draw(st.lists(PATHS, min_size=1, max_size=3)):
        if settable(document, keys):
            change = field_change(document, pointer(*keys), draw(VALUES))
            if not any(related(change.path, field.path) for field in fields):
                fields.append(change)
    assume(fields)
    return document, tuple(fields)


@given(st.lists(KEYS, min_size=1))
def test_a_pointer_says_its_keys(keys: list[str]) -> None:
    assert keys_of(pointer(*keys)) == keys


@given(plans())
def test_there_and_back_again(plan: tuple[Json, tuple[FieldChange, ...]]) -> None:
    document, fields = plan

    contained = apply(document, forward(fields, document))
    undo = back(fields, contained)

    assert all_in_place(fields, contained)
    assert undo.kept == ()
    assert apply(contained, undo.ops) == document


@given(plans())
def test_what_is_in_place_is_not_written_again(plan: tuple[Json, tuple[FieldChange, ...]]) -> None:
    document, fields = plan

    contained = apply(document, forward(fields, document))

    assert forward(fields, contained) == []
    assert apply(contained, same(fields, contained)) == contained


@given(plans())
def test_giving_back_twice_changes_nothing_more(plan: tuple[Json, tuple[FieldChange, ...]]) -> None:
    document, fields = plan
    contained = apply(document, forward(fields, document))
    given_back = apply(contained, back(fields, contained).ops)

    assert apply(given_back, back(fields, given_back).ops) == document


@given(plans())
def test_what_was_never_written_needs_no_way_back(plan: tuple[Json, tuple[FieldChange, ...]]) -> None:
    """A crash between the record and the write: giving back leaves the document as it is."""
    document, fields = plan

    assert apply(document, back(fields, document).ops) == document


@given(plans(), st.data())
def test_a_third_party_edit_survives(plan: tuple[Json, tuple[FieldChange, ...]], data: st.DataObject) -> None:
    """What we changed is given back, what they changed stays; where both changed it, it is named."""
    document, fields = plan
    contained = apply(document, forward(fields, document))
    keys = data.draw(PATHS)
    assume(settable(contained, keys))
    theirs = data.draw(VALUES)
    change = field_change(contained, pointer(*keys), theirs)
    # An edit of a whole map that holds our field, or of one that our field's parent was, is theirs in full.
    edited = apply(contained, forward((change,), contained))
    assume(edited != contained)

    undo = back(fields, edited)
    given_back = apply(edited, undo.ops)

    touched = [field for field in fields if related(field.path, change.path)]
    if not touched:
        assert undo.kept == ()
        assert in_place(change.after, lookup(given_back, change.path))
    for field in fields:
        if field not in touched:
            assert lookup(given_back, field.path) == field.before
    for field in touched:
        back_to = lookup(given_back, field.path)
        mine_only = back_to == field.before
        assert mine_only or undo.kept or in_place(change.after, lookup(given_back, change.path))


@given(plans(), SCALARS)
def test_a_contested_field_is_left_and_named(
    plan: tuple[Json, tuple[FieldChange, ...]], theirs: int | str
) -> None:
    document, fields = plan
    field = fields[0]
    assume(theirs not in (field.before, field.after))
    contained = apply(document, forward(fields, document))
    edited = apply(contained, [{"op": "replace", "path": field.path, "value": theirs}])

    undo = back(fields, edited)

    assert undo.kept == (field.path,)
    assert lookup(apply(edited, undo.ops), field.path) == theirs


@given(plans(), st.sampled_from(["Pods", "Max"]))
def test_server_defaults_around_our_field_go_with_it(
    plan: tuple[Json, tuple[FieldChange, ...]], default: str
) -> None:
    """The server fills in fields beside ours; what the dry run showed of them is given back too."""
    document, fields = plan
    field = fields[0]
    assume(isinstance(field.after, dict) and field.before is None)
    contained = apply(document, forward(fields, document))
    defaulted = apply(contained, [{"op": "add", "path": f"{field.path}/defaulted", "value": default}])

    undo = back(stored_as(fields, defaulted), defaulted)

    assert all_in_place(fields, defaulted)
    assert undo.kept == ()
    assert apply(defaulted, undo.ops) == document


def test_stored_is_recorded_only_where_it_differs() -> None:
    fields = (FieldChange(path="/a", after={"b": 1}), FieldChange(path="/n", before=3, after=0))

    first, second = stored_as(fields, {"a": {"b": 1, "policies": []}, "n": 0})

    assert first.stored == {"b": 1, "policies": []}
    assert second.stored is None


def test_an_hpa_behaviour_comes_and_goes_whole() -> None:
    """The server defaults everything beside selectPolicy; none of that is left behind."""
    hpa: Json = {"spec": {"maxReplicas": 3}}
    freeze = field_change(hpa, "/spec/behavior/scaleUp/selectPolicy", "Disabled")
    assert (freeze.path, freeze.before) == ("/spec/behavior", None)
    server = {
        "spec": {
            "maxReplicas": 3,
            "behavior": {
                "scaleUp": {"selectPolicy": "Disabled", "policies": [{"type": "Pods", "value": 4}]},
                "scaleDown": {"selectPolicy": "Max"},
            },
        }
    }

    undo = back(stored_as((freeze,), server), server)

    assert apply(server, undo.ops) == hpa


def test_somebody_elses_label_beside_ours_stays() -> None:
    bare: Json = {"metadata": {"name": "llm"}}
    mark = field_change(bare, "/metadata/labels/stanch.dev~1held", "true")
    marked = apply(bare, forward((mark,), bare))
    labelled = apply(marked, [{"op": "add", "path": "/metadata/labels/team", "value": "chat"}])

    undo = back((mark,), labelled)

    assert undo.kept == ("/metadata/labels/team",)
    assert apply(labelled, undo.ops) == {"metadata": {"name": "llm", "labels": {"team": "chat"}}}


def test_a_removed_parent_is_made_again() -> None:
    before: Json = {"spec": {"selector": {"gpu": "a100", "zone": "a"}}}
    fields = (field_change(before, "/spec/selector/gpu", "none"),)

    assert apply({"spec": {}}, forward(fields, {"spec": {}})) == {"spec": {"selector": {"gpu": "none"}}}


@pytest.mark.parametrize(
    ("wanted", "current", "there"),
    [
        (0, 0, True),
        (0, None, False),
        (0, 3, False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 2}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 1}}, True),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ([1], [1, 2], False),
    ],
)
def test_in_place_asks_only_for_what_is_wanted(wanted: object, current: object, *, there: bool) -> None:
    assert in_place(wanted, current) is there
    assert in_place(wanted, overlay(wanted, current))
