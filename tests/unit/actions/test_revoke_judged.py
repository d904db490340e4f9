"""RevokeServiceAccount: what it takes for effective, and what it tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from stanch.access.bindings import GroupGrant
from stanch.access.models import Binding
from stanch.access.questions import Questions
from stanch.actions.access_seen import AccessSeen
from stanch.actions.protocol import BEHIND, Judgement, Verdict
from tests.unit.access.cluster_objects import account_subject, binding_json
from tests.unit.actions.revoke_objects import (
    ACTION,
    DELETE,
    RIGHT,
    STRIP,
    bound,
    deleted,
    recorded,
    seen,
    service_account,
)

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask


def judge(look: AccessSeen, asked: Ask) -> Judgement:
    return ACTION.judge(look, asked)


@pytest.mark.parametrize("seconds", [0, 5, 9.9])
def test_a_deleted_account_is_not_yet_effective_while_its_tokens_are_remembered(seconds: float) -> None:
    asked = recorded(DELETE, deleted(), applied_at=DELETE.now - timedelta(seconds=seconds))
    judgement = judge(seen(), asked)

    assert (judgement.verdict, judgement.reason) == (Verdict.PENDING, "TokensRemembered")
    assert judgement.look_again == pytest.approx(10 - seconds)


def test_a_deleted_account_is_effective_once_no_api_server_remembers_a_token_of_it() -> None:
    asked = recorded(DELETE, deleted(), applied_at=DELETE.now - timedelta(seconds=10))

    assert judge(seen(), asked).verdict is Verdict.EFFECTIVE
    assert judge(seen(service_account()), asked).reason == "AccountExists"
    assert judge(seen(), recorded(DELETE, deleted())).verdict is Verdict.PENDING


ASKED = Questions((RIGHT,), 1, (), complete=True, roles_missing=())


@pytest.mark.parametrize(
    ("look", "verdict", "reason"),
    [
        (seen(bound("b", account_subject())), Verdict.PENDING, "StillBound"),
        (seen(bound("b"), asked=None), Verdict.PENDING, BEHIND),
        (seen(bound("b"), asked=ASKED, still=(RIGHT,)), Verdict.PENDING, "StillAllowed"),
        (seen(bound("b"), asked=ASKED), Verdict.EFFECTIVE, "RightsDenied"),
        (
            seen(bound("b"), asked=replace(ASKED, asked=(), remaining=(RIGHT,))),
            Verdict.INEFFECTIVE,
            "AllowedThroughGroups",
        ),
        (seen(asked=replace(ASKED, asked=(), granted=0)), Verdict.EFFECTIVE, "NothingGranted"),
        (seen(whole=False), Verdict.INCONCLUSIVE, "NamespaceOutOfScope"),
        (AccessSeen(None), Verdict.EFFECTIVE, "TargetGone"),
    ],
)
def test_rights_are_judged_by_what_the_api_server_answers(
    look: AccessSeen, verdict: Verdict, reason: str
) -> None:
    judgement = judge(look, STRIP)

    assert (judgement.verdict, judgement.reason) == (verdict, reason)


def group_grant(name: str, **labels: str) -> GroupGrant:
    body = binding_json(name, namespace="")
    body["metadata"]["labels"] = labels
    return GroupGrant(Binding.model_validate(body), ("system:authenticated",))


def test_what_is_left_is_told() -> None:
    own = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    groups = (group_grant("everybody"), group_grant("system:discovery", **own))
    look = replace(seen(asked=replace(ASKED, complete=False, granted=500), groups=groups), runs_as="llm-2")
    said = judge(look, STRIP).message

    assert "is denied 1 of 1 rights asked about; asked about 1 of up to 500 rights" in said
    assert "not revoked: ClusterRoleBinding everybody (group system:authenticated), 1 group bindings" in said
    assert "the workload now runs under ServiceAccount llm-2" in said


def test_what_the_account_may_still_do_is_named() -> None:
    assert "may still: get pods in chat" in judge(seen(asked=ASKED, still=(RIGHT,)), STRIP).message
