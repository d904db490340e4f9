"""Names that are made of others stay names, however long those are and wherever they are cut."""

from __future__ import annotations

import re

import pytest

from stanch.incidents.events import Note, event
from stanch.incidents.preflight import cut
from tests.unit.incidents.walk import NOW, incident

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAMES = ["a", "a" * 253, f"{'a' * 229}.{'b' * 23}", f"{'a' * 228}-.b", f"{'a' * 229}-{'b' * 23}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_and_an_event_have_valid_names(name: str) -> None:
    note = Note("Normal", "Contained", "contained")
    made = (f"{cut(name)}-stanch-trial", event(incident(name), note, "1", NOW)["metadata"]["name"])
    assert all(SUBDOMAIN.fullmatch(one) and len(one) <= 253 for one in made), made
