"""Killed at any write, the operator's successor ends where an uninterrupted operator would have.

A proxy loses the connection before or after the n-th write has reached the API server; the operator is
killed at that moment and a new one started. n goes up until an operation has no n-th write, so that writes
added later are tried as well. Leases, Events, tokens and the canary's writes pass, but are no points.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.api import Api
from sandbox.pki import KeyPair
from stanch.api.v1alpha1.hold import ContainmentHoldSpec
from tests.cases import CASES, SCALE_DEPLOYMENT, SEVERAL
from tests.cluster import kubectl_of
from tests.operator_process import (
    Json,
    OperatorProcess,
    Space,
    condition,
    eventually,
    install,
)
from tests.proxy import Cut, Proxy, Request, When
from tests.standing import INCIDENT, PATHS, Case, bytes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox
    from tests.cluster import Kubectl, OwnSandbox

WITHIN = 60.0  # seconds
FEWEST = 5  # no plan can be carried out, or undone, in fewer writes
FLAGS = {
    "lease-seconds": "15",  # a successor finds none: see Bench.succeed
    "renew-deadline-seconds": "10",
    "retry-seconds": "1",
    "sweep-seconds": "1",
    "rejudge-seconds": "1",
    "canary-seconds": "30",  # proven once per operator
}


@dataclass
class Bench:
    """One operator at a time behind the proxy; a killed one is followed by a new one that knows nothing."""

    sandbox: Sandbox
    kubectl: Kubectl
    api: Api  # spares the time of a kubectl for every look
    proxy: Proxy
    operator: OperatorProcess

    def fresh(self, case: Case) -> Stage:
        """A new namespace with the case's objects, running."""
        space = Space(f"crash-{secrets.token_hex(4)}", self.kubectl, self.sandbox)
        self.kubectl("create", "namespace", space.name, check=True)
        case.stage(space)
        stage = Stage(self, case, space)
        return replace(stage, before=stage.shapes())

    def succeed(self) -> None:
        """SIGKILL, then another process, which need not wait for the lease: test_leader.py has that."""
        self.operator.kill()
        self.proxy.heal()
        self.kubectl("-n", "stanch-system", "delete", "lease", "stanch", check=True)
        self.operator.start()


@dataclass(frozen=True)
class Stage:
    bench: Bench
    case: Case
    space: Space
    before: dict[str, str] = field(default_factory=dict)

    def contain(self, cut: Cut | None = None) -> Json:
        """Create the incident and, at the cut, kill; what containment leaves, however it came about."""
        self._count(cut)
        self.space.incident(INCIDENT, self.case.target, **self.case.spec)
        self._go_through(cut, self._contained)
        return self._remains()

    def release(self, cut: Cut | None = None) -> Json:
        self._count(cut)
        self.space.let_go(INCIDENT)
        self._go_through(cut, self._released)
        remains = self._remains()
        assert self.shapes() == self.before
        return remains

    def prove(self, ends: str, cut: Cut | None = None) -> Json:
        """Ask for a release by stages; what it leaves. Writes of status, one a look, are no points:
        what one of them stored stands as well right before the next write of anything else.
        """
        self.bench.proxy.count(
            lambda request: (
                request.is_change and request.within(self.space.name) and not request.path.endswith("/status")
            ),
            cut,
        )
        self.space.let_go(INCIDENT)
        self._go_through(cut, self._released if ends == "Recovered" else self._contained_again)
        remains = self._remains()
        assert remains["phase"] == ends
        return remains

    def shapes(self) -> dict[str, str]:
        """What has to come back byte by byte."""
        found = {name: self._found(*name) for name in self.case.objects}
        return {"/".join(name): bytes_of(body) if body else "gone" for name, body in found.items()}

    def _found(self, resource: str, name: str) -> Json | None:
        path = f"{PATHS[resource]}/namespaces/{self.space.name}/{resource}/{name}"
        answer = self.bench.api.call("GET", path)
        return json.loads(answer.body) if answer.ok else None

    def _read(self, resource: str, name: str = "") -> Json:
        path = f"{PATHS[resource]}/namespaces/{self.space.name}/{resource}/{name}".rstrip("/")
        return self._answer(path)

    def _answer(self, path: str) -> Json:
        answer = self.bench.api.call("GET", path)
        assert answer.ok, f"GET {path}: {answer.status} {answer.body.decode()}"
        body: Json = json.loads(answer.body)
        return body

    def _count(self, cut: Cut | None) -> None:
        self.bench.proxy.count(lambda request: request.is_change and request.within(self.space.name), cut)

    def _go_through(self, cut: Cut | None, ended: Callable[[], bool]) -> None:
        proxy, operator = self.bench.proxy, self.bench.operator
        what = f"{self.space.name}, {cut}"
        try:
            eventually(lambda: proxy.lost or ended(), "the cut or the end", WITHIN)
            if proxy.lost:
                self.bench.succeed()
            eventually(ended, "the end", WITHIN)
        except AssertionError as late:
            raise AssertionError(f"{what}: {late}\n{self._written()}\n{operator.tail()}") from late

    def _contained(self) -> bool:
        status = self._read("aiincidents", INCIDENT).get("status", {})
        return bool(status.get("phase") == "Contained" and condition(status, "Held")["status"] == "True")

    def _contained_again(self) -> bool:
        release = self._read("aiincidents", INCIDENT).get("status", {}).get("release", {})
        return release.get("stage") == "Failed" and self._contained()

    def _released(self) -> bool:
        incident = self._read("aiincidents", INCIDENT)
        finalizers = incident["metadata"].get("finalizers", [])
        return bool(incident["status"]["phase"] in {"Released", "Recovered"} and finalizers == [])

    def _written(self) -> list[str]:
        return [str(request) for request in self.bench.proxy.changes]

    def _remains(self) -> Json:
        """Everything an operator leaves in a namespace, without what differs between any two runs."""
        incident = self._read("aiincidents", INCIDENT)
        namespace = self._answer(f"/api/v1/namespaces/{self.space.name}")
        status = incident["status"]
        remains = {
            "phase": status["phase"],
            "finalizers": incident["metadata"].get("finalizers", []),
            "conditions": {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]},
            "contested": status.get("contested", {}).get("count", 0),
            "journal": [_entry(step) for step in status["steps"]],
            "holds": [_held(hold) for hold in self._read("containmentholds")["items"]],
            "label": namespace["metadata"]["labels"].get("stanch.dev/holding"),
            "objects": self.shapes(),
        }
        # Names of what is made tell incidents apart, which have uids of their own.
        text = json.dumps(remains).replace(self.space.name, "NAMESPACE")
        plain: Json = json.loads(re.sub(r"(stanch-[a-z0-9-]+)-[0-9a-f]{10}", r"\1", text))
        return plain


