"""Isolate on a real API server: what policies allow before, while held, and after."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stanch.network.evaluate import evaluate
from stanch.network.facts import PodFacts
from stanch.network.models import read_policies
from tests.operator_process import condition, eventually, operator, shape, workload, workspace

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

__all__ = ["operator", "workspace"]  # fixtures

LLM = "Deployment/llm-chat"
ANYONE: Json = {"podSelector": {}}


def policy(name: str, selector: Json | None = None, **spec: Any) -> Json:
    """Lets everyone of the namespace in, and out to everyone, unless `spec` says otherwise."""
    default = {
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [ANYONE]}],
        "egress": [{"to": [ANYONE]}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": selector or {}, **(spec or default)},
    }


def pod(workspace: Space, **labels: str) -> PodFacts:
    return PodFacts(namespace=workspace.name, name="-".join(labels.values()), labels=labels)


def allowed(workspace: Space, of: PodFacts) -> list[str]:
    """What the policies as they are now allow a pod, in words: equal words, equal traffic."""
    policies, unreadable = read_policies(workspace.get("networkpolicies")["items"])
    assert not unreadable
    found = evaluate(policies, [of]).allowances
    return sorted({f"{one.direction} {one.text.split(' allows ')[-1]}" for one in found})


def policies(workspace: Space) -> dict[str, str]:
    """Every byte of them that is not the server's own."""
    return {
        one["metadata"]["name"]: json.dumps(
            [one["spec"], one["metadata"].get("labels"), one["metadata"].get("annotations")], sort_keys=True
        )
        for one in workspace.get("networkpolicies")["items"]
    }


def step(**isolate: Any) -> Json:
    return {"steps": [{"isolate": isolate}]}


@pytest.fixture
def llm(workspace: Space) -> Space:
    workspace.create(workload("Deployment", "llm-chat", 2))
    workspace.running("Deployment", "llm-chat", 2)
    return workspace


@pytest.mark.compatibility("isolate")
def test_a_deployment_is_cut_off_held_and_given_back(llm: Space) -> None:
    before = shape(llm.get("deployment", "llm-chat"))

    status = llm.contain("toxic", LLM, **step())
    assert allowed(llm, pod(llm, app="llm-chat")) == []
    assert status["steps"][0]["state"] == "Effective"
    assert "no ingress or egress is allowed" in status["steps"][0]["message"]
    assert "enforcement: Unknown" in status["steps"][0]["message"]
    assert "connections that were open may live on" in status["summary"]
    assert len(llm.pods()) == 2
    (ours,) = policies(llm)
    assert "held by AIIncident toxic" in llm.refused("delete", "networkpolicy", ours)
    assert "held by AIIncident toxic" in llm.refused("delete", "networkpolicies", "--all")
    opened = '{"spec":{"ingress":[{}]}}'
    assert "what Stanch wrote" in llm.refused("patch", "networkpolicy", ours, "--type=merge", "-p", opened)
    assert "held by AIIncident toxic" in llm.refused("delete", "deployment", "llm-chat")

    status = llm.release("toxic")
    assert policies(llm) == {}
    assert shape(llm.get("deployment", "llm-chat")) == before
    assert condition(status, "Released")["status"] == "True"
    assert llm.get("holds")["items"] == []


