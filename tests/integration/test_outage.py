"""The control plane fails in the middle of an incident: nothing is lost or let go, all goes on by itself.

A sandbox of this module's own, because its servers are stopped and killed. The operator runs as under a
kubelet: when it ends it is started again, with nothing but what the cluster holds.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest

from tests.cases import CASES
from tests.cluster import kubectl_of
from tests.operator_process import (
    OperatorProcess,
    Space,
    autoscaler,
    condition,
    eventually,
    fresh_space,
    install,
    shape,
    workload,
)
from tests.proxy import Cut, Proxy, When
from tests.standing import INCIDENT, PATIENCE, PODS, Case, Scene, scenes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox
    from sandbox.process import Component
    from tests.cluster import Kubectl, OwnSandbox
    from tests.proxy import Request

pytestmark = pytest.mark.long

WITHIN = 60.0  # seconds: an operator that lost its lease waits for it
IN_VAIN = 5  # requests: without etcd they take their time
FLAGS = {
    "lease-seconds": "12",
    "renew-deadline-seconds": "11",
    "retry-seconds": "0.3",
    "sweep-seconds": "2",
    "rejudge-seconds": "1",
    "canary-seconds": "2",
}


class Kubelet:
    """Starts the operator again whenever it has ended, as a pod's restartPolicy does."""

    def __init__(self, operator: OperatorProcess) -> None:
        self.operator = operator
        self.restarts = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="kubelet", daemon=True)

    def __enter__(self) -> Self:
        self._end.clear()
        self.operator.start()
        self._thread = threading.Thread(target=self._watch, name="kubelet", daemon=True)
        self._thread.start()
        self.operator.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        if self.operator.running:
            self.operator.kill()

    @contextmanager
    def without_operator(self) -> Iterator[None]:
        self.__exit__()
        yield
        self.__enter__()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            if not self.operator.running:
                self.restarts += 1
                self.operator._process = None
                self.operator.start()


@dataclass(frozen=True)
class Plant:
    sandbox: Sandbox
    kubectl: Kubectl
    proxy: Proxy
    kubelet: Kubelet


