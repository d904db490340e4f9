"""RevokeServiceAccount: what it plans, what it refuses, and what it takes for effective."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stanch.actions.access_seen import AccessSeen
from stanch.actions.protocol import Edit, Refusal, Remove
from stanch.actions.revoke_service_account import MOST_CHANGES, _recorded_account
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.status import Change
from stanch.api.v1alpha1.steps import Consent
from tests.unit.access.cluster_objects import account_subject, group_subject
from tests.unit.actions.revoke_objects import (
    ACTION,
    ARN,
    DELETE,
    STRIP,
    asking,
    bound,
    deleted,
    recorded,
    seen,
    service_account,
    taken,
)

if TYPE_CHECKING:
    from stanch.actions.protocol import Ask


def intents(look: AccessSeen, asked: Ask) -> tuple[Any, ...]:
    planned = ACTION.plan(look, asked)
    assert not isinstance(planned, Refusal), planned
    return planned


def refusal(look: AccessSeen, asked: Ask) -> Refusal:
    planned = ACTION.plan(look, asked)
    assert isinstance(planned, Refusal), planned
    return planned


def test_the_account_is_removed_and_can_be_made_again_from_the_record() -> None:
    look = seen(service_account(labels={"team": "chat"}))
    (intent,) = intents(look, DELETE)

    assert isinstance(intent, Remove)
    assert intent.rule is Rule.ABSENT
    assert intent.manifest["metadata"] == {"name": "llm", "namespace": "chat", "labels": {"team": "chat"}}
    assert intent.diff == "ServiceAccount llm deleted"


def test_what_deleting_the_account_does_not_reach_is_told_in_the_plan() -> None:
    owner = {"apiVersion": "v1", "kind": "LLMService", "name": "llm", "uid": "o", "controller": True}
    look = seen(
        service_account(annotations={ARN: "arn:aws:iam::1:role/llm"}, ownerReferences=[owner]),
        legacy=("llm-token",),
    )
    (intent,) = intents(look, asking(irreversible=Consent.ACCEPT))

    assert "token Secrets llm-token go with it for good" in intent.diff
    assert "LLMService/llm owns it and cannot make it again" in intent.diff
    assert "credentials that AWS issued already" in intent.diff


NO_LEGACY: dict[str, Any] = {"legacy": None}
LEGACY: dict[str, Any] = {"legacy": ("a", "b")}


@pytest.mark.parametrize(
    ("look", "asked", "reason"),
    [
        (AccessSeen(None), DELETE, "TargetNotFound"),
        (AccessSeen(None), STRIP, "TargetNotFound"),
        (seen(), DELETE, "AccountNotFound"),
        (seen(service_account(), whole=False), STRIP, "NamespaceOutOfScope"),
        (seen(service_account("default"), name="default"), DELETE, "DefaultAccount"),
        (seen(service_account(finalizers=["x.test/y"])), DELETE, "AccountFinalized"),
        (seen(service_account(deletionTimestamp="2030-01-01T00:00:00Z")), DELETE, "AccountTerminating"),
        (seen(service_account(), **NO_LEGACY), DELETE, "LegacyTokensUnknown"),
        (seen(service_account(), **LEGACY), DELETE, "LegacyTokens"),
        (seen(service_account(), users=("CronJob/nightly",)), DELETE, "AccountShared"),
        (seen(bound("b", account_subject()), users=("Pod/debug",)), STRIP, "AccountShared"),
        (
            seen(*(bound(f"b{number}", account_subject()) for number in range(MOST_CHANGES + 1))),
            STRIP,
            "TooManyBindings",
        ),
    ],
)
def test_what_it_refuses_and_why(look: AccessSeen, asked: Ask, reason: str) -> None:
    assert refusal(look, asked).reason == reason


@pytest.mark.parametrize(
    ("look", "asked"),
    [
        (seen(service_account(), **NO_LEGACY), asking(irreversible=Consent.ACCEPT)),
        (seen(service_account(), **LEGACY), asking(irreversible=Consent.ACCEPT)),
        (seen(service_account(), users=("CronJob/nightly",)), asking(shared=Consent.ACCEPT)),
    ],
)
def test_what_a_person_accepted_is_done(look: AccessSeen, asked: Ask) -> None:
    assert len(intents(look, asked)) == 1


def test_accepting_one_thing_is_not_accepting_another() -> None:
    look = seen(service_account(), users=("Pod/debug",), **LEGACY)

    assert refusal(look, asking(irreversible=Consent.ACCEPT)).reason == "AccountShared"
    assert refusal(look, asking(shared=Consent.ACCEPT)).reason == "LegacyTokens"


def test_others_are_named_a_few_and_how_many_more() -> None:
    users = tuple(f"Deployment/web-{number}" for number in range(10))

    said = refusal(seen(service_account(), users=users), DELETE).message
    assert "Deployment/web-0, Deployment/web-1, Deployment/web-2, Deployment/web-3 and 6 more" in said


def test_an_account_that_is_deleted_already_is_not_refused_for_it() -> None:
    """By this step before, or by another incident on the same workload: the first owns the original."""
    assert intents(seen(), recorded(DELETE, deleted())) == ()
    assert intents(seen(), replace(DELETE, changes=(deleted(),))) == ()


def test_an_account_that_another_incident_has_edited_is_not_deleted_as_it_is_now() -> None:
    """Made again as it is now it would lack what that incident took, and nobody could give it back."""
    look = seen(service_account(annotations={ARN: "arn:aws:iam::1:role/llm"}))
    (edit,) = intents(look, STRIP)
    theirs = Change(object=edit.obj.reference, rule=Rule.SEALED, fields=edit.fields)

    assert refusal(seen(service_account()), replace(DELETE, changes=(theirs,))).reason == "AccountEdited"


def test_a_workload_that_is_deleted_meanwhile_ends_nothing() -> None:
    look = replace(seen(service_account()), target=None)

    assert intents(look, recorded(DELETE, deleted())) == ()


def test_the_account_is_taken_out_of_every_binding_and_nobody_else_is() -> None:
    ops = group_subject("ops")
    look = seen(
        service_account(),
        bound("shared", ops, account_subject()),
        bound("alone", account_subject()),
        bound("everywhere", account_subject(), namespace=""),
    )
    shared, alone, everywhere = intents(look, STRIP)

    assert [field.after for field in shared.fields] == [[ops]]
    assert all(field.members for field in shared.fields), "what others add beside it is theirs"
    assert [field.after for field in alone.fields] == [None]
    assert all(isinstance(each, Edit) and each.rule is Rule.SEALED for each in (shared, alone, everywhere))
    assert shared.diff == "RoleBinding shared without ServiceAccount llm"
    assert "no hold reaches it" in everywhere.diff


def test_a_binding_of_another_namespace_is_told_with_it() -> None:
    (intent,) = intents(seen(bound("far", account_subject(), namespace="tools")), STRIP)

    assert intent.diff.startswith(
        "RoleBinding far in tools without ServiceAccount llm; put right when changed"
    )


def test_the_cloud_identity_is_taken_from_the_account_and_the_rest_is_left() -> None:
    look = seen(service_account(annotations={ARN: "arn:aws:iam::1:role/llm", "note": "keep"}))
    (intent,) = intents(look, STRIP)

    assert [(field.path, field.before, field.after) for field in intent.fields] == [
        ("/metadata/annotations/eks.amazonaws.com~1role-arn", "arn:aws:iam::1:role/llm", None)
    ]
    assert "live on until they expire" in intent.diff


def test_a_recorded_edit_is_asked_for_again_as_it_was_recorded() -> None:
    """So that a second incident finds the same change, and inherits what the first one knows."""
    stripped = bound("alone")
    change = taken(stripped, [account_subject()], None)
    (intent,) = intents(seen(service_account(), stripped), replace(STRIP, changes=(change,)))

    assert intent.fields == change.fields


def test_a_workload_that_moved_on_does_not_make_the_step_look_elsewhere() -> None:
    """The record says whose account it was, by the account's own change or by the subjects it lost."""
    after_delete = recorded(DELETE, deleted("llm"))
    ops = group_subject("ops")
    after_strip = recorded(STRIP, taken(bound("b"), [ops, account_subject()], [ops]))
    user = {"kind": "User", "name": "system:serviceaccount:chat:llm"}
    after_user = recorded(STRIP, taken(bound("b"), [user], None))

    for asked in (after_delete, after_strip, after_user):
        assert _recorded_account(asked) == "llm"
    assert _recorded_account(DELETE) == ""


def test_the_workload_itself_is_kept_while_something_of_its_account_is_revoked() -> None:
    look = seen(service_account())

    assert ACTION.hold(look, DELETE) == frozenset()
    assert ACTION.hold(look, recorded(DELETE, deleted())) == {"Kept apps/deployments/llm"}
