"""Contain, then release: whatever it was, its owner finds it as it was, but for what others changed."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stanch.errors import Conflict
from stanch.holds.canary import HoldProof, Proof
from stanch.incidents.assembly import prepared
from stanch.kube.client import Kube
from stanch.kube.resources import CHANGEABLE, ObjectRef
from stanch.main import Services
from stanch.observability.metrics import Metrics
from stanch.queue import Key
from stanch.settings import Settings
from tests.cases import CASES
from tests.installation import stanch_installed
from tests.standing import INCIDENT, PATIENCE, Case, Scene, changes_of, placed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from stanch.incidents.reconcile import Reconciler
    from tests.installation import Installed

__all__ = ["stanch_installed"]  # a fixture

Json = dict[str, Any]
NAMES = st.dictionaries(st.sampled_from(["team", "tier", "x.dev/y"]), st.sampled_from(["a", "b"]), max_size=2)
WORKLOADS = ["DaemonSet", "Deployment", "StatefulSet"]


@dataclass(frozen=True)
class Edit:
    """What somebody else changes meanwhile, in an object of the case."""

    kind: str
    name: str
    path: str
    value: Any


@dataclass(frozen=True)
class Trip:
    case: Case
    edit: Edit | None


THEIRS = [("/metadata/labels/theirs", "yes"), ("/metadata/annotations/theirs", "yes")]
OF_A_WORKLOAD = [
    ("/spec/template/spec/containers/0/image", "registry.example.test/llm:2.6.0"),
    ("/spec/minReadySeconds", 7),
    ("/spec/revisionHistoryLimit", 3),
    ("/spec/template/spec/nodeSelector/theirs", "yes"),
]
OF_ITS_KIND: dict[str, list[tuple[str, Any]]] = {
    **dict.fromkeys(WORKLOADS, OF_A_WORKLOAD),
    "HorizontalPodAutoscaler": [("/spec/maxReplicas", 12)],
    "CronJob": [("/spec/schedule", "0 4 * * *"), ("/spec/successfulJobsHistoryLimit", 5)],
}


def editable(manifest: Json, case: Case) -> bool:
    deleted = manifest["kind"] == "ServiceAccount" and {"revokeServiceAccount": {}} in case.steps
    return (manifest["apiVersion"], manifest["kind"]) in CHANGEABLE and not deleted


@st.composite
def edits(draw: st.DrawFn, case: Case) -> Edit:
    manifest = draw(st.sampled_from([one for one in case.manifests if editable(one, case)]))
    pods_come_back = any(plural == "pods" for plural, _ in case.objects)  # and are not replaced
    possible = [
        (path, value)
        for path, value in [*THEIRS, *OF_ITS_KIND.get(manifest["kind"], [])]
        if not (pods_come_back and path.startswith("/spec/template"))
    ]
    path, value = draw(st.sampled_from(possible))
    return Edit(manifest["kind"], manifest["metadata"]["name"], path, value)


@st.composite
def dressed(draw: st.DrawFn, case: Case) -> Case:
    """With other labels and annotations, or none, and other ways to roll out."""
    manifests = copy.deepcopy(case.manifests)
    for manifest in manifests:
        names = {"labels": draw(NAMES), "annotations": draw(NAMES)}
        worn = {key: value for key, value in names.items() if value}
        manifest["metadata"] = {"name": manifest["metadata"]["name"], **worn}
        if manifest["kind"] == "Deployment":
            manifest["spec"] |= draw(
                st.sampled_from([{}, {"strategy": {"type": "Recreate"}}, {"revisionHistoryLimit": 5}])
            )
    return replace(case, manifests=manifests)


@st.composite
def any_workload(draw: st.DrawFn) -> Case:
    """As a person might write it: with or without labels, count, node selector, volume policy, …"""
    kind = draw(st.sampled_from(WORKLOADS))
    app = {"app": "llm"}
    container: Json = {"name": "server", "image": "registry.example.test/llm:1"}
    pod: Json = {"containers": [container], "terminationGracePeriodSeconds": draw(st.sampled_from([1, 30]))}
    selector = draw(NAMES)
    if selector:
        pod["nodeSelector"] = selector
    spec: Json = {"selector": {"matchLabels": app}, "template": {"metadata": {"labels": app}, "spec": pod}}
    if kind != "DaemonSet":
        replicas = draw(st.sampled_from([None, 0, 1, 2]))
        spec |= {} if replicas is None else {"replicas": replicas}
    if kind == "StatefulSet":
        spec["serviceName"] = "llm"
        retention = draw(st.sampled_from([None, "Delete", "Retain"]))
        if retention is not None:
            spec["persistentVolumeClaimRetentionPolicy"] = {"whenScaled": retention, "whenDeleted": "Retain"}
    manifest = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "llm"}, "spec": spec}
    steps = ({"scaleToZero": {"terminate": "Immediate"}},)
    drawn = Case(f"scaleToZero-{kind}", f"{kind}/llm", (manifest,), (), steps, awaited=False)
    return draw(dressed(drawn))


@st.composite
def trips(draw: st.DrawFn, case: Case | None = None, *, disturbed: bool = True) -> Trip:
    """Of this case, or of a workload of any kind that is scaled to zero."""
    there = draw(any_workload() if case is None else dressed(case))
    return Trip(there, draw(edits(there)) if disturbed else None)


UNDISTURBED = st.tuples(*(trips(case, disturbed=False) for case in CASES))
DISTURBED = st.tuples(*(trips(case) for case in CASES))
SOME_WORKLOADS = st.lists(st.one_of(trips(disturbed=False), trips()), min_size=5, max_size=5)


@dataclass
class Crew:
    """The engine as the operator's account, and a person who edits."""

    engine: Reconciler
    person: Kube
    installed: Installed

    async def make(self, trip: Trip) -> None:
        scene = await asyncio.to_thread(Scene.of, trip.case, self.installed.cluster, self.installed.kubectl)
        try:
            await asyncio.to_thread(scene.contain)
            await self.drive(scene, "Contained")
            status = await asyncio.to_thread(scene.contained)
            expected = scene.before
            if trip.edit is not None:
                edit = Edit(**placed(vars(trip.edit), scene.space))
                expected = await self.write(scene, edit)
            await asyncio.to_thread(scene.space.let_go, INCIDENT)
            await self.drive(scene, "Released")
            status = await asyncio.to_thread(replace(scene, before=expected).given_back)
            kept = [path for step in status["steps"] for path in step.get("undo", {}).get("kept", ())]
            assert kept == ([] if trip.edit is None else reported(edit, status)), kept
        finally:
            await asyncio.to_thread(leave, scene)

    async def drive(self, scene: Scene, phase: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        key = Key(scene.space.name, INCIDENT)
        while True:
            pause = await self.engine.reconcile(key)
            status = await asyncio.to_thread(lambda: scene.status)
            if status.get("phase") == phase:
                return
            assert asyncio.get_running_loop().time() < deadline, status
            await asyncio.sleep(min(pause or 0.1, 0.5))

    async def write(self, scene: Scene, edit: Edit) -> dict[str, Json]:
        """Edit as a person would; what has to come back then."""
        resource = next(one for one in scene.case.resources if one.kind == edit.kind)
        ref = ObjectRef(resource, scene.space.name if resource.namespaced else None, edit.name)
        while True:
            body = await self.person.get(ref)
            assert body is not None
            try:
                await self.person.replace(ref, edited(body, edit))
            except Conflict:
                continue  # its controller wrote its status meanwhile
            key = f"{edit.kind}/{edit.name}"
            return {**scene.before, key: edited(scene.before[key], edit)}


def edited(body: Json, edit: Edit) -> Json:
    changed = copy.deepcopy(body)
    *parents, last = edit.path.split("/")[1:]
    parent: Any = changed
    for key in parents:
        parent = parent[int(key)] if isinstance(parent, list) else parent.setdefault(key, {})
    parent[last] = edit.value
    return changed


def reported(edit: Edit, status: Json) -> list[str]:
    """What has to be told: an edit of something that was recorded, or beside it in a map that was made."""
    which = f"{edit.kind} {edit.name}"
    recorded = {
        field.path
        for _, change in changes_of(status)
        if f"{change.object.kind} {change.object.name}" == which
        for field in change.fields
        if not field.members
    }
    above = [path for path in recorded if f"{edit.path}/".startswith(f"{path}/")]
    in_a_list = "containers" in edit.path  # which is recorded as a whole
    return [f"{which} {path if in_a_list else edit.path}" for path in above]


def leave(scene: Scene) -> None:
    scene.case.clear(scene.space)
    scene.space("delete", "namespace", scene.space.name, "--wait=false")


@asynccontextmanager
async def crew(installed: Installed, evidence: Path) -> AsyncIterator[Crew]:
    account = installed.cluster.kubeconfig_for_service_account("stanch-system", "stanch")
    settings = Settings(kubeconfig=account, evidence_url=evidence.as_uri(), rejudge_seconds=1)
    operator = await Kube.connect(settings)
    person = await Kube.connect(Settings(kubeconfig=installed.cluster.admin_kubeconfig))
    engine = prepared(settings)(Services(settings, operator, Metrics(), lambda _: None, lambda _: None))
    engine.canary.proof = HoldProof(Proof.PROVEN, "by test_admission_hold")
    try:
        yield Crew(engine, person, installed)
    finally:
        await operator.close()
        await person.close()


def there_and_back(installed: Installed, evidence: Path, together: Sequence[Trip]) -> None:
    """All at once, each in a namespace of its own. Whichever fails is named."""

    async def made() -> list[BaseException | None]:
        async with crew(installed, evidence) as hands:
            return await asyncio.gather(*(hands.make(trip) for trip in together), return_exceptions=True)

    failed = []
    for trip, error in zip(together, asyncio.run(made()), strict=True):
        if error is not None:
            error.add_note(f"{trip.case.id}, {trip.edit}: {trip.case.manifests}")
            failed.append(error)
    if failed:
        raise BaseExceptionGroup(f"{len(failed)} of {len(together)} did not come back as they were", failed)


def few(examples: int) -> settings:
    """Not made smaller when it fails: each example takes seconds, and names what failed."""
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@few(1)
@given(together=UNDISTURBED)
def test_whatever_is_contained_comes_back_as_it_was(
    stanch_installed: Installed, evidence: Path, together: Sequence[Trip]
) -> None:
    there_and_back(stanch_installed, evidence, together)


@few(1)
@given(together=DISTURBED)
@pytest.mark.long
def test_what_others_changed_meanwhile_survives_and_is_reported(
    stanch_installed: Installed, evidence: Path, together: Sequence[Trip]
) -> None:
    there_and_back(stanch_installed, evidence, together)


@few(2)
@given(together=SOME_WORKLOADS)
@pytest.mark.long
def test_a_workload_of_any_kind_that_was_scaled_to_zero_comes_back_as_it_was(
    stanch_installed: Installed, evidence: Path, together: Sequence[Trip]
) -> None:
    there_and_back(stanch_installed, evidence, together)


@pytest.mark.long
@pytest.mark.timeout(3600)
@few(5)
@given(together=st.tuples(UNDISTURBED, DISTURBED, SOME_WORKLOADS))
def test_round_trips_at_length(
    stanch_installed: Installed, evidence: Path, together: tuple[Sequence[Trip], ...]
) -> None:
    for each in together:
        there_and_back(stanch_installed, evidence, each)
