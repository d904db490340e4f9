"""Manifests that nobody would write, and some do: no crash, no wrong claim, and all comes back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.operator_process import condition, eventually, fresh_space, install, running, workload
from tests.standing import bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Cluster, Kubectl
    from tests.operator_process import Json, OperatorProcess, Space

pytestmark = pytest.mark.long

CUT_OFF: Json = {"isolate": {"others": "Override"}}
GO_BACK: Json = {"rollback": {"to": {"lastKnownGood": True}, "onRelease": "Restore"}}
STOP: Json = {"scaleToZero": {}}
SERVER_SIDE = ("apply", "--server-side", "-f", "-")  # kubectl's annotation has no room for large manifests
LONGEST = 253


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster,
    kubectl: Kubectl,
    once: Callable[[str, Callable[[], None]], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """It has a place to store evidence, so that each of these manifests is collected as well."""
    once("operator-installed", lambda: install(kubectl))
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    kept = tmp_path_factory.mktemp("evidence")
    with running(cluster, log, {"STANCH_EVIDENCE_URL": f"file://{kept}"}) as process:
        yield process


@pytest.fixture
def chat(cluster: Cluster, kubectl: Kubectl, operator: OperatorProcess) -> Iterator[Space]:
    with fresh_space(cluster, kubectl, operator) as space:
        yield space
        assert operator.running
        assert "Traceback" not in operator.log.read_text()


def there_and_back(space: Space, kind: str, name: str, *steps: Json, incident: str = "odd") -> None:
    """Contained and given back byte by byte."""
    before = bytes_of(space.get(kind, name))
    status = space.contain(incident, f"{kind}/{name}", steps=list(steps))
    assert {one["state"] for one in status["steps"]} == {"Effective"}, status["steps"]
    assert space.pods() == [] or STOP not in steps
    space.release(incident)
    assert bytes_of(space.get(kind, name)) == before


def step(status: Json, action: str) -> Json:
    return next(one for one in status["steps"] if one["action"] == action)


def containers(version: str, count: int, *, other_values: bool) -> list[Json]:
    """A thousand variables between them."""
    value = version * 40 if other_values else "x" * 40
    return [
        {
            "name": f"c{number}",
            "image": f"registry.example.test/llm:{version}",
            "env": [{"name": f"SETTING_{number}_{index}", "value": value} for index in range(1000 // count)],
        }
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "other_values"), [(50, False), (1, True)], ids=["fifty containers", "every variable differs"]
)
def test_a_thousand_variables_go_back_to_the_version_before(
    chat: Space,
    count: int,
    other_values: bool,  # noqa: FBT001 - a parametrised test
) -> None:
    for version in "12":
        pod = {"containers": containers(version, count, other_values=other_values)}
        rolled_out(chat, workload("Deployment", "llm", 1, pod=pod))
    there_and_back(chat, "Deployment", "llm", CUT_OFF, GO_BACK)


def rolled_out(space: Space, server: Json) -> None:
    space(*SERVER_SIDE, stdin=server)
    space("rollout", "status", "deployment/llm", "--timeout=60s")


def pushed(chat: Space, *arguments: list[str]) -> None:
    """One version after the other."""
    for version, told in enumerate(arguments, 1):
        container = {"name": "server", "image": f"registry.example.test/llm:{version}", "args": told}
        rolled_out(chat, workload("Deployment", "llm", 1, pod={"containers": [container]}))


def test_one_argument_longer_than_what_can_be_condemned_does_not_keep_a_version_from_going(
    chat: Space,
) -> None:
    pushed(chat, ["a" * 5000], ["b" * 5000])
    there_and_back(chat, "Deployment", "llm", GO_BACK)


@pytest.mark.parametrize("size", [200, 200_000], ids=["many arguments", "one argument"])
def test_a_plan_whose_record_would_not_fit_is_rejected_with_the_number(chat: Space, size: int) -> None:
    pushed(
        chat,
        *(
            [f"{letter}{number:05}" + letter * (size - 6) for number in range(200_000 // size)]
            for letter in "ab"
        ),
    )
    said = rejected(chat, "PlanTooLarge")
    assert re.search(r"take (39\d|4\d\d) KiB", said), said
    assert "more than the 512 KiB that a status may have" in said


def test_a_version_that_differs_in_more_fields_than_can_be_recorded_is_refused_with_the_number(
    chat: Space,
) -> None:
    for version in "12":
        notes = {f"example.test/note-{number}": version for number in range(100)}
        pod = {"containers": containers(version, 1, other_values=False)}
        rolled_out(chat, workload("Deployment", "llm", 1, pod=pod, annotations=notes))
    said = rejected(chat, "DifferenceTooLarge")
    assert "differs in 101 fields, and 60 can be recorded; name an image or a model version" in said


def rejected(space: Space, reason: str) -> str:
    """Why the rollback of `llm` is; nothing has changed."""
    before = bytes_of(space.get("deployment", "llm"))
    space.incident("odd", "Deployment/llm", steps=[GO_BACK])
    accepted = condition(space.wait_phase("odd", "Rejected"), "Accepted")
    assert accepted["reason"] == reason
    assert bytes_of(space.get("deployment", "llm")) == before
    assert space.get("holds")["items"] == []
    assert "finalizers" not in space.get("aii", "odd")["metadata"]
    said: str = accepted["message"]
    return said


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_as_little_as_a_manifest_may_say(chat: Space, kind: str) -> None:
    """No labels, no count, no strategy; beside it objects that say as little."""
    container = {"name": "c", "image": "x"}
    template = {"metadata": {"labels": {"a": ""}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"a": ""}}, "template": template}
    chat.create({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "nobody-wrote-it"}
    aim = {"apiVersion": "apps/v1", "kind": kind, "name": "x"}
    for api, other, rest in (
        ("rbac.authorization.k8s.io/v1", "Role", {}),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", {"roleRef": role_ref}),
        ("networking.k8s.io/v1", "NetworkPolicy", {"spec": {"podSelector": {}}}),
        ("policy/v1", "PodDisruptionBudget", {"spec": {}}),
        ("v1", "Service", {"spec": {"type": "ExternalName", "externalName": "elsewhere.example.test"}}),
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"spec": {"maxReplicas": 1, "scaleTargetRef": aim}}),
    ):
        if other != "HorizontalPodAutoscaler" or kind != "DaemonSet":
            chat.create({"apiVersion": api, "kind": other, "metadata": {"name": "x"}, **rest})
    chat.running(kind, "x", 2 if kind == "DaemonSet" else 1)
    there_and_back(chat, kind, "x", CUT_OFF, STOP)


SELECTORS: list[list[Json]] = [
    [{"key": "tier", "operator": "In", "values": ["", "gpu"]}],
    [{"key": "tier", "operator": "NotIn", "values": ["", "cpu"]}],
    [{"key": "llm.example.test/tier", "operator": "Exists"}],
    [
        {"key": "tier", "operator": "In", "values": ["gpu"]},
        {"key": "tier", "operator": "NotIn", "values": ["cpu", "tpu"]},
        {"key": "stage", "operator": "Exists"},
        {"key": "ended", "operator": "DoesNotExist"},
    ],
]
LABELS = {"tier": "gpu", "stage": "prod", "llm.example.test/tier": "x"}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_selectors_of_expressions_select_their_own_pods_and_no_others(chat: Space, kind: str) -> None:
    """Each of them selects the pods of all: only their owners tell them apart."""
    names = [f"odd-{number}" for number in range(len(SELECTORS))]
    for name, expressions in zip([*names, "alike"], [*SELECTORS, SELECTORS[0]], strict=True):
        odd = workload(kind, name, 1)
        odd["spec"]["selector"] = {"matchExpressions": expressions}
        odd["spec"]["template"]["metadata"]["labels"] = LABELS
        chat.create(odd)
    for name in (*names, "alike"):
        chat.running(kind, name, 1)

    chat.contain("odd", *(f"{kind}/{name}" for name in names), steps=[STOP])
    assert [pod["metadata"]["name"].startswith("alike-") for pod in chat.pods()] == [True]
    chat.release("odd")
    for name in names:
        chat.running(kind, name, 1)


def long(length: int, last: str = "x") -> str:
    """Of labels as long as they may be; a dot where names are cut at 230."""
    name = f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 37}.{'e' * 22}"[: length - 1] + last
    assert (len(name), name[229]) == (length, ".")
    return name


def named(kind: str, name: str, **more: Any) -> Json:
    """Its labels are short: they have to be."""
    server = workload(kind, "odd", 2, **more)
    server["metadata"]["name"] = name
    return server


@pytest.mark.parametrize(
    ("kind", "length"),
    [("ReplicaSet", LONGEST), ("DaemonSet", LONGEST - 11)],
)
def test_names_as_long_as_they_may_be(chat: Space, kind: str, length: int) -> None:
    """A DaemonSet's is followed by a hash in the names of its revisions."""
    name, incident = long(length), long(LONGEST, "y")
    chat("create", "serviceaccount", name)
    account = bytes_of(chat.get("serviceaccount", name))
    chat.create(named(kind, name, pod={"serviceAccountName": name}))
    chat.running(kind, name, 2)

    there_and_back(chat, kind, name, CUT_OFF, {"revokeServiceAccount": {}}, STOP, incident=incident)

    assert bytes_of(chat.get("serviceaccount", name)) == account
    told = chat.get("events", f"--field-selector=involvedObject.name={incident}")["items"]
    assert "Contained" in {event["reason"] for event in told}


