"""The whole story in front of your eyes: `python -m sandbox.demo`. Ends with 1 when a promise is not kept.

Everything shown is what the real kubectl and the real API server said; every yes is computed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox import binaries, stanch, versions
from sandbox.cluster import Sandbox
from sandbox.errors import SandboxError
from sandbox.guard import RULE, Guard, watching
from sandbox.node.availability import real_node_available
from sandbox.progress import clock
from sandbox.traffic import Traffic, on_real_node
from sandbox.written import NAMESPACE, AuditLog, Request, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.process import Component

_BY_HAND = "toxic-output.yaml"
_POLICY = "toxic-output-policy.yaml"
_WORKLOAD = "deployment/llm-chat"
_REPLICAS = 3
_HELD = "held by AIIncident"
_PATIENCE = 60.0  # seconds for anything the cluster is asked to do
_POLL = 0.02
_SETTLE = 1.0  # seconds in which a returned operator would do what it wrongly thought undone
_CONTAINED, _RELEASED = "Contained", "Released"
_WORKLOAD_KINDS = {"deployments", "horizontalpodautoscalers", "containmentholds", "pods", "namespaces"}

_AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llm-chat, namespace: demo}
spec:
  minReplicas: 2
  maxReplicas: 10
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llm-chat}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}
"""


