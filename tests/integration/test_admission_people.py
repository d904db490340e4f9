"""Who may contain, release, approve and close; and who may touch what the hold stands on: nobody.

What is said to whom; every role and every act are in test_roles.py.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.installation import Installed, User, hold, stamping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Said

pytestmark = pytest.mark.compatibility("admission")

FINALIZER = "stanch.dev/release"
ROLES = ("reporter", "responder", "approver")


@dataclass(frozen=True)
class People:
    """One person of each role, in one namespace."""

    installed: Installed
    namespace: str
    by_role: dict[str, User]

    def run(self, role: str, *arguments: str, stdin: object = None) -> Said:
        return self.by_role[role].run(*arguments, "-n", self.namespace, stdin=stdin)

    def lacks(self, role: str, verb: str) -> str:
        return (
            f"{verb} on aiincidents.stanch.dev in namespace {self.namespace}, "
            f"which {role}@example.test lacks; ClusterRole "
        )


@pytest.fixture(scope="module")
def people(stanch_installed: Installed) -> Iterator[People]:
    namespace = f"people-{time.time_ns():x}"
    stanch_installed.admin("create", "namespace", namespace)
    by_role = {
        role: stanch_installed.user(f"{role}@example.test", role=f"stanch-{role}", namespace=namespace)
        for role in ROLES
    }
    yield People(stanch_installed, namespace, by_role | {"admin": stanch_installed.admin})
    stanch_installed.admin("delete", "namespace", namespace, "--wait=false")


def incident(name: str, *, finalizer: bool = False, **spec: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "title": "Toxic output",
        "category": "OutputPolicyViolation",
        "severity": "Critical",
        "targets": [{"kind": "Deployment", "name": "llm-chat"}],
    }
    return {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": name} | ({"finalizers": [FINALIZER]} if finalizer else {}),
        "spec": base | spec,
    }


BY_POLICY: dict[str, Any] = {"policyRef": {"name": "chat-guard"}}
OWN_STEPS: dict[str, Any] = {"steps": [{"scaleToZero": {}}]}
BY_ONES_OWN_PLAN: dict[str, dict[str, Any]] = {
    "the built-in plan": {},
    "a plan of one's own": OWN_STEPS,
    "a plan of one's own beside a policy": BY_POLICY | OWN_STEPS,
    "a drill that contains": {"exercise": True, "exerciseEnforce": True},
}


@pytest.mark.parametrize("spec", BY_ONES_OWN_PLAN.values(), ids=BY_ONES_OWN_PLAN.keys())
def test_who_may_not_contain_is_told_the_verb_and_the_ways_without_it(
    people: People, spec: dict[str, Any]
) -> None:
    answer = people.run("reporter", "create", "--dry-run=server", "-f", "-", stdin=incident("new", **spec))
    assert (
        "to contain without a policy you need the verb "
        + people.lacks("reporter", "contain")
        + "stanch-responder has it. Without it: name a policy in spec.policyRef, or set spec.mode: DryRun"
    ) in answer.stderr


def test_a_made_up_name_needs_the_verb_as_well(people: People) -> None:
    manifest = incident("x") | {"metadata": {"generateName": "toxic-"}}
    answer = people.run("reporter", "create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert "you need the verb " + people.lacks("reporter", "contain") in answer.stderr


@dataclass(frozen=True)
class Edit:
    """A change to an existing incident, and the verb it needs; None: no verb."""

    before: dict[str, Any]
    patch: dict[str, Any]
    verb: str | None


DRY = {"mode": "DryRun"}
EDITS = {
    "release": Edit({}, {"spec": {"desiredState": "Released"}}, "release"),
    "contain what was dry": Edit(DRY, {"spec": {"mode": "Enforce"}}, "contain"),
    "contain another workload": Edit(
        {}, {"spec": {"targets": [{"kind": "Deployment", "name": "other"}]}}, "contain"
    ),
    "a plan of one's own instead of the policy's": Edit(BY_POLICY, {"spec": OWN_STEPS}, "contain"),
    "leave it stopped on deletion": Edit({}, {"spec": {"deletionPolicy": "Retain"}}, "release"),
    "take the finalizer away": Edit({}, {"metadata": {"finalizers": None}}, "release"),
    "close": Edit(
        {}, {"spec": {"resolution": {"determination": "Confirmed", "rootCause": "a new prompt"}}}, "close"
    ),
    "a better title": Edit({}, {"spec": {"title": "Toxic output in German"}}, None),
    "another policy": Edit(BY_POLICY, {"spec": {"policyRef": {"name": "other"}}}, "create"),
    "carry out what a policy has only shown": Edit(BY_POLICY | DRY, {"spec": {"mode": "Enforce"}}, "create"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_approver_may_edit_nothing_that_acts(people: People, edit: Edit) -> None:
    with_finalizer = incident("standing", finalizer=True, **edit.before)
    people.installed.admin("create", "-n", people.namespace, "-f", "-", stdin=with_finalizer)
    try:
        command = "patch", "aii", "standing", "--type=merge", "-p", json.dumps(edit.patch), "--dry-run=server"
        by_approver = people.run("approver", *command)
        by_responder = people.run("responder", *command)
    finally:
        remove(people, "standing")
    assert (by_responder.returncode, by_responder.stderr) == (0, "")
    if edit.verb is None:
        assert (by_approver.returncode, by_approver.stderr) == (0, "")
    else:
        assert "the verb " + people.lacks("approver", edit.verb) in by_approver.stderr
        assert by_approver.returncode == 1


def remove(people: People, name: str) -> None:
    bare = json.dumps({"metadata": {"finalizers": None}})
    people.installed.admin("patch", "aii", name, "-n", people.namespace, "--type=merge", "-p", bare)
    people.installed.admin("delete", "aii", name, "-n", people.namespace)


@pytest.fixture
def standing(people: People) -> Iterator[str]:
    """An incident that holds a workload: it has the finalizer."""
    manifest = incident("held", finalizer=True)
    people.installed.admin("create", "-n", people.namespace, "-f", "-", stdin=manifest)
    yield "held"
    remove(people, "held")


def approving(by: str) -> tuple[str, ...]:
    approval = {"planHash": "5be10000", "by": by}
    return "patch", "aii", "held", "--type=merge", "-p", json.dumps({"spec": {"approval": approval}})


def test_an_approval_names_the_approver(people: People, standing: str) -> None:
    assert people.run("approver", *approving("approver@example.test"), "--dry-run=server").returncode == 0
    forged = people.run("approver", *approving("reporter@example.test"), "--dry-run=server")
    assert "spec.approval.by must name whoever approves, which is you: approver@example.test" in forged.stderr


def test_a_responder_does_not_approve_what_they_ask_for(people: People, standing: str) -> None:
    answer = people.run("responder", *approving("responder@example.test"), "--dry-run=server")
    assert "to approve a plan you need the verb " + people.lacks("responder", "approve") in answer.stderr
    approved = incident("new", approval={"planHash": "5be10000", "by": "responder@example.test"})
    created = people.run("responder", "create", "--dry-run=server", "-f", "-", stdin=approved)
    assert "to approve a plan you need the verb " + people.lacks("responder", "approve") in created.stderr


REQUESTED, RELEASED = "stanch.dev/requested-by", "stanch.dev/released-by"


def stamps(people: People, name: str) -> dict[str, str]:
    annotations = people.installed.admin.get("aii", name, "-n", people.namespace)["metadata"]["annotations"]
    return {key: value for key, value in annotations.items() if key in (REQUESTED, RELEASED)}


@pytest.fixture
def stamped(people: People) -> Iterator[None]:
    with stamping(people.installed.kubectl, people.namespace):
        yield


@pytest.mark.compatibility("stamps")
def test_the_api_server_says_who_asked_and_nobody_else_does(people: People, stamped: None) -> None:
    forged = incident("asked", **BY_POLICY)
    forged["metadata"]["annotations"] = {REQUESTED: "admin@example.test"}
    people.by_role["reporter"]("create", "-n", people.namespace, "-f", "-", stdin=forged)
    try:
        assert stamps(people, "asked") == {REQUESTED: "reporter@example.test"}
        people.by_role["responder"]("annotate", "aii", "asked", "-n", people.namespace, f"{REQUESTED}-")
        forged_release = people.run("responder", "annotate", "aii", "asked", f"{RELEASED}=somebody")
        assert f"annotation {RELEASED} changes only together with spec.desiredState" in forged_release.stderr
        bare = incident("asked", **BY_POLICY) | {"metadata": {"name": "asked"}}
        people.by_role["responder"]("replace", "-n", people.namespace, "-f", "-", stdin=bare)
        assert stamps(people, "asked") == {REQUESTED: "reporter@example.test"}
        released = json.dumps({"spec": {"desiredState": "Released"}})
        people.by_role["responder"](
            "patch", "aii", "asked", "-n", people.namespace, "--type=merge", "-p", released
        )
        assert stamps(people, "asked") == {
            REQUESTED: "reporter@example.test",
            RELEASED: "responder@example.test",
        }
    finally:
        remove(people, "asked")


@pytest.mark.compatibility("stamps")
def test_approving_needs_no_more_than_the_plans_hash(people: People, stamped: None, standing: str) -> None:
    approval = json.dumps({"spec": {"approval": {"planHash": "5be10000"}}})
    people.by_role["approver"](
        "patch", "aii", standing, "-n", people.namespace, "--type=merge", "-p", approval
    )
    found = people.installed.admin.get("aii", standing, "-n", people.namespace)
    assert found["spec"]["approval"] == {"planHash": "5be10000", "by": "approver@example.test"}


def test_nobody_changes_anothers_approval(people: People, standing: str) -> None:
    people.by_role["approver"](*approving("approver@example.test"), "-n", people.namespace)
    other = people.installed.user("second@example.test", role="stanch-approver", namespace=people.namespace)
    patch = json.dumps({"spec": {"approval": {"planHash": "abcd0000"}}})
    answer = other.run("patch", "aii", standing, "-n", people.namespace, "--type=merge", "-p", patch)
    assert "spec.approval.by must name whoever approves, which is you: second@example.test" in answer.stderr
    taken_back = json.dumps({"spec": {"approval": None}})
    other("patch", "aii", standing, "-n", people.namespace, "--type=merge", "-p", taken_back)


def test_where_the_api_server_does_not_stamp_people_write_their_own_names(
    people: People,
) -> None:
    forged = incident("asked", **BY_POLICY)
    forged["metadata"]["annotations"] = {REQUESTED: "admin@example.test"}
    answer = people.run("reporter", "create", "--dry-run=server", "-f", "-", stdin=forged)
    assert f"annotation {REQUESTED} says who created the incident and never changes" in answer.stderr
    forged["metadata"]["annotations"] = {REQUESTED: "reporter@example.test"}
    assert people.run("reporter", "create", "--dry-run=server", "-f", "-", stdin=forged).returncode == 0


def test_deleting_what_holds_a_workload_is_releasing_it(
    people: People, stanch_installed: Installed, standing: str
) -> None:
    janitor = stanch_installed.user("janitor@example.test")
    rules = "--verb=delete,list,get,deletecollection", "--resource=aiincidents.stanch.dev"
    stanch_installed.admin("create", "role", "janitor", *rules, "-n", people.namespace)
    bind = "--role=janitor", "--user=janitor@example.test"
    stanch_installed.admin("create", "rolebinding", "janitor", *bind, "-n", people.namespace)
    janitor.until_may("delete", "aiincidents", people.namespace)
    refusal = "deleting an incident that holds a workload releases it: you need the verb release"
    path = f"/apis/stanch.dev/v1alpha1/namespaces/{people.namespace}/aiincidents?dryRun=All"
    in_namespace = "-n", people.namespace, "--dry-run=server"
    assert refusal in janitor.run("delete", "aii", "held", *in_namespace).stderr
    assert refusal in janitor.run("delete", "aii", "--all", *in_namespace).stderr
    assert refusal in janitor.run("delete", "--raw", path).stderr
    assert people.run("responder", "delete", "aii", "held", "--dry-run=server").returncode == 0
    collector = "--as=system:serviceaccount:kube-system:generic-garbage-collector"
    assert stanch_installed.admin.run("delete", "aii", "held", collector, *in_namespace).returncode == 0
    people.installed.admin("create", "-n", people.namespace, "-f", "-", stdin=incident("done"))
    janitor("delete", "aii", "done", "-n", people.namespace)


ONLY_STANCH = "a ContainmentHold is written by Stanch alone; to give workloads of namespace "
LABEL = "label stanch.dev/holding says that Stanch holds workloads of namespace "


@pytest.fixture(scope="module")
def held(stanch_installed: Installed) -> Iterator[str]:
    namespace = f"guarded-{time.time_ns():x}"
    stanch_installed.admin("create", "namespace", namespace)
    hold(stanch_installed, namespace, "Stopped apps/deployments/llm-chat")
    yield namespace
    stanch_installed.admin("delete", "namespace", namespace, "--wait=false")


GUARDED: dict[str, tuple[tuple[str, ...], str]] = {
    "a hold emptied": (
        ("patch", "hold", "stanch", "--type=merge", "-p", '{"spec":{"held":null}}'),
        ONLY_STANCH,
    ),
    "a hold deleted": (("delete", "hold", "stanch"), ONLY_STANCH),
    "all holds deleted": (("delete", "holds", "--all"), ONLY_STANCH),
    "the label taken away": (("label", "namespace", "HELD", "stanch.dev/holding-"), LABEL),
    "the label changed": (("label", "namespace", "HELD", "stanch.dev/holding=no", "--overwrite"), LABEL),
    "the label through status": (
        (
            *("patch", "namespace", "HELD", "--subresource=status", "--type=merge"),
            *("-p", '{"metadata":{"labels":{"stanch.dev/holding":null}}}'),
        ),
        LABEL,
    ),
    "the label put on": (("label", "namespace", "default", "stanch.dev/holding=true"), LABEL),
}


@pytest.mark.parametrize(("command", "refusal"), GUARDED.values(), ids=GUARDED.keys())
def test_what_the_hold_stands_on_is_the_operators_alone(
    stanch_installed: Installed, held: str, command: tuple[str, ...], refusal: str
) -> None:
    scope = () if "namespace" in command else ("-n", held)
    there = [held if word == "HELD" else word for word in command]
    answer = stanch_installed.admin.run(*there, *scope, "--dry-run=server")
    assert answer.returncode == 1
    assert refusal in answer.stderr
    stanch_installed.operator("get", "hold", "stanch", "-n", held)


def test_nobody_makes_a_hold_or_a_held_namespace(stanch_installed: Installed, held: str) -> None:
    made = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentHold",
        "metadata": {"name": "stanch", "namespace": "default"},
        "spec": {},
    }
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "fresh", "labels": {"stanch.dev/holding": "true"}},
    }
    create = "create", "--dry-run=server", "-f", "-"
    by_hand = stanch_installed.admin.run(*create, stdin=made).stderr
    labelled = stanch_installed.admin.run(*create, stdin=namespace).stderr
    assert ONLY_STANCH + "default back, release what kubectl get aii -n default shows" in by_hand
    assert LABEL + "fresh; it goes when they are given back" in labelled


def test_other_changes_of_a_held_namespace_pass(stanch_installed: Installed, held: str) -> None:
    stanch_installed.admin("label", "namespace", held, "team=chat", "--dry-run=server")
    stanch_installed.admin("annotate", "namespace", held, "note=seen", "--dry-run=server")
    stanch_installed.admin("delete", "namespace", held, "--dry-run=server")