def test_of_a_workload_that_its_controller_cannot_run_nothing_is_claimed(chat: Space) -> None:
    """No revision of it can have a name: the controller never says that it has seen it."""
    name = long(LONGEST)
    chat.create(named("DaemonSet", name))
    chat.incident("odd", f"DaemonSet/{name}", steps=[STOP | {"timeout": "2s"}])
    status = chat.wait_phase("odd", "ContainmentFailed")
    said = step(status, "ScaleToZero")["message"]
    assert said == f"after 2 s: its controller has not yet seen DaemonSet {name}"
    chat.release("odd")


FREED = '{"metadata":{"finalizers":null}}'


def test_pods_that_a_finalizer_keeps_are_named_and_nothing_is_contained_while_they_stand(chat: Space) -> None:
    kinds = ["Deployment", "StatefulSet", "DaemonSet"]
    for kind in kinds:
        server = workload(kind, f"a-{kind.lower()}", 2)
        server["spec"]["template"]["metadata"]["finalizers"] = ["example.test/archive"]
        chat.create(server)
    for kind in kinds:
        chat.running(kind, f"a-{kind.lower()}", 2)
    pods = [pod["metadata"]["name"] for pod in chat.pods()]

    targets = [f"{kind}/a-{kind.lower()}" for kind in kinds]
    chat.incident("odd", *targets, steps=[STOP | {"timeout": "3s"}])
    eventually(lambda: chat.status("odd").get("phase") == "ContainmentFailed", "its time is over")

    def told() -> list[str]:
        steps = [one for one in chat.status("odd")["steps"] if one["action"] == "ScaleToZero"]
        return [one["message"] for one in steps if one["state"] == "Ineffective"]

    eventually(lambda: len(told()) == len(kinds), "all of them have failed")
    assert all(message.startswith("after 3 s: 2 pods left: ") for message in told())
    for pod in pods:
        assert f"{pod} (terminating, finalizer example.test/archive)" in " ".join(told())
    assert "contained" not in chat.status("odd")["timestamps"]

    chat("patch", "pods", *pods[1:], "--type=merge", "-p", FREED)
    eventually(lambda: [pods[0] in message for message in told()] == [True], "one is left")
    assert condition(chat.status("odd"), "Contained")["status"] == "False"
    chat("patch", "pod", pods[0], "--type=merge", "-p", FREED)
    chat.wait_phase("odd", "Contained")
    chat.release("odd")