def _entry(step: Json) -> Json:
    """A journal entry without identities and times."""
    changes = [
        (each["object"]["kind"], each["object"]["name"], each.get("fields", []))
        for each in step.get("changes", [])
    ]
    return {"id": step["id"], "state": step["state"], "undone": "undo" in step, "changes": changes}


def _held(hold: Json) -> Json:
    entries = ContainmentHoldSpec.model_validate(hold["spec"]).entries()
    return {key: [entry.incidents, entry.giving_back] for key, entry in entries.items()}


@pytest.fixture(scope="module")
def bench(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    sandbox = own_sandbox()
    home = tmp_path_factory.mktemp("crash")
    kubectl = kubectl_of(sandbox, home)
    install(kubectl)
    pki = sandbox.layout.pki
    api = Api(sandbox.ports.apiserver, sandbox.ca_file, KeyPair(pki / "admin.crt", pki / "admin.key"))
    with Proxy(sandbox) as proxy:
        kubeconfig = sandbox.kubeconfig_for_service_account("stanch-system", "stanch", server=proxy.url)
        evidence = home / "evidence"
        evidence.mkdir()
        environment = {"STANCH_EVIDENCE_URL": evidence.as_uri()}
        operator = OperatorProcess(kubeconfig, home / "operator.log", dict(FLAGS), environment)
        operator.start()
        try:
            operator.wait_ready()
            yield Bench(sandbox, kubectl, api, proxy, operator)
        finally:
            if operator.running:
                operator.kill()


Runs = tuple[Json, Json]


def uninterrupted(bench: Bench, case: Case) -> Runs:
    stage = bench.fresh(case)
    contained = stage.contain()
    assert len(bench.proxy.changes) >= FEWEST, bench.proxy.changes
    released = stage.release()
    assert len(bench.proxy.changes) >= FEWEST, bench.proxy.changes
    return contained, released


def matrix(bench: Bench, case: Case, when: When, points: Callable[[int], bool] = lambda _: True) -> int:
    """Kill at every n-th write of a contain, and at every n-th of the release after it; how many kills."""
    contained, released = uninterrupted(bench, case)
    kills = 0
    for n in count(1):
        if not points(n):
            continue
        stage = bench.fresh(case)
        assert stage.contain(Cut(n, when)) == contained, f"contained, killed {when} write {n}"
        first = bench.proxy.lost
        assert stage.release(Cut(n, when)) == released, f"released, killed {when} write {n}"
        second = bench.proxy.lost
        kills += first + second
        bench.kubectl("delete", "namespace", stage.space.name, "--wait=false", check=True)
        if not first and not second:
            return kills
    raise AssertionError("unreachable")


def test_an_uninterrupted_run_records_each_change_once_and_leaves_nothing_behind(bench: Bench) -> None:
    contained, released = uninterrupted(bench, SCALE_DEPLOYMENT)
    kinds = [kind for step in contained["journal"] for kind, _, _ in step["changes"]]
    assert sorted(kinds) == ["Deployment", "HorizontalPodAutoscaler"]
    assert _replicas(contained) == [{"path": "/spec/replicas", "before": 2, "after": 0}]
    assert json.loads(contained["objects"]["deployments/llm"])["spec"]["replicas"] == 0
    assert contained["label"] == "true"
    (held,) = contained["holds"]
    stopped = {"Stopped apps/deployments/llm", "Stopped autoscaling/horizontalpodautoscalers/llm"}
    assert stopped <= held.keys()
    assert released["holds"] == []
    assert released["label"] is None
    assert released["finalizers"] == []
    assert _replicas(released) == _replicas(contained)


@pytest.mark.timeout(600)  # half a minute on an idle machine
def test_killed_after_every_third_write_the_next_operator_goes_on_from_there(bench: Bench) -> None:
    kills = matrix(bench, SCALE_DEPLOYMENT, When.AFTER, points=lambda n: n % 3 == 0)
    assert kills >= 2 * (FEWEST // 3)


SHARES = 4
"""Of the many writes of five steps: tests that run side by side."""
KILLED = [
    pytest.param(case, when, share, id=f"{case.id}-{when}" + (f"-{share}" if share else ""))
    for when, cases in ((When.AFTER, CASES), (When.BEFORE, (SCALE_DEPLOYMENT, SEVERAL)))
    for case in cases
    for share in (range(1, SHARES + 1) if case is SEVERAL else (0,))
]
"""Before a write the cluster is as it was after the one before: shown of one action, and of five steps."""


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("case", "when", "share"), KILLED)
def test_killed_before_or_after_any_write_whatever_is_contained(
    bench: Bench, case: Case, when: When, share: int
) -> None:
    if share:
        assert matrix(bench, case, when, lambda n: n % SHARES == share % SHARES) >= 2 * FEWEST // SHARES
    else:
        assert matrix(bench, case, when) >= 2 * FEWEST


def staged(*checks: Json) -> Case:
    """As by a policy that wants these checks passed. No Prometheus is configured here."""
    policy = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "ContainmentPolicy",
        "metadata": {"name": "proven"},
        "spec": {
            "selector": {},
            "steps": [{"scaleToZero": {}}],
            "verification": {
                "checks": list(checks),
                "initialDelay": "0s",
                "interval": "1s",
                "consecutiveSuccesses": 1,
                "inconclusiveLimit": 1,
            },
        },
    }
    manifests = (*SCALE_DEPLOYMENT.manifests, policy)
    return replace(SCALE_DEPLOYMENT, manifests=manifests, steps=())


