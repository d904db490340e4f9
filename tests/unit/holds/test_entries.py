"""Who holds what, in every order of joining and giving back."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.api.v1alpha1.hold import HeldEntry
from stanch.holds.entries import (
    busy,
    condemned,
    drop,
    give_back,
    held_by,
    holders_of,
    join,
    objects,
    stands,
)

KEY = "Stopped apps/deployments/llm"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = ("drift", "leak", "toxic")
ORDERS = [(joining, leaving) for joining in permutations(NAMES) for leaving in permutations(NAMES)]


def entry(name: str) -> HeldEntry:
    return HeldEntry.of(name, "High, Drift", SINCE)


def held_by_all(names: tuple[str, ...]) -> dict[str, HeldEntry]:
    held: dict[str, HeldEntry] = {}
    for name in names:
        held = join(held, {KEY: entry(name)})
    return held


@pytest.mark.parametrize(("joining", "leaving"), ORDERS)
def test_only_the_last_one_gives_back(joining: tuple[str, ...], leaving: tuple[str, ...]) -> None:
    held = held_by_all(joining)
    assert held[KEY].incidents == joining
    *early, last = leaving

    for name in early:
        held = drop(give_back(held, name, ()), name)
        assert held[KEY].giving_back is None
        assert name not in held[KEY].incidents
        assert held[KEY].incident == held[KEY].incidents[0]
    held = give_back(held, last, ())

    assert held[KEY].giving_back == last
    assert drop(held, last) == {}


def test_the_denial_names_who_holds_now() -> None:
    held = give_back(held_by_all(("drift", "leak")), "drift", ())

    assert (held[KEY].incident, held[KEY].incidents) == ("leak", ("leak",))


def test_a_ghost_holds_nothing_back() -> None:
    """An incident that was removed by force, finalizer and all, does not keep a workload stopped for ever."""
    held = give_back(held_by_all(("ghost", "leak")), "leak", {"ghost"})

    assert held[KEY].giving_back == "leak"
    assert drop(held, "leak") == {}


def test_a_ghost_beside_a_living_one_leaves_with_the_next() -> None:
    held = give_back(held_by_all(("ghost", "leak", "toxic")), "leak", {"ghost"})

    assert held[KEY].incidents == ("toxic",)
    assert held[KEY].giving_back is None


def test_nobody_contains_what_is_being_restored() -> None:
    held = give_back(held_by_all(("leak",)), "leak", ())

    assert busy(held, {KEY: entry("toxic")}) == "leak"
    assert busy(held, {KEY: entry("leak")}) is None
    assert busy(held, {"Stopped apps/deployments/other": entry("toxic")}) is None


def test_giving_back_touches_no_other_workload() -> None:
    other = {"Stopped apps/deployments/other": entry("toxic")}

    held = give_back({**held_by_all(("leak",)), **other}, "leak", ())

    assert held["Stopped apps/deployments/other"] == other["Stopped apps/deployments/other"]
    assert drop(held, "leak") == other
    assert set(held_by(held, "toxic")) == {"Stopped apps/deployments/other"}


MAPS = st.dictionaries(
    st.sampled_from(["Stopped apps/deployments/a", "Kept apps/deployments/a", "Condemned image/llm:bad"]),
    st.builds(entry, st.sampled_from(NAMES)),
    max_size=3,
)


def test_what_outlasts_the_release_stays_as_it_is() -> None:
    held = {**held_by_all(("leak",)), "Condemned image/llm:bad": entry("leak")}

    after = drop(give_back(held, "leak", (), {"Condemned image/llm:bad"}), "leak")

    assert after == {"Condemned image/llm:bad": entry("leak")}


def test_every_way_in_which_an_object_is_held_is_found() -> None:
    held = {"Stopped apps/deployments/llm": entry("leak"), "Kept apps/deployments/llm": entry("toxic")}

    assert holders_of(held, "apps/deployments/llm") == held
    assert holders_of(held, "apps/deployments/l") == {}
    assert objects(held) == {"apps/deployments/llm"}


def test_what_is_condemned_is_known_by_itself() -> None:
    held = {"Condemned arg/--model=bad one": entry("leak"), "Kept apps/deployments/llm": entry("leak")}

    assert condemned(held) == {"arg/--model=bad one"}


@given(MAPS, MAPS)
def test_joining_is_done_once(held: dict[str, HeldEntry], wanted: dict[str, HeldEntry]) -> None:
    joined = join(held, wanted)

    assert stands(joined, wanted)
    assert join(joined, wanted) == joined
    assert set(joined) == set(held) | set(wanted)


@given(MAPS, MAPS, st.sampled_from(NAMES))
def test_giving_back_never_frees_what_another_holds(
    one: dict[str, HeldEntry], other: dict[str, HeldEntry], name: str
) -> None:
    held = join(one, other)

    after = drop(give_back(held, name, ()), name)

    for key, standing in held.items():
        others = [holder for holder in standing.incidents if holder != name]
        assert (key in after) == bool(others)
        if others:
            assert list(after[key].incidents) == others
            assert set(after[key].holders) == set(others)