def policy(name: str, **spec: object) -> Json:
    metadata = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def test_policies_that_select_everything_are_taken_as_that(chat: Space) -> None:
    everyone: Json = {"podSelector": {}, "namespaceSelector": {}}
    others = [
        policy("all", podSelector={}, ingress=[{}], egress=[{}], policyTypes=["Ingress", "Egress"]),
        policy("same", podSelector={}, ingress=[{"from": [{"podSelector": {}}]}]),
        policy("any", podSelector={}, ingress=[{"from": [everyone], "ports": []}]),
        policy("none", podSelector={"matchExpressions": []}, policyTypes=["Egress"]),
    ]
    for one in others:
        chat.create(one)
    chat.create(workload("Deployment", "odd", 1))
    chat.running("Deployment", "odd", 1)
    before = {one["metadata"]["name"]: bytes_of(one) for one in chat.get("networkpolicies")["items"]}

    chat.incident("told", "Deployment/odd", steps=[{"isolate": {}}])
    status = chat.wait_phase("told", "ContainmentFailed")
    said = " ".join(step["message"] for step in status["steps"])
    assert all(name in said for name in ("all", "same", "any")), said
    chat.release("told")
    there_and_back(chat, "Deployment", "odd", CUT_OFF)
    assert {one["metadata"]["name"]: bytes_of(one) for one in chat.get("networkpolicies")["items"]} == before
