"""Whoever installs with kustomize and whoever installs with Helm gets the same objects."""

from __future__ import annotations

import difflib

import pytest
import yaml

from charts.generate import drifted
from tests.charts.chart import ROOT, Objects, by_name, comparable, kustomized, rendered


def assert_same(chart: Objects, manifests: Objects) -> None:
    ours, theirs = comparable(chart), comparable(manifests)
    assert sorted(ours) == sorted(theirs)
    differing = [
        "\n".join(
            difflib.unified_diff(
                yaml.safe_dump(theirs[name]).splitlines(),
                yaml.safe_dump(ours[name]).splitlines(),
                f"{name} of the manifests",
                f"{name} of the chart",
                lineterm="",
            )
        )
        for name in ours
        if ours[name] != theirs[name]
    ]
    assert not differing, "\n".join(differing)


@pytest.mark.parametrize(
    ("overlay", "values"),
    [
        ("default", []),
        ("receiver", ["receiver.enabled=true"]),
        ("receiver-self-signed", ["receiver.enabled=true", "receiver.tls.source=selfSigned"]),
        ("out-of-cluster", ["operator.replicas=0"]),
        ("namespaced", ["scope.namespaces={chat,search}"]),
    ],
)
def test_an_overlay_is_a_set_of_values(overlay: str, values: list[str]) -> None:
    assert_same(rendered(*values), kustomized(overlay))


def test_stamps_are_a_switch() -> None:
    assert_same(rendered("admission.stamps=true"), kustomized("default") | kustomized("stamps"))


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("verification-jobs", "rights.verificationJobs=true"),
        ("cluster-network-policies", "rights.clusterNetworkPolicies=true"),
        ("bind", "rights.bind={llm-reader}"),
    ],
)
def test_an_optional_right_is_a_switch(file: str, value: str) -> None:
    granted = by_name((ROOT / "manifests" / "rbac" / f"{file}.yaml").read_text())
    assert_same(rendered(value), kustomized("default") | granted)


def test_what_is_generated_is_up_to_date() -> None:
    assert drifted() == []