def helm(name: str, replicas: int = 1, **spec: Any) -> Json:
    """A workload as charts make it: selected by two labels, one of which others have as well."""
    made = workload("Deployment", name, replicas, **spec)
    labels = {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/name": name}
    made["spec"]["selector"]["matchLabels"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    return made


def chart_pod(workspace: Space, name: str, **more: str) -> PodFacts:
    labels = {"app.kubernetes.io/instance": "chat", "app.kubernetes.io/name": name}
    return pod(workspace, **(labels | more))


def message(status: Json, number: int = 0) -> str:
    said: str = status["steps"][number]["message"]
    return said


def state(workspace: Space, incident: str, number: int = 0) -> str:
    steps = workspace.status(incident).get("steps") or []
    return steps[number]["state"] if len(steps) > number else ""


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet"])
@pytest.mark.compatibility("isolate")
def test_every_kind_of_workload_is_cut_off_and_given_back(workspace: Space, kind: str) -> None:
    workspace.create(workload(kind, "llm", 1))
    workspace.create(policy("everyone"))
    before = policies(workspace), shape(workspace.get(kind, "llm"))

    workspace.contain("toxic", f"{kind}/llm", **step(others="Override"))
    assert allowed(workspace, pod(workspace, app="llm")) == []
    workspace.release("toxic")
    assert (policies(workspace), shape(workspace.get(kind, "llm"))) == before


def job() -> Json:
    container = {"name": "train", "image": "registry.example.test/train:1"}
    return {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}


def batch(kind: str, name: str) -> Json:
    spec = job() if kind == "Job" else {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job()}}
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_a_job_is_cut_off_by_the_selector_it_was_given_and_a_cronjob_is_refused(workspace: Space) -> None:
    workspace.create(batch("Job", "train"))
    workspace.create(batch("CronJob", "nightly"))
    workspace.create(policy("everyone"))
    before = policies(workspace)
    target = {"apiVersion": "batch/v1", "kind": "Job", "name": "train"}

    workspace.contain("toxic", targets=[target], **step(others="Override"))
    eventually(lambda: len(workspace.pods()) == 1, "the Job has its pod")
    (labels,) = [each["metadata"]["labels"] for each in workspace.pods()]
    assert allowed(workspace, pod(workspace, **labels)) == []
    workspace.release("toxic")
    assert policies(workspace) == before

    workspace.incident("nightly", targets=[{**target, "kind": "CronJob", "name": "nightly"}], **step())
    refused = workspace.wait_phase("nightly", "Rejected")
    assert refused["steps"][0]["reason"] == "KindNotSelectable"
    assert "name the Job that runs" in refused["summary"]


def test_what_others_allow_is_listed_and_a_change_of_it_is_seen_at_once(llm: Space) -> None:
    llm.create(policy("web", {"matchLabels": {"app": "llm-chat"}}, ingress=[{"ports": [{"port": 8000}]}]))
    llm.create(policy("unrelated", {"matchLabels": {"app": "other"}}))
    before = policies(llm)

    llm.incident("toxic", LLM, **step())
    failed = llm.wait_phase("toxic", "ContainmentFailed")
    assert failed["steps"][0]["reason"] == "StillAllowed"
    assert "NetworkPolicy web allows ingress from everyone on TCP 8000" in message(failed)
    assert "unrelated" not in message(failed)

    llm("delete", "networkpolicy", "web")
    llm.wait_phase("toxic", "Contained", within=10)
    llm.create(policy("back", {"matchLabels": {"app": "llm-chat"}}, egress=[{}], policyTypes=["Egress"]))
    status = llm.wait_phase("toxic", "ContainmentFailed", within=10)
    assert "NetworkPolicy back allows egress to everyone on every port" in message(status)
    assert status["contested"]["count"] == 1

    llm("delete", "networkpolicy", "back")
    llm.wait_phase("toxic", "Contained", within=10)
    llm.release("toxic")
    assert {name: text for name, text in before.items() if name != "web"} == policies(llm)


def test_one_direction_leaves_the_other_as_it_was(llm: Space) -> None:
    llm.create(policy("everyone"))
    before = allowed(llm, pod(llm, app="llm-chat"))
    llm.contain("toxic", LLM, **step(direction=["Egress"], others="Override"))
    assert allowed(llm, pod(llm, app="llm-chat")) == [one for one in before if one.startswith("Ingress")]
    assert allowed(llm, pod(llm, app="web")) == before


def test_what_is_allowed_on_purpose_stays_open_and_nothing_else(llm: Space) -> None:
    monitoring = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    allow = {
        "dns": True,
        "metrics": {"namespaceSelector": monitoring, "port": "metrics"},
        "peers": [
            {"direction": ["Egress"], "ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {
                "direction": ["Ingress"],
                "podSelector": {"matchExpressions": [{"key": "role", "operator": "In", "values": ["lab"]}]},
                "ports": [{"port": 8000, "endPort": 8010}, {"protocol": "UDP"}],
            },
        ],
    }
    status = llm.contain("toxic", LLM, **step(allow=allow))
    assert "no ingress or egress is allowed but DNS, metrics, peer 0, peer 1" in message(status)
    facts = PodFacts.parse(
        {
            "metadata": {"name": "llm", "namespace": llm.name, "labels": {"app": "llm-chat"}},
            "spec": {"containers": [{"ports": [{"name": "metrics", "containerPort": 9090}]}]},
        }
    )
    there = "namespaces with kubernetes.io/metadata.name="
    assert allowed(llm, facts) == [
        "Egress egress to 10.0.0.0/8 except 10.1.0.0/16 on every port",
        f"Egress egress to pods with k8s-app=kube-dns of {there}kube-system on UDP 53, TCP 53",
        f"Ingress ingress from all pods of {there}monitoring on TCP 9090",
        "Ingress ingress from pods with role in (lab) of this namespace on TCP 8000-8010, every UDP port",
    ]


def test_pods_that_share_their_nodes_network_are_said_to_be_out_of_reach(workspace: Space) -> None:
    workspace.create(workload("Deployment", "llm-chat", 1, pod={"hostNetwork": True}))
    workspace.incident("toxic", LLM, **step())
    status = workspace.wait_phase("toxic", "ContainmentFailed")
    assert status["steps"][0]["reason"] == "HostNetwork"
    assert "NetworkPolicies do not apply" in message(status)


def test_override_takes_out_one_workload_and_changes_nothing_for_another(workspace: Space) -> None:
    workspace.create(helm("llm-chat"))
    workspace.create(policy("everyone"))
    workspace.create(policy("chart", {"matchLabels": {"app.kubernetes.io/instance": "chat"}}))
    workspace.create(policy("web", {"matchLabels": {"app.kubernetes.io/name": "web"}}))
    everyone_else = [
        chart_pod(workspace, "web"),
        chart_pod(workspace, "llm-chat", **{"app.kubernetes.io/instance": "other"}),
        pod(workspace, app="unlabelled"),
    ]
    original = policies(workspace)
    before = [allowed(workspace, each) for each in everyone_else]

    status = workspace.contain("toxic", LLM, **step(others="Override"))
    assert allowed(workspace, chart_pod(workspace, "llm-chat")) == []
    assert allowed(workspace, chart_pod(workspace, "llm-chat", born="later")) == []
    assert [allowed(workspace, each) for each in everyone_else] == before
    assert policies(workspace)["web"] == original["web"]
    assert "NetworkPolicy everyone leaves the pods out" in status["plan"]["steps"][0]["diff"]

    workspace.release("toxic")
    assert policies(workspace) == original


def test_held_policies_are_kept_from_everybody_and_a_new_one_is_neutralised(workspace: Space) -> None:
    workspace.create(helm("llm-chat"))
    manifest = policy("everyone")
    workspace("apply", "-f", "-", stdin=manifest)
    workspace.contain("toxic", LLM, **step(others="Override"))

    gitops = ("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-")
    assert "held by AIIncident toxic" in workspace.refused(*gitops, stdin=manifest)
    workspace(
        "apply", "-f", "-", stdin=manifest
    )  # which sends what differs from what it applied last: nothing
    assert "held by AIIncident toxic" in workspace.refused("replace", "--force", "-f", "-", stdin=manifest)
    for name in policies(workspace):
        assert "held by AIIncident toxic" in workspace.refused("delete", "networkpolicy", name)
    label = '{"metadata":{"labels":{"stanch.dev/held":null}}}'
    assert "stays until" in workspace.refused(
        "patch", "networkpolicy", "everyone", "--type=merge", "-p", label
    )
    workspace("annotate", "networkpolicy", "everyone", "owner=chat")

    late = policy("late", {"matchLabels": {"app.kubernetes.io/name": "llm-chat"}}, ingress=[{}])
    workspace.create(late)
    eventually(
        lambda: allowed(workspace, chart_pod(workspace, "llm-chat")) == [], "it is neutralised too", within=10
    )
    workspace.wait_phase("toxic", "Contained")
    assert "held by AIIncident toxic" in workspace.refused("delete", "networkpolicy", "late")
    workspace.release("toxic")
    after = {one["metadata"]["name"]: one["spec"] for one in workspace.get("networkpolicies")["items"]}
    assert set(after) == {"everyone", "late"}
    assert after["everyone"] == manifest["spec"]
    assert after["late"] == late["spec"] | {"policyTypes": ["Ingress"]}


def test_two_workloads_in_one_incident_leave_the_policy_that_selects_both(workspace: Space) -> None:
    workspace.create(helm("llm-chat"))
    workspace.create(helm("embedder"))
    workspace.create(policy("everyone"))
    everyone_else = [
        chart_pod(workspace, "web"),
        chart_pod(workspace, "embedder", **{"app.kubernetes.io/instance": "other"}),
        pod(workspace, app="unlabelled"),
    ]
    original = policies(workspace)
    before = [allowed(workspace, each) for each in everyone_else]

    workspace.contain("toxic", LLM, "Deployment/embedder", **step(others="Override"))
    for name in ("llm-chat", "embedder"):
        assert allowed(workspace, chart_pod(workspace, name)) == [], name
    assert [allowed(workspace, each) for each in everyone_else] == before

    workspace.release("toxic")
    assert policies(workspace) == original


@pytest.mark.parametrize(("first", "last"), [("a", "b"), ("b", "a")])
def test_two_incidents_that_share_a_policy_let_go_of_it_in_either_order(
    workspace: Space, first: str, last: str
) -> None:
    workloads = {"a": "llm-chat", "b": "embedder"}
    for name in workloads.values():
        workspace.create(helm(name))
    workspace.create(policy("everyone"))
    others = [chart_pod(workspace, "web"), pod(workspace, app="unlabelled")]
    original = policies(workspace)
    free = allowed(workspace, chart_pod(workspace, "llm-chat"))
    before = [allowed(workspace, each) for each in others]

    def cut_off(incident: str) -> bool:
        return allowed(workspace, chart_pod(workspace, workloads[incident])) == []

    for incident, name in workloads.items():
        workspace.contain(incident, f"Deployment/{name}", **step(others="Override"))
    eventually(lambda: cut_off("a") and cut_off("b"), "both are cut off")
    for incident in workloads:
        workspace.wait_phase(incident, "Contained")
    assert [allowed(workspace, each) for each in others] == before

    workspace.release(first)
    assert cut_off(last)
    assert allowed(workspace, chart_pod(workspace, workloads[first])) == free
    assert [allowed(workspace, each) for each in others] == before
    assert workspace.status(last)["phase"] == "Contained"
    workspace.release(last)
    assert policies(workspace) == original
    assert workspace.get("holds")["items"] == []


def test_two_incidents_on_one_workload_give_back_with_the_last(llm: Space) -> None:
    llm.create(policy("everyone"))
    original = policies(llm)
    llm.contain("a", LLM, **step(others="Override"))
    llm.contain("b", LLM, **step(others="Override"))
    llm.incident("c", LLM, **step(others="Override", allow={"dns": True}))
    refused = llm.wait_phase("c", "Rejected")
    assert refused["steps"][0]["reason"] == "IsolatedOtherwise"

    llm.release("a")
    assert allowed(llm, pod(llm, app="llm-chat")) == []
    assert llm.status("b")["phase"] == "Contained"
    llm.release("b")
    assert policies(llm) == original


def test_what_an_incident_retained_is_no_obstacle_to_the_next(llm: Space) -> None:
    llm.create(policy("everyone"))
    llm.contain("a", LLM, **step(others="Override"), deletionPolicy="Retain")
    llm("delete", "aii", "a", "--timeout=60s")
    assert allowed(llm, pod(llm, app="llm-chat")) == []
    retained = policies(llm)
    assert all("stanch.dev/held" not in text for text in retained.values())

    llm.contain("b", LLM, **step(others="Override"))
    llm.release("b")
    assert policies(llm) == retained


def test_pods_with_open_connections_are_replaced_when_asked(llm: Space) -> None:
    before = {each["metadata"]["uid"] for each in llm.pods()}
    llm.contain("toxic", LLM, **step(terminateConnections=True))
    now = {each["metadata"]["uid"] for each in llm.pods() if "deletionTimestamp" not in each["metadata"]}
    assert not before & now
    (ours,) = llm.get("networkpolicies")["items"]
    since = ours["metadata"]["creationTimestamp"]
    llm.running("Deployment", "llm-chat", 2)
    assert all(each["metadata"]["creationTimestamp"] > since for each in llm.pods())
    kept = {each["metadata"]["uid"] for each in llm.pods()}
    llm.create(policy("unrelated", {"matchLabels": {"app": "other"}}))
    llm.wait_phase("toxic", "Contained")
    assert {each["metadata"]["uid"] for each in llm.pods()} == kept


LONG = "a" * 63 + ("." + "b" * 62) * 3  # 252 characters


def test_hostile_policies_and_names_break_nothing(workspace: Space) -> None:
    name = LONG[:57] + "x"
    workspace.create(workload("Deployment", name, 1))
    rules = [{"from": [{"ipBlock": {"cidr": f"10.{n // 250}.{n % 250}.0/24"}}]} for n in range(1000)]
    workspace.create(policy(LONG, ingress=rules))
    selector = {
        "matchExpressions": [
            {"key": f"key-{n}", "operator": "NotIn", "values": [f"v{m}" for m in range(50)]}
            for n in range(20)
        ]
    }
    workspace.create(policy("selects-almost-all", selector, ingress=[{}], egress=[{}]))
    workspace.create(
        policy(
            "selects-nobody",
            {
                "matchExpressions": [
                    {"key": "a", "operator": "Exists"},
                    {"key": "a", "operator": "DoesNotExist"},
                ]
            },
            ingress=[{}],
        )
    )
    workspace.create(policy("says-nothing", policyTypes=["Ingress"]))
    original = policies(workspace)

    workspace.contain(LONG, f"Deployment/{name}", **step(others="Override"))
    assert allowed(workspace, pod(workspace, app=name)) == []
    workspace.release(LONG)
    assert policies(workspace) == original