@pytest.fixture(scope="module")
def plant(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    sandbox = own_sandbox()
    home = tmp_path_factory.mktemp("outage")
    kubectl = kubectl_of(sandbox, home)
    install(kubectl)
    with Proxy(sandbox) as proxy:
        kubeconfig = sandbox.kubeconfig_for_service_account("stanch-system", "stanch", server=proxy.url)
        evidence = home / "evidence"
        evidence.mkdir()
        environment = {"STANCH_EVIDENCE_URL": evidence.as_uri()}
        operator = OperatorProcess(kubeconfig, home / "operator.log", dict(FLAGS), environment)
        with Kubelet(operator) as kubelet:
            yield Plant(sandbox, kubectl, proxy, kubelet)


@pytest.fixture
def space(plant: Plant) -> Iterator[Space]:
    with fresh_space(plant.sandbox, plant.kubectl, plant.kubelet.operator) as fresh:
        yield fresh


def serve(space: Space) -> str:
    """A model server with an autoscaler, running; the shape it has to get back."""
    space.create(workload("Deployment", "llm", PODS))
    space.create(autoscaler("llm"))
    space.running("Deployment", "llm", PODS)
    return shape(space.get("deployment/llm")) + shape(space.get("hpa/llm"))


def contained_and_given_back(space: Space, before: str) -> None:
    """The end of every story: contained once, held, and given back as it was."""
    status = space.wait_phase(INCIDENT, "Contained", WITHIN)
    status = space.wait_held(INCIDENT, within=WITHIN)
    *_, step = status["steps"]
    assert sorted(change["object"]["kind"] for change in step["changes"]) == [
        "Deployment",
        "HorizontalPodAutoscaler",
    ]
    assert space.get("deployment/llm")["spec"]["replicas"] == 0
    space.let_go(INCIDENT)
    space.wait_phase(INCIDENT, "Released", WITHIN)
    assert shape(space.get("deployment/llm")) + shape(space.get("hpa/llm")) == before


def outage(plant: Plant, part: Component, next_cut: Cut | None = None, *, restarts: int = 0) -> None:
    """Kill it, and start it again when the operator has asked in vain, or has even ended so many times.

    `next_cut`: when the operator's connections are to be lost again, once it is back.
    """
    part.kill()
    plant.proxy.count(in_flight)
    ended = plant.kubelet.restarts + restarts
    eventually(lambda: plant.proxy.unanswered >= IN_VAIN, "the operator asks in vain", PATIENCE)
    eventually(lambda: plant.kubelet.restarts >= ended, "the operator ends", PATIENCE)
    plant.proxy.count(in_flight, next_cut)
    part.start()
    plant.sandbox.apiserver.wait_ready()


def in_flight(request: Request) -> bool:
    return request.is_change and "/namespaces/" in request.path and "/stanch-system" not in request.path


def kubelets_go_on(plant: Plant, space: Space) -> None:
    """KWOK tries once what a kubelet tries until it goes through.

    An API server that has just started refuses it where something is held until it knows the holds.
    Kubernetes' controllers and its scheduler go on, after pauses of up to minutes; started anew, they have
    none.
    """
    pod = "-n", space.name, "run", "probe", "--image=none", "--dry-run=server"
    eventually(lambda: "not yet synced" not in plant.kubectl(*pod).stderr, "the holds are known", PATIENCE)
    plant.sandbox.kwok.kill()
    # It serves no node whose lease another one holds, and is another one each time.
    plant.kubectl("-n", "kube-node-lease", "delete", "lease", "--all", check=True)
    plant.sandbox.kwok.start()
    plant.sandbox.scheduler.restart()
    plant.sandbox.controller_manager.restart()


def twice(plant: Plant, begin: Callable[[], None], restarts: int) -> None:
    """In the middle of what is begun the API server goes, and when it is back, etcd."""
    first, second = (Cut(each * len(CASES), When.AFTER) for each in (4, 2))
    plant.proxy.count(in_flight, first)
    begin()
    assert plant.proxy.wait_lost(PATIENCE), plant.kubelet.operator.tail()
    outage(plant, plant.sandbox.apiserver, second, restarts=restarts)
    assert plant.proxy.wait_lost(PATIENCE), plant.kubelet.operator.tail()
    outage(plant, plant.sandbox.etcd)


@pytest.fixture(
    scope="class",
    params=[0, 1],
    ids=["the operator waits", "the operator ends and begins anew"],
)
def restarts(request: pytest.FixtureRequest) -> int:
    how_often: int = request.param
    return how_often


@pytest.fixture(scope="class")
def under_way(plant: Plant, restarts: int) -> dict[str, Scene]:
    """All were being contained when it happened."""
    standing = scenes(CASES, plant.sandbox, plant.kubectl)

    def begin() -> None:
        for scene in standing.values():
            scene.contain()

    twice(plant, begin, restarts)
    kubelets_go_on(plant, next(iter(standing.values())).space)
    return standing


@pytest.fixture(scope="class")
def on_the_way_back(plant: Plant, under_way: dict[str, Scene], restarts: int) -> dict[str, Scene]:
    """All were being given back when it happened again."""

    def begin() -> None:
        for scene in under_way.values():
            scene.space.let_go(INCIDENT)

    twice(plant, begin, restarts)
    kubelets_go_on(plant, next(iter(under_way.values())).space)
    return under_way


@pytest.mark.timeout(600)
class TestWhateverIsContained:
    """Every action at once, and a plan of five steps; the control plane fails on the way there and back."""

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
    def test_it_is_contained_once_and_held(self, case: Case, under_way: dict[str, Scene]) -> None:
        status = under_way[case.id].contained()
        assert {step["state"] for step in status["steps"]} == {"Effective"}
        assert "contested" not in status, "nobody but the operator did anything"

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
    def test_it_is_given_back_as_it_was(self, case: Case, on_the_way_back: dict[str, Scene]) -> None:
        status = on_the_way_back[case.id].given_back()
        assert [step["undo"].get("kept", []) for step in status["steps"] if "undo" in step] == [
            [] for step in status["steps"] if step.get("changes")
        ]


def test_watches_whose_versions_are_compacted_away_begin_anew(plant: Plant, space: Space) -> None:
    before = serve(space)
    plant.proxy.expire_watches(6)
    eventually(lambda: len(plant.proxy.expired) == 6, "the watches are told that their version is gone")
    space.incident(INCIDENT, "Deployment/llm")
    contained_and_given_back(space, before)


def test_an_operator_that_is_refused_as_unknown_for_a_while_goes_on_afterwards(
    plant: Plant, space: Space
) -> None:
    before = serve(space)
    plant.proxy.answer_all(401)  # a rotated signing key, an authenticator that restarts
    space.incident(INCIDENT, "Deployment/llm")
    eventually(lambda: plant.proxy.refused >= IN_VAIN, "the operator is refused again and again")
    plant.proxy.heal()
    contained_and_given_back(space, before)


@dataclass
class Fire:
    """Scales a Deployment up as an administrator, as fast as one thread can."""

    sandbox: Sandbox
    path: str
    passed: int = 0
    denied: int = 0
    unanswered: int = 0
    other: set[str] = field(default_factory=set)
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        pki = self.sandbox.layout.pki
        context = ssl.create_default_context(cafile=str(self.sandbox.ca_file))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        connection = self._connect(context)
        while not self._end.is_set():
            try:
                self._shoot(connection)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                connection.close()
                connection = self._connect(context)
        connection.close()

    def stop(self) -> None:
        self._end.set()

    def _connect(self, context: ssl.SSLContext) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self.sandbox.ports.apiserver, timeout=5, context=context
        )

    def _shoot(self, connection: http.client.HTTPSConnection) -> None:
        body = json.dumps({"spec": {"replicas": PODS}})
        connection.request("PATCH", self.path, body, {"Content-Type": "application/merge-patch+json"})
        response = connection.getresponse()
        said = response.read().decode()
        if response.status < http.HTTPStatus.BAD_REQUEST:
            self.passed += 1
        elif f"held by AIIncident {INCIDENT}" in said:
            self.denied += 1
        else:
            self.other.add(f"{response.status} {said}")


