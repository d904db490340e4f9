"""Fixtures of all tests: `cluster`, `own_sandbox`, `kubectl`, `namespace`, … come from tests/cluster.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

pytest_plugins = [
    "tests.kind",
    "tests.cluster",
    "tests.installation",
    "tests.real_node",
    "tests.compatibility.plugin",
]  # in the order of their imports


def pytest_configure(config: pytest.Config) -> None:
    """No example fails for being slow on a busy machine. Examples are drawn anew where there is time to look
    for more; otherwise whoever changes nothing sees no other result.
    """
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("at length", patient)
    settings.register_profile("the same every time", patient, derandomize=True)
    at_length = config.option.markexpr == "long"
    settings.load_profile("at length" if at_length else "the same every time")
