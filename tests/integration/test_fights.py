"""Everybody who would undo a containment: people, GitOps, autoscalers. Denied, or put right; always told.

On a control plane of its own, which sends its audit events to the operator: some stories remove an admission
policy that protects the whole cluster, others kill the operator.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.cases import CASES
from tests.integration.audited import ground, operator, workspace
from tests.operator_process import ROOT, autoscaler, condition, eventually, shape, workload
from tests.standing import INCIDENT, PATIENCE, Case, Scene, here, placed, scenes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cluster import Said
    from tests.integration.audited import Ground
    from tests.operator_process import Json, OperatorProcess, Space
    from tests.standing import Undoing

__all__ = ["ground", "operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"


@pytest.fixture
def model_server(workspace: Space) -> Json:
    """Its manifest, as it stands in Git."""
    manifest = workload("Deployment", "llm-chat")
    workspace.create(manifest)
    workspace.running("Deployment", "llm-chat", 3)
    return manifest


def contested(workspace: Space, name: str, count: int) -> Json:
    """How the incident was contested, once it was so often."""

    seen: list[Json] = []

    def told() -> bool:
        seen.append(workspace.status(name).get("contested", {}))
        return int(seen[-1].get("count", 0)) >= count

    eventually(told, f"AIIncident {name} was contested {count} times")
    return seen[-1]


def test_the_command_in_the_denial_gives_the_workload_back(workspace: Space, model_server: Json) -> None:
    workspace.contain("toxic", LLM)
    denied = workspace.refused("scale", "deployment/llm-chat", "--replicas=3")
    command = denied.partition("to give it back: kubectl ")[2].strip()
    verb, kind, name, _, namespace, merge, _, patch = command.split(maxsplit=7)
    assert (verb, namespace) == ("patch", workspace.name)
    workspace(verb, kind, name, merge, "-p", patch.strip("'"))
    workspace.wait_phase("toxic", "Released")
    workspace.running("Deployment", "llm-chat", 3)


def test_the_autoscaler_at_work_does_not_wake_what_is_contained(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1))
    workspace.create(autoscaler("llm-chat", minReplicas=2))
    workspace.running("Deployment", "llm-chat", 2)  # the controller is at work
    before = shape(workspace.get("deployment", "llm-chat"))

    workspace.contain("toxic", LLM)
    path = '{.status.conditions[?(@.type=="ScalingActive")].reason}'
    workspace.wait("hpa/llm-chat", path, "ScalingDisabled")  # it has looked at the contained workload since
    assert workspace.get("deployment", "llm-chat")["spec"]["replicas"] == 0
    assert workspace.pods() == []
    assert "contested" not in workspace.status("toxic")

    workspace.release("toxic")
    assert shape(workspace.get("deployment", "llm-chat")) == before


def test_a_colleague_may_repair_the_image_meanwhile_and_keeps_the_repair(
    workspace: Space, model_server: Json
) -> None:
    workspace.contain("toxic", LLM)
    workspace("set", "image", "deployment/llm-chat", "server=registry.example.test/llm:2.4.1")
    workspace.release("toxic")
    after = workspace.get("deployment", "llm-chat")["spec"]
    assert after["replicas"] == 3
    assert after["template"]["spec"]["containers"][0]["image"] == "registry.example.test/llm:2.4.1"
    assert "contested" not in workspace.status("toxic")


def test_the_hold_stands_while_the_operator_is_dead_and_nothing_is_done_twice_when_it_is_back(
    workspace: Space, model_server: Json, operator: OperatorProcess
) -> None:
    before = shape(workspace.get("deployment", "llm-chat"))
    workspace.contain("toxic", LLM)

    def versions() -> list[str]:
        objects = workspace.get("deployments,holds,aii")["items"]
        return [each["metadata"]["resourceVersion"] for each in objects]

    contained = versions()
    operator.kill()
    try:
        assert "held by AIIncident toxic" in workspace.refused("scale", LLM, "--replicas=3")
        assert "held by AIIncident toxic" in workspace.refused("delete", LLM)
    finally:
        operator.start()
    operator.wait_ready()
    workspace.wait_held("toxic")
    assert versions()[:2] == contained[:2]
    assert len(workspace.status("toxic")["steps"][-1]["changes"]) == 1
    workspace.release("toxic")
    assert shape(workspace.get("deployment", "llm-chat")) == before


def test_an_incident_torn_out_by_force_takes_no_originals_with_it(
    workspace: Space, model_server: Json, operator: OperatorProcess
) -> None:
    before = shape(workspace.get("deployment", "llm-chat"))
    workspace.contain("a", LLM)
    workspace.contain("b", LLM)
    operator.kill()
    try:
        workspace("delete", "aii", "a", "--wait=false")
        workspace("patch", "aii", "a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    finally:
        operator.start()
    workspace.gone("aii/a")
    workspace.release("b")
    assert shape(workspace.get("deployment", "llm-chat")) == before
    assert workspace.get("holds")["items"] == []
    operator.wait_ready()


@pytest.fixture(scope="module")
def standing(ground: Ground) -> dict[str, Scene]:
    """Every case, contained, in namespaces of their own."""
    found = scenes(CASES, ground.sandbox, ground.kubectl)
    for scene in found.values():
        scene.contain()
    for scene in found.values():
        scene.contained()
    return found


@pytest.fixture(params=[case.id for case in CASES])
def scene(request: pytest.FixtureRequest, standing: dict[str, Scene]) -> Scene:
    return standing[request.param]


def attempt(scene: Scene, undoing: Undoing) -> Said:
    """As that person, who may do everything."""
    space, made = scene.space, scene.made
    manifest = None if undoing.manifest is None else json.dumps(placed(undoing.manifest, space, made))
    command = [here(word, space, made) for word in undoing.command]
    return space.kubectl("-n", space.name, *command, stdin=manifest, as_=space.user(undoing.who))


def told(scene: Scene, lines: list[str], since: int) -> None:
    """All these attempts are told, and counted once each, in the status and to whoever describes it."""
    expected = since + len(lines)
    eventually(lambda: scene.contests >= expected, f"{scene.case.id} was contested {expected} times")
    contested = scene.status["contested"]
    assert contested["count"] == expected, contested
    description = scene.space.describe(INCIDENT)
    assert [line for line in lines if line not in description] == [], description
    assert f"{expected} times; last: {contested['lastBy']} {contested['lastWhat']}" in description


def put_right(scene: Scene, undoings: Sequence[Undoing]) -> None:
    """They go through, and soon all is again as it was."""
    before, since = scene.shapes(), scene.contests
    lines = [here(undoing.righted, scene.space, scene.made) for undoing in undoings]  # while it is all there
    for undoing in undoings:
        said = attempt(scene, undoing)
        assert said.returncode == 0, f"{undoing} was denied: {said.stderr}"
    told(scene, lines, since)
    eventually(lambda: scene.stands(before), f"{scene.case.id} is put right", PATIENCE)


def test_whoever_would_undo_it_is_denied_and_named(scene: Scene) -> None:
    before, since = scene.shapes(), scene.contests
    undoings = [undoing for undoing in scene.case.undoings if undoing.denied]
    assert undoings
    for undoing in undoings:
        said = attempt(scene, undoing)
        assert said.returncode != 0, f"{undoing} went through: {said.stdout}"
        assert undoing.denied in said.stderr, undoing
        assert f"kubectl patch aii {INCIDENT} -n {scene.space.name} --type=merge" in said.stderr
    told(
        scene, [here(f"{one.who} was denied: {one.told}", scene.space, scene.made) for one in undoings], since
    )
    assert scene.shapes() == before
    assert condition(scene.contained(), "Contested")["status"] == "True"


UNKNOWN_TO_HOLDS = [case for case in CASES if any(not undoing.denied for undoing in case.undoings)]


@pytest.mark.parametrize("case", UNKNOWN_TO_HOLDS, ids=lambda case: case.id)
def test_what_no_hold_can_know_is_put_right_and_told(case: Case, standing: dict[str, Scene]) -> None:
    put_right(standing[case.id], [undoing for undoing in case.undoings if not undoing.denied])
    standing[case.id].contained()


@pytest.fixture(scope="class")
def broken_glass(ground: Ground) -> Iterator[None]:
    """An administrator removed the binding of the hold policy, and the operator has noticed."""
    ground.kubectl("delete", "validatingadmissionpolicybinding", "stanch-hold", check=True)
    try:
        eventually(lambda: ground.operator.metric("stanch_hold_proven") == 0, "the canary sees no denial")
        yield
    finally:
        ground.kubectl("apply", "-k", str(ROOT / "manifests" / "admission"), check=True)
        eventually(lambda: ground.operator.metric("stanch_hold_proven") == 1, "the hold denies again")


@pytest.mark.usefixtures("broken_glass")
class TestWithTheGlassBroken:
    """Nothing is denied: what slips through is seen, put right within seconds, and told."""

    def test_whoever_undoes_it_is_put_right_and_told(self, scene: Scene) -> None:
        put_right(scene, [each for each in scene.case.undoings if each.denied and each.righted])

    def test_after_all_the_fights_everything_is_given_back_as_it_was(self, scene: Scene) -> None:
        scene.in_phase("Contained")
        scene.space.let_go(INCIDENT)
        scene.given_back()

    @pytest.fixture
    def contained(self, workspace: Space, model_server: Json) -> Space:  # noqa: ARG002 - for its effect
        workspace.incident("toxic", LLM)
        workspace.wait_phase("toxic", "Contained")
        return workspace

    def test_the_incident_says_that_it_is_contained_but_not_held(self, contained: Space) -> None:
        status = contained.wait_held("toxic", "False")
        held = condition(status, "Held")
        assert held["reason"] == "AdmissionPolicyMissing"
        assert "install the policies in manifests/admission" in held["message"]
        assert "NOT held: " in status["summary"]
        assert contained("get", "aii", "toxic").splitlines()[1].split()[5] == "False"
        contained.wait_event("NotHeld")

    def test_a_scale_up_is_put_right_and_told(self, contained: Space) -> None:
        contained("scale", LLM, "--replicas=5")
        told = contested(contained, "toxic", 1)
        assert told["count"] == 1
        assert told["lastBy"] == "field manager kubectl"
        assert told["lastWhat"] == "changed Deployment llm-chat /spec/replicas to 5"
        contained.wait(LLM, "{.spec.replicas}", "0")
        contained.wait_phase("toxic", "Contained")
        assert contained.pods() == []
        assert contained.status("toxic")["contested"] == told, "one act is told once"
        assert "changed Deployment llm-chat /spec/replicas to 5" in contained.describe("toxic")

    def test_a_forced_apply_from_git_is_put_right_and_told(
        self, contained: Space, model_server: Json
    ) -> None:
        flags = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        contained("apply", *flags, "-f", "-", stdin=model_server)
        told = contested(contained, "toxic", 1)
        assert told["lastBy"] == "field manager argocd-controller"
        contained.wait(LLM, "{.spec.replicas}", "0")
        contained.wait_phase("toxic", "Contained")
        contained.release("toxic")
        assert contained.get(LLM)["spec"]["replicas"] == 3

    def test_one_deleted_and_made_again_is_contained_and_given_back_as_it_was_made(
        self, contained: Space, model_server: Json
    ) -> None:
        contained("replace", "--force", "-f", "-", stdin=model_server)
        told = contested(contained, "toxic", 1)
        assert "Deployment llm-chat" in told["lastWhat"]
        contained.wait(LLM, "{.spec.replicas}", "0")
        contained.wait_phase("toxic", "Contained")
        assert "and created it again" in contained.describe("toxic")
        contained.release("toxic")
        contained.running("Deployment", "llm-chat", 3)
        assert "stanch.dev/held" not in contained.get(LLM)["metadata"]["labels"]

    def test_one_made_again_from_a_copy_of_the_contained_one_gets_back_what_was_there_at_first(
        self, contained: Space
    ) -> None:
        copy = contained.get(LLM)
        for field in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"):
            copy["metadata"].pop(field, None)
        copy.pop("status")
        contained("replace", "--force", "-f", "-", stdin=copy)
        uid = contained.get(LLM)["metadata"]["uid"]
        contained.wait("aii/toxic", "{.status.steps[-1:].changes[0].object.uid}", uid)
        contained.release("toxic")
        assert contained.get(LLM)["spec"]["replicas"] == 3

    def test_pods_from_a_replicaset_scaled_behind_its_deployment_are_ended_and_told(
        self, workspace: Space
    ) -> None:
        """Its Deployment may put it right before a pod is born: then there is nothing to tell."""
        slow = {"sandbox.stanch.dev/terminate-after": "3s"}
        workspace.create(workload("Deployment", "llm-chat", 1, annotations=slow))
        workspace.running("Deployment", "llm-chat", 1)
        workspace.incident("toxic", LLM)
        workspace.wait_phase("toxic", "Contained")
        (inner,) = workspace.get("replicasets")["items"]

        def scaled_and_told() -> bool:
            workspace("scale", f"replicaset/{inner['metadata']['name']}", "--replicas=2")
            return "contested" in workspace.status("toxic")

        eventually(scaled_and_told, "the pods are told")
        told = workspace.status("toxic")["contested"]
        assert told["lastWhat"].startswith("undid it: ")
        assert told["lastBy"] in {"field manager kubectl", "an unknown field manager"}
        workspace.wait(f"replicaset/{inner['metadata']['name']}", "{.spec.replicas}", "0")
        eventually(lambda: workspace.pods() == [], "the pods are ended")
        workspace.wait_phase("toxic", "Contained")

    @pytest.mark.long
    def test_whoever_keeps_on_trying_is_answered_at_growing_intervals_and_stays_visible(
        self, contained: Space
    ) -> None:
        """A control loop that outbids Stanch again and again must not become a race of two programs."""
        for count in range(1, 6):
            began = time.monotonic()
            contained("scale", LLM, "--replicas=1")
            contested(contained, "toxic", count)
            contained.wait(LLM, "{.spec.replicas}", "0")
            took = time.monotonic() - began
            contained.wait_phase("toxic", "Contained")
        assert took > 3.5, "the fifth attempt within ten minutes is answered after four seconds"
        assert contained.status("toxic")["steps"][-1]["attempts"] == 5
        assert "5 times; last: field manager kubectl changed" in contained.describe("toxic")

    def test_a_contained_workload_that_is_deleted_is_told_and_needs_no_giving_back(
        self, contained: Space
    ) -> None:
        contained("delete", LLM)
        told = contested(contained, "toxic", 1)
        assert told["lastWhat"] == "deleted Deployment llm-chat"
        assert contained.status("toxic")["steps"][-1]["reason"] == "TargetGone"
        status = contained.release("toxic")
        assert status["summary"] == "given back: llm-chat: Deployment llm-chat no longer exists"
        assert contained.get("holds")["items"] == []

    def test_what_others_set_meanwhile_is_left_to_them_and_reported(
        self, contained: Space, operator: OperatorProcess
    ) -> None:
        operator.kill()
        try:
            contained("scale", LLM, "--replicas=5")
            contained.let_go("toxic")
        finally:
            operator.start()
        status = contained.wait_phase("toxic", "Released")
        assert contained.get(LLM)["spec"]["replicas"] == 5
        assert status["steps"][-1]["undo"]["kept"] == ["Deployment llm-chat /spec/replicas"]
        assert "left as others set it: Deployment llm-chat /spec/replicas" in status["summary"]
        assert "changed by others meanwhile" in condition(status, "Released")["message"]
