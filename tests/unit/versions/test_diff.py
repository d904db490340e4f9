"""What changes between two templates: applied, it gives the other one, and leaves what other steps wrote."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.plans.changes import all_in_place, back, forward
from stanch.versions.diff import Difference, clean, diff, field_changes, tidy
from tests.unit.versions.templates import server, template, templates

Json = dict[str, Any]
CONTAINED = {"stanch.dev/contained": "true"}

_SCALARS = st.one_of(st.text(max_size=3), st.integers(0, 3))
_VALUES = st.recursive(
    st.one_of(_SCALARS, st.none()),
    lambda inner: st.one_of(
        st.lists(inner.filter(lambda item: item is not None), max_size=2),
        st.dictionaries(st.sampled_from(["a", "b/c", "~d"]), inner, max_size=3),
    ),
    max_leaves=5,
)
_FREE = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": st.dictionaries(st.sampled_from(["app", "v"]), st.text(max_size=2))}
        ),
        "spec": st.builds(
            lambda fields, selector: {**fields, **({"nodeSelector": selector} if selector else {})},
            st.dictionaries(st.sampled_from(["a", "b"]), _VALUES, max_size=2),
            st.dictionaries(st.sampled_from(["gpu", "zone"]), st.text(max_size=2), max_size=2),
        ),
    },
)
ANY = st.one_of(templates(), _FREE)


def put(document: Json, differences: tuple[Difference, ...]) -> Json:
    result = copy.deepcopy(document)
    for each in differences:
        parent: Any = result
        for key in each.keys[:-1]:
            parent = parent.setdefault(key, {})
        if each.after is None:
            del parent[each.keys[-1]]
        else:
            parent[each.keys[-1]] = each.after
    return result


def stored(document: Json) -> Json:
    """As the API server keeps it: an empty node selector, or none of any labels, is an absent one."""
    for part, key in (("spec", "nodeSelector"), ("metadata", "labels")):
        inner = document.get(part, {})
        if inner.get(key) == {}:
            document = {**document, part: {name: item for name, item in inner.items() if name != key}}
    return document


@given(ANY, ANY)
def test_the_difference_put_in_place_gives_the_chosen_template(current: Json, chosen: Json) -> None:
    applied = put(stored(tidy(current)), diff(stored(current), stored(chosen)))

    assert stored(applied) == stored(tidy(chosen))


@given(ANY)
def test_equal_templates_do_not_differ(current: Json) -> None:
    assert diff(current, copy.deepcopy(current)) == ()
    assert diff(current, tidy(current)) == ()


@given(templates(), templates())
def test_as_field_changes_it_goes_there_and_back(current: Json, chosen: Json) -> None:
    workload = {"spec": {"replicas": 3, "template": tidy(current)}}
    fields = field_changes(diff(current, chosen), "spec", "template")

    rolled = jsonpatch.apply_patch(copy.deepcopy(workload), forward(fields, workload))

    assert rolled == {"spec": {"replicas": 3, "template": tidy(chosen)}}
    assert all_in_place(fields, rolled)
    undo = back(fields, rolled)
    assert undo.kept == ()
    assert jsonpatch.apply_patch(rolled, undo.ops) == workload


def test_maps_are_walked_and_lists_change_whole() -> None:
    current = template(server("llm:2"), annotations={"a": "1", "b": "2"}, nodeSelector={"gpu": "a100"})
    chosen = template(server("llm:1"), annotations={"a": "1", "c/d": "3"}, terminationGracePeriodSeconds=5)

    assert diff(current, chosen) == (
        Difference(("metadata", "annotations", "b"), "2", None),
        Difference(("metadata", "annotations", "c/d"), None, "3"),
        Difference(("spec", "containers"), [server("llm:2")], [server("llm:1")]),
        Difference(("spec", "nodeSelector", "gpu"), "a100", None),
        Difference(("spec", "terminationGracePeriodSeconds"), None, 5),
    )


@pytest.mark.parametrize(
    ("standing", "wanted", "expected"),
    [
        (CONTAINED, None, ()),
        (None, CONTAINED, ()),
        (CONTAINED, {"gpu": "a"}, (("gpu", None, "a"),)),
        ({"gpu": "a"} | CONTAINED, None, (("gpu", "a", None),)),
        ({"gpu": "a"}, {"gpu": "b"} | CONTAINED, (("gpu", "a", "b"),)),
    ],
)
def test_what_another_step_contains_it_with_is_left(
    standing: Json | None, wanted: Json | None, expected: tuple[tuple[str, str | None, str | None], ...]
) -> None:
    current, chosen = (template(**({"nodeSelector": each} if each else {})) for each in (standing, wanted))

    assert diff(current, chosen) == tuple(
        Difference(("spec", "nodeSelector", key), before, after) for key, before, after in expected
    )


def test_a_clean_template_has_nothing_that_controllers_or_stanch_put_into_it() -> None:
    generated = {"pod-template-hash": "5d", "controller-revision-hash": "7f", "stanch.dev/held": "true"}
    dirty = template(labels={"app": "llm"} | generated, nodeSelector=dict(CONTAINED))
    dirty["metadata"]["creationTimestamp"] = None

    assert clean(dirty) == template()
    assert dirty["metadata"]["labels"]["pod-template-hash"] == "5d"
