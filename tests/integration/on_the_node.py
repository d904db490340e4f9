"""Stanch on the cluster with a real node: an operator of its own, and people with kubectl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.locks import exclusive
from tests.operator_process import Space, install, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox import Sandbox
    from tests.cluster import Kubectl
    from tests.operator_process import OperatorProcess
    from tests.real_node import RealSpace


@pytest.fixture(scope="module")
def real_operator(
    real_cluster: Sandbox,
    real_kubectl: Kubectl,
    run_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    with exclusive(run_directory / "real-install.lock"):
        install(real_kubectl)
    with running(real_cluster, tmp_path_factory.mktemp("operator") / "operator.log") as process:
        yield process


@pytest.fixture
def people(
    real_cluster: Sandbox, real_kubectl: Kubectl, real_space: RealSpace, real_operator: OperatorProcess
) -> Iterator[Space]:
    """What they do, in the namespace of `real_space`. The operator's last words are shown on failure."""
    space = Space(real_space.namespace, real_kubectl, real_cluster)
    yield space
    print(real_operator.tail())  # noqa: T201 - captured by pytest
    real_kubectl("-n", space.name, "delete", "aii", "--all", "--wait=false")
