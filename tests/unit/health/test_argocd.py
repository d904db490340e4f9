"""What Argo CD shows of Stanch's objects: its own kind of script, on statuses that Stanch writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lupa import lua51

from stanch.api.v1alpha1.status import Phase
from stanch.kube.resources import (
    AIINCIDENTS,
    CLUSTERCONTAINMENTPOLICIES,
    CONTAINMENTHOLDS,
    CONTAINMENTPOLICIES,
)
from tests.unit.health import stored
from tests.unit.health.stored import Json, edited, new

FRAGMENT = Path(__file__).parents[3] / "manifests" / "argocd" / "health.yaml"
CONFIG_MAP: Json = yaml.safe_load(FRAGMENT.read_text())
LIBRARIES = ("coroutine", "debug", "io", "math", "os", "package", "string", "python")
"""Not there for a script of argocd-cm; util/lua/lua.go of Argo CD opens `table` and the basic functions."""

HEALTHY, PROGRESSING, SUSPENDED, DEGRADED = "Healthy", "Progressing", "Suspended", "Degraded"


def health(body: Json) -> tuple[str, str | None]:
    """Status and message, by the script for this kind."""
    lua = lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    for library in LIBRARIES:
        lua.globals()[library] = None
    lua.globals().obj = lua.table_from(body, recursive=True)
    said = lua.execute(CONFIG_MAP["data"][f"resource.customizations.health.stanch.dev_{body['kind']}"])
    return said.status, said.message


def test_it_adds_a_check_for_every_kind_to_what_argo_cd_has_already() -> None:
    assert CONFIG_MAP["metadata"] == {"name": "argocd-cm", "namespace": "argocd"}
    kinds = [
        one.kind for one in (AIINCIDENTS, CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES, CONTAINMENTHOLDS)
    ]
    assert list(CONFIG_MAP["data"]) == [f"resource.customizations.health.stanch.dev_{kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("story", "status", "words"),
    [
        ("dry run", HEALTHY, "dry run for Deployment llm: would change llm: replicas 3 → 0"),
        ("awaiting approval", SUSPENDED, "approve with: stanch approve -n chat toxic --plan "),
        ("containing", PROGRESSING, "containing Deployment llm: 0 of 1 steps effective"),
        ("contained", HEALTHY, "contained: llm replicas 3→0; held"),
        ("contained, hold not proven", PROGRESSING, "NOT held: the hold is written, but not yet seen"),
        ("contained, no admission policy", DEGRADED, "install the policies in manifests/admission"),
        ("contained, a write is refused", DEGRADED, "refused, tried again: it is forbidden"),
        ("partially contained", DEGRADED, "not effective: rag: "),
        ("containment failed", DEGRADED, "NOT contained: rag: "),
        ("releasing", PROGRESSING, "giving back Deployment llm"),
        ("released", HEALTHY, "given back: llm: replicas 0 → 3"),
        ("recovered", HEALTHY, ""),
        ("closed", HEALTHY, ""),
        ("rejected", DEGRADED, "rejected, nothing was changed: "),
        ("duplicate", HEALTHY, "duplicate, nothing was changed: AIIncident first was reported before"),
    ],
)
def test_an_incident_is_as_healthy_as_its_containment(story: str, status: str, words: str) -> None:
    found, message = health(stored.incidents()[story])
    assert (found, words in (message or "")) == (status, True), message


def test_no_phase_is_forgotten() -> None:
    assert {body["status"]["phase"] for body in stored.incidents().values()} == {str(one) for one in Phase}


@pytest.mark.parametrize(
    ("story", "status", "words"),
    [
        ("ready", HEALTHY, "selects 1 workload"),
        ("suspended", SUSPENDED, "takes on no new incident; selects 1 workload"),
        ("dry run", HEALTHY, "selects 1 workload"),
        ("impossible", DEGRADED, "spec.steps[0]: ScaleToZero cannot be done to a CronJob"),
        ("impossible and suspended", DEGRADED, "cannot be done to a CronJob"),
        ("cluster, ready", HEALTHY, "selects 1 workload"),
        ("cluster, impossible", DEGRADED, "cannot be done to a CronJob"),
    ],
)
def test_a_policy_is_healthy_when_its_plan_can_be_carried_out(story: str, status: str, words: str) -> None:
    found, message = health(stored.POLICIES[story])
    assert (found, words in (message or "")) == (status, True), message


def without_status(body: Json) -> Json:
    return {key: value for key, value in body.items() if key != "status"}


@pytest.mark.parametrize("change", [new, edited, without_status])
def test_what_nobody_has_looked_at_is_not_healthy_yet(change: Any) -> None:
    """Argo CD would go on to the next wave on the word of the generation before."""
    for body in (*stored.incidents().values(), *stored.POLICIES.values()):
        assert health(change(body)) == (PROGRESSING, "Stanch has not looked at this generation yet")


def test_a_status_that_says_nothing_is_not_healthy() -> None:
    for body in (stored.incidents()["contained"], stored.POLICIES["ready"]):
        assert health({**body, "status": {"observedGeneration": 1}}) == (PROGRESSING, None)


def test_a_hold_is_healthy_whatever_it_holds() -> None:
    hold = {
        "apiVersion": CONTAINMENTHOLDS.api_version,
        "kind": CONTAINMENTHOLDS.kind,
        "metadata": {"name": "stanch", "generation": 7},
    }
    assert health(hold) == (HEALTHY, None)


conditions = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Ready", "Stalled", "Held", "Reconciling", "Contained"]),
            "status": st.sampled_from(["True", "False", "Unknown"]),
            "reason": st.sampled_from(
                ["Suspended", "NotProven", "AdmissionPolicyMissing", "DeniedAtAdmission"]
            ),
        },
        optional={"message": st.text()},
    ),
    unique_by=lambda condition: condition["type"],
)


@given(
    kind=st.sampled_from([AIINCIDENTS.kind, CONTAINMENTPOLICIES.kind, CLUSTERCONTAINMENTPOLICIES.kind]),
    generation=st.integers(1, 3),
    status=st.fixed_dictionaries(
        {},
        optional={
            "observedGeneration": st.integers(1, 3),
            "phase": st.sampled_from([*Phase, "OneOfANewerRelease"]),
            "summary": st.text(),
            "conditions": conditions,
        },
    ),
)
def test_healthy_is_said_only_of_what_was_looked_at_and_is_known_to_be_well(
    kind: str, generation: int, status: Json
) -> None:
    body = {"kind": kind, "metadata": {"name": "x", "generation": generation}, "status": status}
    found, _ = health(body)
    assert found in {HEALTHY, PROGRESSING, SUSPENDED, DEGRADED}
    if found != HEALTHY:
        return
    said = {one["type"]: one for one in status.get("conditions", [])}
    assert status["observedGeneration"] == generation
    assert said.get("Stalled", {}).get("status") != "True"
    if kind == AIINCIDENTS.kind:
        assert status["phase"] in {"Detected", "Contained", "Released", "Recovered", "Closed", "Duplicate"}
    else:
        assert said["Ready"]["status"] == "True"