@pytest.mark.parametrize("times", [1, 4])
def test_an_api_server_killed_and_restarted_under_fire_lets_no_scale_up_pass(
    plant: Plant, space: Space, times: int
) -> None:
    before = serve(space)
    space.contain(INCIDENT, "Deployment/llm")
    deployment = f"/apis/apps/v1/namespaces/{space.name}/deployments/llm"
    fires = [Fire(plant.sandbox, deployment), Fire(plant.sandbox, f"{deployment}/scale")]
    with plant.kubelet.without_operator():  # admission alone has to hold
        threads = [threading.Thread(target=fire.run, daemon=True) for fire in fires]
        for thread in threads:
            thread.start()
        for _ in range(times):
            denied = [fire.denied for fire in fires]
            plant.sandbox.apiserver.kill()
            plant.sandbox.apiserver.start()
            eventually(
                lambda denied=denied: all(  # type: ignore[misc] # mypy cannot infer a lambda with a default
                    fire.denied > count + 20 for fire, count in zip(fires, denied, strict=True)
                ),
                "the API server denies again",
            )
        for fire in fires:
            fire.stop()
        for thread in threads:
            thread.join()
    assert [fire.passed for fire in fires] == [0, 0], fires
    assert all(fire.unanswered > 0 for fire in fires), "the API server was never away"
    contained_and_given_back(space, before)


def test_without_the_hold_crd_namespaces_that_hold_nothing_work_on_and_the_others_stay_shut(
    plant: Plant, space: Space, free_space: Space
) -> None:
    before = serve(space)
    space.contain(INCIDENT, "Deployment/llm")
    free_space.create(workload("Deployment", "other", 1))
    space("delete", "crd", "containmentholds.stanch.dev", "--timeout=60s")
    plant.sandbox.apiserver.restart()

    free_space("scale", "deployment/other", "--replicas=2")
    free_space("create", "deployment", "third", "--image=registry.example.test/llm:1")
    assert "stanch-hold" in space.refused("scale", "deployment/llm", "--replicas=1")

    install(plant.kubectl)
    space.wait(
        "crd/containmentholds.stanch.dev", '{.status.conditions[?(@.type=="Established")].status}', "True"
    )
    eventually(lambda: _held(space), f"held again\n{plant.kubelet.operator.tail()}", WITHIN)
    assert condition(space.status(INCIDENT), "Contained")["status"] == "True"
    contained_and_given_back(space, before)


def _held(space: Space) -> bool:
    holds = space.get("holds")["items"]
    return any("apps/deployments/llm" in hold["spec"]["held"] for hold in holds)


@pytest.fixture
def free_space(plant: Plant) -> Iterator[Space]:
    """A namespace in which nothing is held."""
    free = Space(f"free-{secrets.token_hex(4)}", plant.kubectl, plant.sandbox)
    plant.kubectl("create", "namespace", free.name, check=True)
    yield free
    plant.kubectl("delete", "namespace", free.name, "--wait=false", check=True)
