"""The API server takes the library's policies as they are, and a family is applied with kubectl alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.triggers.library import FAMILIES, LIBRARY, policy_bodies

if TYPE_CHECKING:
    from tests.installation import Installed


@pytest.mark.parametrize("name", FAMILIES)
def test_the_server_takes_every_policy_of_a_family(
    stanch_installed: Installed, space: str, name: str
) -> None:
    for body in policy_bodies(name):
        if "namespace" in body["metadata"]:
            body["metadata"]["namespace"] = space
        said = stanch_installed.admin.run(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=body
        )
        assert said.returncode == 0, said.stderr
        assert said.stderr == ""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_built_by_kustomize(stanch_installed: Installed, name: str) -> None:
    built = list(yaml.safe_load_all(stanch_installed.admin("kustomize", str(LIBRARY / name))))
    kinds = [body["kind"] for body in built]
    assert kinds.count("PrometheusRule") == 1
    assert sorted(kinds) == sorted(["PrometheusRule", *(body["kind"] for body in policy_bodies(name))])
