"""Who last set a field, as far as metadata.managedFields tells."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.actions.attribution import changed_by, written_by
from tests.unit.actions.cluster_objects import obj

REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


def managed(manager: str, fields: dict[str, Any], minute: int = 0) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": "Update",
        "time": f"2026-01-02T03:{minute:02}:00Z",
        "fieldsV1": fields,
    }


@pytest.mark.parametrize(
    ("entries", "who"),
    [
        ([managed("kubectl-edit", REPLICAS)], "field manager kubectl-edit"),
        ([managed("old", REPLICAS, 1), managed("argocd", REPLICAS, 2)], "field manager argocd"),
        ([managed("argocd", REPLICAS, 2), managed("old", REPLICAS, 1)], "field manager argocd"),
        ([managed("stanch", REPLICAS, 5), managed("helm", REPLICAS, 1)], "field manager helm"),
        ([managed("helm", {"f:metadata": {"f:labels": {}}})], "an unknown field manager"),
        ([managed("stanch", REPLICAS)], "an unknown field manager"),
        ([], "an unknown field manager"),
        ([managed("empty", {})], "an unknown field manager"),
    ],
)
def test_the_newest_owner_of_the_count(entries: list[dict[str, Any]], who: str) -> None:
    assert changed_by(obj("Deployment", managedFields=entries), "/spec/replicas") == who


def test_a_field_whose_key_holds_a_slash() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:stanch.dev/held": {}}}}
    labelled = obj("Deployment", managedFields=[managed("kubectl-label", fields)])

    assert changed_by(labelled, "/metadata/labels/stanch.dev~1held") == "field manager kubectl-label"


def test_who_owns_a_map_whole_owns_what_is_in_it() -> None:
    """nodeSelector is atomic: its owner's entry ends there."""
    fields: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"f:nodeSelector": {}}}}}
    workload = obj("DaemonSet", managedFields=[managed("helm", fields)])

    assert changed_by(workload, "/spec/template/spec/nodeSelector/gpu") == "field manager helm"


def test_a_manager_without_a_time_is_older_than_any() -> None:
    timeless = {"manager": "ancient", "operation": "Update", "fieldsV1": REPLICAS}
    workload = obj("Deployment", managedFields=[timeless, managed("kubectl", REPLICAS)])

    assert changed_by(workload, "/spec/replicas") == "field manager kubectl"


def test_the_author_of_an_object_is_whoever_wrote_its_spec_not_the_controller_of_its_status() -> None:
    written = [managed("kubectl", REPLICAS, 1), managed("controller", {"f:status": {}}, 2)]
    assert written_by(obj("Deployment", managedFields=written)) == "field manager kubectl"


def test_the_author_of_an_object_without_a_spec_is_whoever_wrote_it_last() -> None:
    account = obj("Deployment", managedFields=[managed("kubectl", {"f:metadata": {"f:labels": {}}})])
    account.json.pop("spec")
    assert written_by(account) == "field manager kubectl"