class BrokenPromiseError(Exception):
    """Something is not as Stanch promises."""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """The real kubectl, as the administrator or as somebody else with all rights."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> Said:
        command = [str(self.program), *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str, stdin: str | None = None) -> str:
        said = self(*arguments, stdin=stdin)
        if said.code:
            raise BrokenPromiseError(f"kubectl {' '.join(arguments)} failed: {said.err.strip()}")
        return said.out

    def get(self, *what: str) -> Any:
        return json.loads(self.must("-n", NAMESPACE, "get", *what, "-o", "json"))


@dataclass
class Demo:
    sandbox: Sandbox
    operator: Component
    kubectl: Kubectl
    guard: Guard | None = None
    traffic: Traffic | None = None
    name: str = ""
    """The incident's, once there is one."""
    began: float = field(default_factory=time.monotonic)

    def tell(self) -> None:
        """All of it.

        Raises:
            BrokenPromiseError: with what is not as promised.
        """
        before = self.workload()
        written = self.incident()
        self.fights()
        self.survive()
        self.attempts_seen()
        self.release(before)
        line("all promises kept", f"{clock(time.monotonic() - self.began)}; contained in {written}")

    def workload(self) -> dict[str, str]:
        """A model server and its autoscaler; returns their specs as bytes to compare with."""
        began = time.monotonic()
        manifest = (stanch.SAMPLES / "llm-chat.yaml").read_text()
        node = self.sandbox.node
        self.kubectl.must("apply", "-f", "-", stdin=on_real_node(manifest) if node else manifest)
        self.kubectl.must("apply", "-f", "-", stdin=_AUTOSCALER)
        until(f"{_REPLICAS} replicas to be ready", lambda: self._ready() == _REPLICAS)
        line("workload", f"demo/llm-chat, {_REPLICAS} replicas ready, autoscaler 2 to 10", began)
        if node:
            self.traffic = Traffic.begin(node, self._pods(), self.sandbox.directory / "traffic")
            line("traffic", f"{self.traffic.server} is streaming an answer: {self.traffic.said}…")
        return self._specs()

    def incident(self) -> str:
        """By an alert, or applied with kubectl; then every write of the operator as it happens."""
        log = AuditLog.from_now(self.sandbox.audit_log)
        crossed = self._alert(self.guard) if self.guard else self._by_hand()
        began: datetime | None = None
        deadline = time.monotonic() + _PATIENCE
        while self._phase() != _CONTAINED:
            began = show(log, began)
            if time.monotonic() > deadline:
                raise BrokenPromiseError(f"not contained after {_PATIENCE:g} s:\n{self._described()}")
            time.sleep(_POLL)
        show(log, began)
        incident = self.kubectl.get("aii", self.name)
        status = incident["status"]
        print(f"    {'contained':>9}  {status['summary']}")
        if self._pods():
            raise BrokenPromiseError("contained is said, but pods are left")
        if self.traffic:
            self._silent(self.traffic)
        if self.guard:
            self.guard.rest()
            self._legs(incident, crossed)
        self.show("get", "aii", "-A")
        return str(status["containedIn"])

    def _by_hand(self) -> datetime:
        manifest = stanch.SAMPLES / _BY_HAND
        line("incident", f"kubectl apply -f {manifest.relative_to(stanch.ROOT)}")
        self.kubectl.must("apply", "-f", str(manifest))
        return datetime.now(UTC)

    def _alert(self, guard: Guard) -> datetime:
        policy = stanch.SAMPLES / _POLICY
        self.kubectl.must("apply", "-f", str(policy))
        line("policy", f"kubectl apply -f {policy.relative_to(stanch.ROOT)}")
        share = guard.judge(self.traffic)
        line("alert", f"{share:.0%} of the answers are toxic; Prometheus has {RULE.relative_to(stanch.ROOT)}")
        return datetime.now(UTC)

    def _legs(self, incident: Any, crossed: datetime) -> None:
        times = incident["status"]["timestamps"]
        fired, detected, contained = (
            datetime.fromisoformat(text)
            for text in (incident["spec"]["occurredAt"], times["detected"], times["contained"])
        )
        legs = {
            "the metric crosses, the alert fires": fired - crossed,
            "the incident is there": detected - fired,
            "contained": contained - detected,
        }
        told = ", ".join(f"{what} {took.total_seconds():+.1f}s" for what, took in legs.items())
        print(f"    {'time':>9}  {told}: {(contained - crossed).total_seconds():.1f}s with nobody typing")

    def _silent(self, traffic: Traffic) -> None:
        left = traffic.processes()
        expect(not left, f"contained is said, but these processes are left on the node: {left}")
        until("the answer to be cut off", lambda: not traffic.flows)
        print(f"    {'traffic':>9}  cut off after {traffic.pieces} pieces; no process is left on the node")

    def fights(self) -> None:
        line("fights", "everybody here is a cluster administrator")
        self.denied(self.kubectl, "-n", NAMESPACE, "scale", _WORKLOAD, "--replicas=3")
        gitops = self._person("system:serviceaccount:argocd:argocd-application-controller")
        manifest = stanch.SAMPLES / "llm-chat.yaml"
        self.denied(
            gitops, "apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller",
            "-f", str(manifest.relative_to(stanch.ROOT)),
        )  # fmt: skip
        self.denied(self.kubectl, "-n", NAMESPACE, "delete", _WORKLOAD)
        thaw = '{"spec":{"behavior":{"scaleUp":{"selectPolicy":"Max"}}}}'
        self.denied(self.kubectl, "-n", NAMESPACE, "patch", "hpa", "llm-chat", "--type=merge", "-p", thaw)
        until("the autoscaler to stand still", lambda: self._autoscaler() == ("False", "ScalingDisabled"))
        autoscaler = self.kubectl.get("hpa", "llm-chat")
        policy = autoscaler["spec"]["behavior"]["scaleUp"]["selectPolicy"]
        expect(policy == "Disabled", f"the autoscaler's scale-up is {policy}, not Disabled")
        said = next(each for each in autoscaler["status"]["conditions"] if each["type"] == "ScalingActive")
        print(f"    autoscaler: selectPolicy {policy}; {said['reason']}: {said['message']}")
        self._stands()

    def survive(self) -> None:
        """The operator's death changes nothing, nor does its return."""
        journal = self._journal()
        self.operator.kill()
        line("operator", "killed with SIGKILL")
        self.denied(self.kubectl, "-n", NAMESPACE, "scale", _WORKLOAD, "--replicas=3")
        expect(self.operator.identity is None, "the operator was meant to be dead")
        self._stands()
        log = AuditLog.from_now(self.sandbox.audit_log)
        began = time.monotonic()
        self.operator.start()
        back = time.monotonic() - began
        made: list[Request] = []

        def looked_again() -> bool:
            made.extend(request for request in log.requests() if request.by_stanch)
            return {("aiincidents", ""), ("deployments", "")} <= {request.resource for request in made}

        until("the operator to look at the incident and the workload again", looked_again)
        time.sleep(_SETTLE)
        looked_again()
        touched = [request for request in made if request.writes and request.resource[0] in _WORKLOAD_KINDS]
        expect(not touched, f"the operator did again what was done: {touched}")
        expect(self._journal() == journal, "the journal is not what it was before the operator was killed")
        self._stands()
        line("operator back", f"leads again after {clock(back)} (its predecessor's lease had to run out)")
        print("    journal unchanged; writes to the workload since its return: 0")

    def attempts_seen(self) -> None:
        until("the attempts to be counted", lambda: self._contested()["count"] > 0)
        contested = self._contested()
        line("contested", f"{contested['count']} times; last: {contested['lastBy']} {contested['lastWhat']}")

    def release(self, before: dict[str, str]) -> None:
        patch = '{"spec":{"desiredState":"Released"}}'
        began = time.monotonic()
        line("release", f"kubectl patch aii {self.name} -n {NAMESPACE} --type=merge -p '{patch}'")
        self.kubectl.must("-n", NAMESPACE, "patch", "aii", self.name, "--type=merge", "-p", patch)
        until("the release", lambda: self._phase() == _RELEASED)
        until(f"{_REPLICAS} replicas to be ready again", lambda: self._ready() == _REPLICAS)
        for name, spec in self._specs().items():
            equal = spec == before[name]
            print(f"    spec of {name}, {len(spec)} bytes, equal to before: {'yes' if equal else 'NO'}")
            expect(equal, f"{name} was\n{before[name]}\nand is\n{spec}")
        expect(self.kubectl("-n", NAMESPACE, "scale", _WORKLOAD, "--replicas=3").code == 0, "still held")
        self.show("get", "aii,holds,deploy", "-n", NAMESPACE)
        line("given back", f"{_REPLICAS} replicas ready", began)

    def denied(self, kubectl: Kubectl, *arguments: str) -> None:
        said = kubectl(*arguments)
        print(f"    $ kubectl {' '.join(quoted(word) for word in arguments)}")
        print(block(said.err or said.out))
        expect(
            said.code != 0 and _HELD in said.err, f"this was not denied by the hold (exit code {said.code})"
        )

    def show(self, *arguments: str) -> None:
        print(f"    $ kubectl {' '.join(arguments)}")
        print(textwrap.indent(self.kubectl.must(*arguments).rstrip(), "      "))

    def _stands(self) -> None:
        replicas = self.kubectl.get(_WORKLOAD)["spec"]["replicas"]
        expect(replicas == 0, f"the workload asks for {replicas} replicas while it is held")
        expect(not self._pods(), "a pod runs while the workload is held")

    def _person(self, name: str) -> Kubectl:
        return Kubectl(self.kubectl.program, self.sandbox.kubeconfig_for_user(name, ["system:masters"]))

    def _ready(self) -> int:
        return int(self.kubectl.get(_WORKLOAD)["status"].get("readyReplicas", 0))

    def _pods(self) -> list[Any]:
        pods = self.kubectl.get("pods", "-l", "app=llm-chat")["items"]
        return [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def _phase(self) -> str:
        if not self.name:
            self.name = next((each["metadata"]["name"] for each in self.kubectl.get("aii")["items"]), "")
        if not self.name:
            return ""
        return str(self.kubectl.get("aii", self.name).get("status", {}).get("phase", ""))

    def _journal(self) -> Any:
        status = self.kubectl.get("aii", self.name)["status"]
        told = ("contestedAt", "message")  # who fought it may be told later; what was done may not change
        return [
            {key: value for key, value in step.items() if key not in told} for step in status["steps"]
        ], status["plan"]

    def _contested(self) -> Any:
        status = self.kubectl.get("aii", self.name)["status"]
        return status.get("contested") or {"count": 0}

    def _autoscaler(self) -> tuple[str, str]:
        conditions = self.kubectl.get("hpa", "llm-chat").get("status", {}).get("conditions", [])
        active = [each for each in conditions if each["type"] == "ScalingActive"]
        return (active[0]["status"], active[0]["reason"]) if active else ("", "")

    def _specs(self) -> dict[str, str]:
        both = {"Deployment llm-chat": _WORKLOAD, "HorizontalPodAutoscaler llm-chat": "hpa/llm-chat"}
        return {
            said: json.dumps(self.kubectl.get(what)["spec"], sort_keys=True) for said, what in both.items()
        }

    def _described(self) -> str:
        log = self.operator.log.read_text().splitlines()[-10:]
        return "\n".join([self.kubectl("-n", NAMESPACE, "describe", "aii", self.name).out, *log])


def line(name: str, said: str, began: float | None = None) -> None:
    took = "" if began is None else clock(time.monotonic() - began)
    print(f"▸ {name:14} {said:70} {took}".rstrip(), flush=True)


def block(text: str) -> str:
    width = max(60, shutil.get_terminal_size((120, 24)).columns)
    indent = "      "
    return "\n".join(
        textwrap.fill(
            each,
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for each in text.strip().splitlines()
    )


def quoted(word: str) -> str:
    return f"'{word}'" if "{" in word else word


def expect(kept: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not kept:
        raise BrokenPromiseError(otherwise)


def until(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        expect(time.monotonic() < deadline, f"waited {_PATIENCE:g} s for {what}")
        time.sleep(0.1)


def prepare() -> Demo:
    programs = binaries.find()
    former = Sandbox.attach(stanch.DEMO_DIRECTORY)
    if former is not None:
        former.remove()
    began = time.monotonic()
    real = real_node_available()
    sandbox = stanch.start(
        stanch.DEMO_DIRECTORY, real_node=None if "SANDBOX_NODE" in os.environ else bool(real)
    )
    version = binaries.minor(programs[versions.APISERVER])
    node = "a real node" if sandbox.node else "KWOK nodes"
    line("control plane", f"kube-apiserver {version} · controller-manager · scheduler · etcd · {node}", began)
    if not sandbox.node:
        line("node", real.reason or "KWOK's, as SANDBOX_NODE says")
    began = time.monotonic()
    installation = stanch.install(sandbox)
    line("stanch", "CRDs, roles, admission policies; operator runs as its own account", began)
    return Demo(sandbox, installation.operator, Kubectl(sandbox.kubectl, sandbox.admin_kubeconfig))


def main() -> int:
    try:
        demo = prepare()
        with watching(demo.sandbox) as demo.guard:
            told = "Prometheus, Alertmanager" if demo.guard else "not installed: the incident is made by hand"
            line("monitoring", told, demo.began)
            demo.tell()
    except (BrokenPromiseError, SandboxError) as error:
        print(
            f"✗ {error}\nLeft as it is for a look, in {stanch.DEMO_DIRECTORY}; make down ends it.",
            file=sys.stderr,
        )
        return 1
    print(f"""
Try it yourself; it is left running, make down ends it:
  export KUBECONFIG={demo.sandbox.admin_kubeconfig} PATH={demo.sandbox.kubectl.parent}:$PATH
  kubectl describe aii -n {NAMESPACE} {demo.name}
  kubectl apply -f manifests/samples/toxic-output.yaml
  kubectl get aii,holds,deploy,hpa -A""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