HEALTHY: Json = {"name": "healthy", "healthy": {}}
UNANSWERED: Json = {"name": "toxicity", "prometheus": {"query": "toxicity", "operator": "lt", "value": "1"}}
ENDINGS = {"Recovered": staged(HEALTHY), "Contained": staged(HEALTHY, UNANSWERED)}


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("ends", "when"), [("Recovered", When.BEFORE), ("Recovered", When.AFTER), ("Contained", When.AFTER)]
)
def test_killed_in_a_release_by_stages_it_ends_as_it_would_have(bench: Bench, ends: str, when: When) -> None:
    kills = 0
    expected: Json | None = None
    for n in count(0):
        stage = bench.fresh(ENDINGS[ends])
        stage.contain()
        left = stage.prove(ends, Cut(n, when) if n else None)
        expected = expected or left
        assert left == expected, f"killed {when} write {n}"
        if ends == "Recovered":
            assert stage.shapes() == stage.before
        bench.kubectl("delete", "namespace", stage.space.name, "--wait=false", check=True)
        kills += n > 0 and bench.proxy.lost
        if n and not bench.proxy.lost:
            break
    assert kills >= FEWEST


def _replicas(remains: Json) -> list[Any]:
    return [
        change
        for step in remains["journal"]
        for _, _, fields in step["changes"]
        for change in fields
        if change["path"] == "/spec/replicas"
    ]


def test_what_counts_as_a_write() -> None:
    deployment = "/apis/apps/v1/namespaces/chat/deployments/llm"
    assert Request("PATCH", deployment).is_change
    assert not Request("PATCH", deployment, "?dryRun=All").is_change
    assert not Request("GET", deployment).is_change
    assert not Request("POST", "/api/v1/namespaces/chat/events").is_change
    assert not Request("PUT", "/apis/coordination.k8s.io/v1/namespaces/stanch-system/leases/stanch").is_change
    assert Request("PATCH", "/api/v1/namespaces/chat").within("chat")
    assert not Request("PATCH", "/api/v1/namespaces/chatter").within("chat")
