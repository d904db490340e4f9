"""What the rows of `actions` contain: those cases of the standing tests that have one step, and two more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cases import CASES, REVOKE, REVOKE_RIGHTS
from tests.operator_process import workload
from tests.standing import Case

if TYPE_CHECKING:
    from tests.operator_process import Space

SCALE = Case("scaleToZero", "Deployment/llm", (workload("Deployment", "llm"),), (), ())
"""As small as can be: what the script can do as well."""

ONE_POD = Case("scaleToZero-one-pod", "Deployment/llm", (workload("Deployment", "llm", 1),), (), ())

EVIDENCE = Case(
    "collectEvidence-Deployment", "Deployment/llm", REVOKE.manifests, (), ({"collectEvidence": {}},)
)
"""Needs a store, which would add evidence to all other plans as well."""


def _bound(space: Space) -> None:
    """To a role that gives no more than the operator has itself: so it may put the account back."""
    space("create", "role", "reader", "--verb=get,list", "--resource=deployments")
    space("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={space.name}:llm")


BINDINGS = Case(
    "revokeServiceAccount-DeleteBindings",
    "Deployment/llm",
    REVOKE.manifests,
    (),
    ({"revokeServiceAccount": {"method": "DeleteBindings"}},),
    _bound,
)

ONE_STEP = (case for case in CASES if len(case.steps) < 2)  # noqa: PLR2004 - not a plan of several
ACTIONS = (*(case for case in ONE_STEP if case is not REVOKE_RIGHTS), BINDINGS)
"""Without what is in no namespace, of which the floor's twin would have its own."""
