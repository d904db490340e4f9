"""Rollback: what it plans and condemns, what it takes for in place and for effective, whom it hurries."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import jsonpatch
import pytest
from hypothesis import given

from stanch.actions.objects import Obj
from stanch.actions.protocol import Ask, Refusal, Verdict
from stanch.actions.rollout import Versions
from stanch.api.v1alpha1.hold import Rule
from stanch.api.v1alpha1.status import StepState
from stanch.kube.resources import DEPLOYMENTS, Resource
from stanch.plans.changes import forward
from stanch.versions.revisions import Revision
from tests.unit.actions.cluster_objects import obj, owned_by
from tests.unit.actions.rolled_back import (
    ACTION,
    BAD,
    GOOD,
    HUB,
    TARGETS,
    asked,
    only_edit,
    pod,
    recorded,
    rolled_back,
    seen,
    version,
)
from tests.unit.versions.templates import server, template, templates

if TYPE_CHECKING:
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef

Json = dict[str, Any]


@pytest.mark.parametrize("kind", TARGETS)
def test_the_template_before_is_put_in_place_whole(kind: str) -> None:
    workload = seen(version(3, terminationGracePeriodSeconds=5), kind=kind)
    edit = only_edit(workload, asked(kind))

    assert workload.target is not None
    changed = jsonpatch.apply_patch(
        copy.deepcopy(workload.target.json), forward(edit.fields, workload.target.json)
    )
    assert changed["spec"]["template"] == version(2)
    assert edit.rule is Rule.KEPT
    assert edit.diff == (
        "to revision 2 (llm-h2): server image registry.example.test/llm:3 → registry.example.test/llm:2, "
        "server --revision r3 → r2"
    )


def test_the_count_that_another_step_takes_away_is_not_touched() -> None:
    contained = version(3, nodeSelector={"stanch.dev/contained": "true"})
    edit = only_edit(seen(contained, kind="DaemonSet"), asked("DaemonSet"))

    assert [field.path for field in edit.fields] == ["/spec/template/spec/containers"]


@pytest.mark.parametrize(
    ("observed", "what", "reason", "says"),
    [
        (Versions(None), asked(), "TargetNotFound", "no such object"),
        (Versions(None), asked("ReplicaSet"), "KindHasNoVersions", "name the Deployment"),
        (
            Versions(obj("Deployment", deletionTimestamp="2026-01-02T03:04:05Z")),
            asked(),
            "TargetTerminating",
            "deleted",
        ),
        (
            Versions(obj("Deployment", ownerReferences=owned_by(obj("ReplicaSet", "boss")))),
            asked(),
            "TargetOwned",
            "ReplicaSet boss controls it",
        ),
        (seen(version(3), paused=True), asked(), "Paused", "resume it"),
        (seen(version(3), revisionHistoryLimit=0), asked(), "HistoryDisabled", "revisionHistoryLimit is 0"),
        (seen(version(3)), asked(to={"revision": 3}), "AlreadyCurrent", "revision 3"),
        (
            seen(version(3)),
            asked(to={"revision": 1}, condemned=frozenset({"arg/--revision=r1"})),
            "Condemned",
            "carries what is condemned: arg/--revision=r1",
        ),
    ],
)
def test_what_cannot_be_rolled_back_is_refused_with_the_reason(
    observed: Versions, what: Ask, reason: str, says: str
) -> None:
    refusal = ACTION.plan(observed, what)

    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert says in refusal.message


def test_a_difference_larger_than_a_record_is_refused() -> None:
    wide = version(3, annotations={f"a{number}": "x" for number in range(100)})
    wide["metadata"]["annotations"].pop("a0")
    wide["metadata"]["labels"] |= {f"l{number}": "x" for number in range(100)}

    refusal = ACTION.plan(seen(wide), asked())

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "DifferenceTooLarge"


def test_what_another_incident_condemned_is_passed_over() -> None:
    edit = only_edit(seen(version(3)), asked(condemned=frozenset({f"image/{HUB}:2"})))

    assert edit.diff.startswith("to revision 1 ")


def test_the_bad_version_is_condemned_with_the_digests_that_run() -> None:
    observed = seen(version(3), pod("a", 3, BAD), pod("b", 2, GOOD))

    assert ACTION.condemns(observed, asked()) == (
        "arg/--revision=r3",
        "arg/r3",
        f"digest/{BAD}",
        f"image/{HUB}:3",
        "image/registry.example.test:443/llm:3",
    )


def test_a_digest_that_the_good_version_runs_too_is_not_condemned() -> None:
    observed = seen(version(3), pod("a", 3, GOOD), pod("b", 2, GOOD))

    assert not [key for key in ACTION.condemns(observed, asked()) if key.startswith("digest/")]


def test_what_is_recorded_is_not_chosen_anew() -> None:
    """Looked at again, the newest earlier version is the bad one."""
    observed, what = rolled_back(version(2))

    edit = only_edit(observed, what)

    assert what.record is not None
    assert edit.fields == what.record.changes[0].fields[1:]


def test_what_was_deployed_between_the_record_and_the_write_is_what_has_to_come_back() -> None:
    record = recorded(seen(version(3)), asked(), StepState.RECORDED)
    patched = version(3)
    patched["spec"]["containers"][0]["env"] = [{"name": "LOG", "value": "debug"}]

    edit = only_edit(seen(patched), asked(record=record))

    assert edit.fields[0].before == patched["spec"]["containers"]


def test_made_again_with_the_condemned_version_it_is_rolled_back_again() -> None:
    observed, what = rolled_back(version(3), uid="uid-second")
    assert only_edit(observed, what).fields[0].after == version(2)["spec"]["containers"]

    repaired, what = rolled_back(version(4), uid="uid-second")
    assert ACTION.plan(repaired, what) == ()


def test_a_second_incident_holds_what_the_first_one_did() -> None:
    record = recorded(seen(version(3)), asked())
    after = seen(version(2), labels={"stanch.dev/held": "true"})
    what = asked(changes=record.changes, condemned=frozenset(record.condemned))

    assert only_edit(after, what).fields == record.changes[0].fields[1:]
    assert ACTION.condemns(after, what) == record.condemned


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ({"revision": 1}, "RolledBackOtherwise"),
        ({"revision": 3}, "Condemned"),
        ({"revision": 9}, "RevisionNotFound"),
    ],
)
def test_a_second_incident_that_wants_another_version_is_refused(to: Json, reason: str) -> None:
    record = recorded(seen(version(3)), asked())
    after = seen(version(2), labels={"stanch.dev/held": "true"})

    refusal = ACTION.plan(after, asked(to=to, changes=record.changes, condemned=frozenset(record.condemned)))

    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_second_incident_that_wants_the_same_version_is_content() -> None:
    record = recorded(seen(version(3)), asked())
    after = seen(version(2), labels={"stanch.dev/held": "true"})

    assert only_edit(after, asked(to={"revision": 2}, changes=record.changes)).rule is Rule.KEPT


@pytest.mark.parametrize(
    ("now", "labels", "stands"),
    [
        pytest.param(version(2), {"stanch.dev/held": "true"}, True, id="as it was put"),
        pytest.param(version(2), {}, False, id="as it was put, but not marked"),
        pytest.param(version(3), {"stanch.dev/held": "true"}, False, id="the bad one"),
        pytest.param(version(4), {"stanch.dev/held": "true"}, True, id="a repaired one"),
        pytest.param(version(4), {}, True, id="a repaired one, not marked"),
        pytest.param(
            template(server(f"{HUB}:4", args=["--revision=r3"])),
            {"stanch.dev/held": "true"},
            False,
            id="another image of the bad model",
        ),
        pytest.param(
            template(server(f"{HUB}:2"), server(f"{HUB}:3", "twin")),
            {"stanch.dev/held": "true"},
            False,
            id="smuggled",
        ),
    ],
)
def test_only_the_condemned_version_is_put_right(now: Json, labels: dict[str, str], *, stands: bool) -> None:
    record = recorded(seen(version(3)), asked())
    observed = seen(now, labels=labels)

    assert observed.target is not None
    assert ACTION.stands(record.changes[0], observed.target, asked(record=record)) is stands


@given(templates(), templates())
def test_a_version_that_was_put_in_place_stands_and_the_one_before_does_not(bad: Json, good: Json) -> None:
    history = (Revision(1, "llm-h1", good), Revision(2, "llm-h2", bad))
    observed = replace(seen(bad), revisions=history)
    what = asked(to={"revision": 1})
    if isinstance(ACTION.plan(observed, what), Refusal):
        return
    record = recorded(observed, what)
    assert observed.target is not None
    change, document = record.changes[0], observed.target.json
    rolled = Obj(
        DEPLOYMENTS, jsonpatch.apply_patch(copy.deepcopy(document), forward(change.fields, document))
    )

    assert not ACTION.stands(change, observed.target, asked(record=record))
    assert ACTION.stands(change, rolled, asked(record=record))


def test_what_outlasts_the_release() -> None:
    record = recorded(seen(version(3)), asked())

    assert not ACTION.restores(asked(record=record))
    assert ACTION.restores(asked(record=record, member={"onRelease": "Restore"}))
    assert ACTION.keeps(asked(record=record)) == frozenset()
    assert ACTION.keeps(asked(record=record, member={"condemn": "Permanent"})) == {
        f"Condemned {key}" for key in record.condemned
    }


class Reader:
    """The two reads of the client, over a few objects."""

    def __init__(self, workload: Json | None, **lists: list[Json]) -> None:
        self.workload = workload
        self.lists = lists
        self.order: list[str] = []

    async def get(self, ref: ObjectRef) -> Json | None:
        self.order.append(ref.resource.plural)
        return self.workload

    async def list(self, resource: Resource, _namespace: str, **_selectors: str) -> list[Json]:
        self.order.append(resource.plural)
        return self.lists.get(resource.plural, [])


def owned(name: str, owner: Obj, **more: Any) -> Json:
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "ownerReferences": owned_by(owner),
    }
    return {"metadata": metadata | more.pop("metadata", {}), **more}


async def test_a_deployment_with_its_history_and_the_pods_of_its_replica_sets() -> None:
    workload = obj("Deployment", spec={"template": version(2)})
    numbered = {"annotations": {"deployment.kubernetes.io/revision": "2"}}
    mine = owned("llm-h2", workload, metadata={**numbered, "ownerReferences": owned_by(workload)})
    mine["spec"] = {"template": version(2)}
    foreign = owned("twin-h2", obj("Deployment", "twin"), spec={"template": version(1)})
    of_mine = Obj(DEPLOYMENTS, mine)
    pods = [owned("a", of_mine), owned("b", Obj(DEPLOYMENTS, foreign)), owned("c", workload)]
    reader = Reader(workload.json, replicasets=[mine, foreign], pods=pods)

    observed = await ACTION.observe(cast("Kube", reader), asked())

    assert reader.order == ["deployments", "replicasets", "pods"]
    assert [revision.name for revision in observed.revisions] == ["llm-h2"]
    assert [each.metadata.name for each in observed.pods] == ["a"]
    assert observed.bodies == (pods[0],)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_other_kinds_keep_their_history_in_controller_revisions(kind: str) -> None:
    workload = obj(kind, spec={"template": version(2)})
    revision = owned("llm-h2", workload, revision=2, data={"spec": {"template": version(2)}})
    reader = Reader(workload.json, controllerrevisions=[revision], pods=[owned("llm-0", workload)])

    observed = await ACTION.observe(cast("Kube", reader), asked(kind))

    assert [each.number for each in observed.revisions] == [2]
    assert [each.metadata.name for each in observed.pods] == ["llm-0"]


async def test_a_tag_that_came_to_name_the_condemned_image_is_not_in_place() -> None:
    """Version 4 is deployed as a repair; what its pods run is the digest that was condemned."""
    record = recorded(seen(version(3), pod("a", 3, BAD)), asked(), StepState.EFFECTIVE)
    workload = obj("Deployment", spec={"template": version(4)}, labels={"stanch.dev/held": "true"})
    mine = owned("llm-h4", workload)
    body = pod("a", 4, BAD)
    body["metadata"] |= {"resourceVersion": "7", "ownerReferences": owned_by(Obj(DEPLOYMENTS, mine))}
    reader = Reader(workload.json, replicasets=[mine], pods=[body])

    observed = await ACTION.observe(cast("Kube", reader), asked(record=record))

    assert observed.target is not None
    assert not ACTION.stands(record.changes[0], observed.target, asked(record=record))
    judgement = ACTION.judge(observed, asked(record=record))
    assert (judgement.verdict, judgement.reason) == (Verdict.INEFFECTIVE, "CondemnedByDigest")
    body["status"]["containerStatuses"][0]["imageID"] = f"{HUB}@{GOOD}"
    observed = await ACTION.observe(cast("Kube", reader), asked(record=record))
    assert observed.target is not None
    assert ACTION.stands(record.changes[0], observed.target, asked(record=record))


async def test_no_such_workload_is_looked_for_no_further() -> None:
    reader = Reader(None)

    assert await ACTION.observe(cast("Kube", reader), asked()) == Versions(None)
    assert await ACTION.observe(cast("Kube", reader), asked("ReplicaSet")) == Versions(None)
    assert reader.order == ["deployments"]
