"""Whatever comes to a parser: it is understood, or it is the error that the parser's documentation names. At
once, and nothing else. What a text then does where it is shown: tests/unit/reports/test_report_hostile.py.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from stanch.access.users import Runner
from stanch.actions.objects import Obj
from stanch.api.v1alpha1.hold import ContainmentHold
from stanch.api.v1alpha1.incident import AIIncident
from stanch.api.v1alpha1.policy import ContainmentPolicy
from stanch.cli.close import follow_up
from stanch.cli.session import Where
from stanch.cli.standing import at_rest, held, next_of, urgency
from stanch.cli.story import incidents_table, news, story
from stanch.cli.workloads import policy_of, target_of
from stanch.clocks import attendance
from stanch.clocks.calendar import Within
from stanch.errors import Rejected, Unavailable
from stanch.evidence import model as evidence
from stanch.evidence.timeline import Seen
from stanch.kube import transport
from stanch.kube.credentials import KubeconfigCredentials
from stanch.kube.resources import DEPLOYMENTS
from stanch.kube.translate import error_from, is_absent
from stanch.network.facts import PodFacts
from stanch.network.models import NetworkPolicy
from stanch.network.parsing import Unreadable
from stanch.observability.audit import AuditBatch, DenialFilter
from stanch.prometheus.samples import QueryFailed
from stanch.prometheus.samples import judge as judge_answer
from stanch.reports.digest import VERSION, digest_in
from stanch.signals.alertmanager import payload
from stanch.signals.alertmanager.credentials import Credentials, Presented
from stanch.verification.jobs import Run
from stanch.versions import images
from stanch.versions.condemned import condemn
from stanch.versions.models import identify, replace_value, version_places
from stanch.versions.rollout import Rolling
from tests.hostile_input import BREAKING, BREAKING_YAML, JSON, TEXTS, bodies, changed, damaged
from tests.unit.cli.made import HELD, raw
from tests.unit.evidence.collections_of_evidence import stored
from tests.unit.reports.incidents import raw as told
from tests.unit.signals.receiving import alert, notification
from tests.unit.versions.templates import env, server, template

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Json = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 14, tzinfo=UTC)
AT_ONCE = 5.0
"""Seconds of processor time for whatever comes: a parser that backtracks or expands takes hours."""


@dataclass(frozen=True)
class Parser:
    """`parse` has a directory for files. `refuses`: the errors that its documentation names."""

    parse: Callable[[Any, Path], object]
    inputs: st.SearchStrategy[Any]
    refuses: tuple[type[Exception], ...] = ()
    breaking: tuple[Any, ...] = ()

    def takes(self, given_: object, directory: Path) -> None:
        begun = time.process_time()
        with suppress(*self.refuses):
            self.parse(given_, directory)
        assert time.process_time() - begun < AT_ONCE


def audit(body: bytes, _: Path) -> None:
    for denied in DenialFilter().select(AuditBatch.model_validate_json(body)):
        assert isinstance(denied.incident, str)
        assert denied.only_replaces in {True, False}


AUDITED = {
    "kind": "EventList",
    "apiVersion": "audit.k8s.io/v1",
    "items": [
        {
            "auditID": "1",
            "stage": "ResponseComplete",
            "verb": "patch",
            "user": {"username": "eve@example.test"},
            "objectRef": {
                "apiGroup": "apps",
                "resource": "deployments",
                "namespace": "chat",
                "name": "llm-chat",
            },
            "responseStatus": {
                "code": 403,
                "message": "held by AIIncident toxic (High, Drift) at 0 replicas",
            },
            "annotations": {
                "authorization.k8s.io/decision": "allow",
                "validation.policy.admission.k8s.io/validation_failure": json.dumps(
                    [{"message": "held by AIIncident toxic (High, Drift)", "policy": "stanch-hold"}]
                ),
            },
            "stageTimestamp": "2026-01-02T03:13:02.000000Z",
        }
    ],
}


def senders(body: bytes, directory: Path) -> None:
    """The file that says who may send alerts. What cannot be read lets nobody in."""
    file = directory / "credentials.yaml"
    file.write_bytes(body)
    introduced = Credentials(file, certificates=False).introduce(Presented({"Authorization": "Bearer x"}))
    assert introduced.candidates == ()


SENDERS = {
    "credentials": [
        {"name": "alertmanager", "tokenFile": "/nowhere/token", "namespaces": ["chat"]},
        {"name": "grafana", "clientName": "grafana", "namespaces": ["chat"]},
    ]
}


def kubeconfig(body: bytes, directory: Path) -> None:
    file = directory / "kubeconfig"
    file.write_bytes(body)
    with suppress(Rejected):
        Where(kubeconfig=file).in_namespace()
    asyncio.run(KubeconfigCredentials(str(file), None).load())


LOGIN = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "chat"}}],
    "clusters": [
        {"name": "x", "cluster": {"server": "http://127.0.0.1:1", "certificate-authority-data": "eA=="}}
    ],
    "users": [{"name": "x", "user": {"token": "x"}}],
}


def incident(body: Any, _: Path) -> None:
    """Read, and shown: nothing that acts on a terminal comes through."""
    read = AIIncident.parse(body)
    assert next_of(read) is not None
    assert urgency(read)
    assert held(read) in {"", "True", "False", "Unknown"}
    assert at_rest(read) in {True, False}
    screen = Console(file=io.StringIO(), width=200)
    screen.print(incidents_table([read], NOW, all_namespaces=True, wide=True))
    screen.print(story(read, NOW))
    for line in (*screen.file.getvalue().splitlines(), *news(None, read)):  # type: ignore[attr-defined]  # StringIO
        assert line.isprintable()


POLICY = {
    "apiVersion": "stanch.dev/v1alpha1",
    "kind": "ContainmentPolicy",
    "metadata": {"name": "chat", "namespace": "chat"},
    "spec": {
        "selector": {"kinds": ["Deployment"], "matchLabels": {"app": "llm"}},
        "triggers": [
            {"name": "a", "category": "Drift", "severity": "High", "alert": {"matchers": ['alertname="A"']}},
            {
                "name": "b",
                "category": "Drift",
                "severity": "High",
                "prometheus": {"query": "x", "operator": "gt", "value": "1", "for": "5m"},
            },
        ],
        "steps": [{"scaleToZero": {}}, {"isolate": {"direction": ["Egress"]}}],
        "guardrails": {"approval": {"required": "Always"}, "capacityFloor": "50%"},
    },
}
HOLD = {
    "metadata": {"name": "stanch", "namespace": "chat"},
    "spec": {"incidents": ["toxic"], "held": {"Stopped apps/deployments/llm-chat": {"incident": "toxic"}}},
}
SERVING = template(
    server(
        image="vllm/vllm-openai:v0.9",
        command=["sh", "-c"],
        args=["vllm serve org/model --revision 'abc' \"$MODEL\""],
        env=env(MODEL="org/model", MODEL_VERSION="3", STORAGE_URI="s3://models/llm/3"),
        volumeMounts=[{"name": "weights", "mountPath": "/models"}],
    ),
    server(name="triton", args=["--model-repository=/models", "--model_name=llm", "--port", "8000"]),
    annotations={"stanch.dev/model-version": "3"},
    volumes=[{"name": "weights", "image": {"reference": "registry.example.test/weights:3"}}],
)


def versions(body: Any, _: Path) -> None:
    """Arguments of vLLM, Triton, KServe and others, variables, volumes, images."""
    for located in identify(body):
        replace_value(body, located, "next")
    version_places(body)
    condemn(body, SERVING)
    condemn(SERVING, body)


def image(text: str, _: Path) -> None:
    read = images.parse(text)
    assert images.equal(text, text)
    assert read.canonical
    assert all(isinstance(each, str) for each in read.spellings())
    images.digest_of(text)
    images.with_tag(text, "x")
    images.with_digest(text, "sha256:0")


POD = {
    "kind": "Pod",
    "metadata": {
        "name": "llm-0",
        "namespace": "chat",
        "labels": {"app": "llm"},
        "uid": "u",
        "resourceVersion": "1",
    },
    "spec": {
        "containers": [{"name": "server", "ports": [{"name": "http", "containerPort": 80}]}],
        "hostNetwork": False,
    },
    "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
}
NETWORK = {
    "metadata": {"name": "some", "namespace": "chat"},
    "spec": {
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["llm"]}]},
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 53}]}
        ],
    },
}
WORKLOAD = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "llm", "namespace": "chat", "uid": "u", "generation": 2, "resourceVersion": "1"},
    "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "llm"}}, "template": SERVING},
    "status": {
        "observedGeneration": 2,
        "replicas": 3,
        "conditions": [{"type": "Complete", "status": "True"}],
    },
}


def workload(body: Any, _: Path) -> None:
    seen = Obj(DEPLOYMENTS, body)
    assert isinstance(seen.meta.name, str)
    assert seen.observed in {True, False}
    assert Rolling.parse(body).observed in {True, False}
    assert Run.parse(body).complete in {True, False}
    Runner.parse(body)


ENTRY = {"version": "stanch.dev/timeline/v1", "incident": {"namespace": "chat", "name": "leak", "uid": "u"}}
STATUS = {
    "kind": "Status",
    "message": "no",
    "reason": "Invalid",
    "details": {"name": "x", "causes": [{"message": "why"}], "retryAfterSeconds": 1},
}
REQUEST = transport.Request("get", "pods", "get Pod chat/x", "GET", "/", {})
CODES = st.sampled_from([400, 401, 403, 404, 408, 409, 410, 413, 415, 418, 422, 429, 500, 503, 504])


def refusal(given_: tuple[int, bytes], _: Path) -> None:
    code, body = given_
    is_absent(code, body)
    assert error_from("get Pod chat/x", code, {"Retry-After": body[:20].decode("latin-1")}, body).message


ANSWER = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1767323508.1, "0.5"]}]},
}

PARSERS: Mapping[str, Parser] = {
    "a notification of Alertmanager": Parser(
        lambda body, _: payload.signals_of(payload.parse(body)),
        bodies(notification(alert("A"), alert("B", status="resolved"))),
        (payload.NotANotification,),
        BREAKING,
    ),
    "audit events": Parser(audit, bodies(AUDITED), (ValidationError,), BREAKING),
    "the file of credentials": Parser(senders, bodies(SENDERS), (), BREAKING_YAML),
    "a kubeconfig": Parser(kubeconfig, bodies(LOGIN), (Rejected,), BREAKING_YAML),
    "an answer of Prometheus": Parser(
        lambda body, _: judge_answer(200, body), bodies(ANSWER), (QueryFailed,), BREAKING
    ),
    "an answer of the API server": Parser(
        lambda body, _: transport._parse(REQUEST, body), bodies(WORKLOAD), (Unavailable,), BREAKING
    ),
    "a refusal of the API server": Parser(
        refusal, st.tuples(CODES, bodies(STATUS)), (), tuple((404, each) for each in BREAKING)
    ),
    "the manifest of evidence": Parser(
        lambda body, _: evidence.parse(body),
        bodies(json.loads(stored([b"one", b"two"]).manifest.render()))
        | damaged(stored([b"one", b"two"]).manifest.render()),
        (ValueError,),
        BREAKING,
    ),
    "an entry of a stored timeline": Parser(lambda body, _: Seen.of(body), bodies(ENTRY), (), BREAKING),
    "a report in JSON": Parser(
        lambda body, _: digest_in(body), bodies({"version": VERSION, "digest": "x"}), (ValueError,), BREAKING
    ),
    "an AIIncident": Parser(
        incident, JSON | changed(raw(conditions=[HELD])) | changed(told()), (ValidationError,)
    ),
    "a ContainmentPolicy": Parser(
        lambda body, _: ContainmentPolicy.model_validate(body), JSON | changed(POLICY), (ValidationError,)
    ),
    "a ContainmentHold": Parser(
        lambda body, _: ContainmentHold.model_validate(body).spec.entries(),
        JSON | changed(HOLD),
        (ValidationError,),
    ),
    "a pod template": Parser(versions, changed(SERVING), (ValidationError,)),
    "a reference to an image": Parser(
        image, TEXTS, (), ("/" * 10_000, ":" * 10_000, "@" * 10_000, "a" * 100_000, "a-" * 5_000 + ":")
    ),
    "a NetworkPolicy": Parser(lambda body, _: NetworkPolicy.parse(body), changed(NETWORK), (Unreadable,)),
    "a pod": Parser(lambda body, _: PodFacts.parse(body), changed(POD), (Unreadable,)),
    "a workload": Parser(workload, changed(WORKLOAD), (ValidationError,)),
    "annotation stanch.dev/reviewed-at": Parser(lambda text, _: attendance._reviewed(text, NOW), TEXTS),
    "how long a duty allows": Parser(
        lambda text, _: Within.parse(text).after(NOW), TEXTS, (ValueError,), ("P9999D", "P99M", "PT99999H")
    ),
    "a workload on the command line": Parser(lambda text, _: target_of(text), TEXTS, (ValueError,)),
    "a policy on the command line": Parser(lambda text, _: policy_of(text), TEXTS, (ValueError,)),
    "an action on the command line": Parser(lambda text, _: follow_up(text), TEXTS, (ValueError,)),
}


def fuzzed(name: str, directory: Path, examples: int) -> None:
    parser = PARSERS[name]

    @settings(max_examples=examples)
    @given(parser.inputs)
    def whatever(given_: object) -> None:
        parser.takes(given_, directory)

    whatever()


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_understood_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    fuzzed(name, tmp_path, 50)


@pytest.mark.long
@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_for_long_is_understood_or_refused_as_documented(name: str, tmp_path: Path) -> None:
    fuzzed(name, tmp_path, 1_000)


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.breaking])
def test_what_is_nested_huge_or_expands_is_refused_at_once(name: str, tmp_path: Path) -> None:
    for each in PARSERS[name].breaking:
        PARSERS[name].takes(each, tmp_path)
