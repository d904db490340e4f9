"""What the network policy code assumes of the API server is so: what it takes, refuses and stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stanch.network import holes
from stanch.network.isolate import Isolation, isolation_policy, possible_leaks
from stanch.network.models import Direction, NetworkPolicy, Peer, read_policies
from stanch.network.override import neutralise
from stanch.network.parsing import Unreadable
from stanch.network.selectors import LabelSelector
from stanch.plans.changes import back, forward

if TYPE_CHECKING:
    from tests.cluster import Kubectl

Json = dict[str, Any]

ANYONE: Json = {"podSelector": {}}
BLOCK: Json = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
WORKLOAD = Isolation(
    LabelSelector.model_validate(
        {
            "matchLabels": {"app": "llm"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["gpu", "cpu"]}],
        }
    ),
    frozenset({Direction.EGRESS}),
    (holes.dns(), holes.named("office", Direction.EGRESS, [Peer.model_validate(BLOCK)])),
)


def policy(**spec: Any) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {"podSelector": {}, **spec},
    }


def ports(*some: Json) -> Json:
    return policy(ingress=[{"ports": list(some)}])


def peers(*some: Json) -> Json:
    return policy(ingress=[{"from": list(some)}])


def selecting(**expression: Any) -> Json:
    return policy(podSelector={"matchExpressions": [expression]})


UNDERSTOOD = {
    "nothing said": {**policy(), "spec": {}},
    "defaults": policy(egress=[{}]),
    "every kind of port": ports({"port": 80}, {"port": 1, "endPort": 9}, {"protocol": "SCTP"}, {"port": "h"}),
    "every kind of peer": peers(
        ANYONE, {"namespaceSelector": {}}, {**ANYONE, "namespaceSelector": {}}, BLOCK
    ),
    "IPv6": peers({"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}}),
    "every operator": policy(
        podSelector={
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["x"]},
                {"key": "a", "operator": "NotIn", "values": ["y"]},
                {"key": "b", "operator": "Exists"},
                {"key": "b", "operator": "DoesNotExist"},
            ]
        }
    ),
}
REFUSED = {
    "an unknown operator": selecting(key="a", operator="Gt", values=["1"]),
    "In without values": selecting(key="a", operator="In"),
    "Exists with values": selecting(key="a", operator="Exists", values=["x"]),
    "no key": selecting(operator="Exists"),
    "endPort without port": ports({"endPort": 9}),
    "endPort of a name": ports({"port": "http", "endPort": 9}),
    "endPort before port": ports({"port": 9, "endPort": 8}),
    "port 0": ports({"port": 0}),
    "port 65536": ports({"port": 65536}),
    "a number as a name": ports({"port": "80"}),
    "a long name": ports({"port": "a-name-much-too-long"}),
    "an unknown protocol": ports({"protocol": "ICMP"}),
    "an empty peer": peers({}),
    "two kinds of peer": peers({**ANYONE, **BLOCK}),
    "except elsewhere": peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
    "except everything": peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
    "except of the other version": peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/16"]}}),
    "no CIDR": peers({"ipBlock": {"cidr": "10.0.0.0"}}),
    "an unknown direction": policy(policyTypes=["Forward"]),
}


def apply(kubectl: Kubectl, namespace: str, body: Json, *more: str) -> tuple[int, Json, str]:
    said = kubectl("create", "-n", namespace, "-f", "-", "-o", "json", *more, stdin=json.dumps(body))
    return said.returncode, json.loads(said.stdout) if said.returncode == 0 else {}, said.stderr


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_what_we_read_the_api_server_takes_and_defaults_as_we_do(
    kubectl: Kubectl, namespace: str, case: str
) -> None:
    code, stored, told = apply(kubectl, namespace, UNDERSTOOD[case], "--dry-run=server")

    assert code == 0, told
    assert NetworkPolicy.parse(UNDERSTOOD[case]).directions == NetworkPolicy.parse(stored).directions


@pytest.mark.parametrize("case", REFUSED)
def test_what_we_refuse_the_api_server_refuses(kubectl: Kubectl, namespace: str, case: str) -> None:
    with pytest.raises(Unreadable):
        NetworkPolicy.parse(REFUSED[case])
    assert apply(kubectl, namespace, REFUSED[case], "--dry-run=server")[0] != 0


def test_override_is_taken_as_it_is_written_and_given_back_to_the_byte(
    kubectl: Kubectl, namespace: str
) -> None:
    for number, body in enumerate(UNDERSTOOD.values()):
        named = {**body, "metadata": {"name": f"policy-{number}"}}
        assert apply(kubectl, namespace, named)[0] == 0
    both = policy(policyTypes=["Ingress", "Egress"], ingress=[{}], egress=[{}])
    assert apply(kubectl, namespace, both)[0] == 0
    nobody_else = policy(
        podSelector={"matchLabels": {"app": "llm", "tier": "gpu"}}, policyTypes=["Egress"], egress=[{}]
    )
    assert apply(kubectl, namespace, {**nobody_else, "metadata": {"name": "ours-alone"}})[0] == 0
    before = specs(kubectl, namespace)

    own = isolation_policy(
        WORKLOAD, base="llm", namespace=namespace, labels={"stanch.dev/x": "y"}, annotations={}
    )
    assert apply(kubectl, namespace, own)[1]["spec"] == own["spec"]
    policies, unreadable = read_policies(stored(kubectl, namespace))
    assert not unreadable
    done = neutralise(policies, [WORKLOAD], base="llm", labels={"stanch.dev/x": "y"}, annotations={})
    assert {edit.policy.name for edit in done.edits} == {"policy-1", "web", "ours-alone"}
    assert not done.refusals
    for edit in done.edits:
        for addition in edit.additions:
            assert apply(kubectl, namespace, addition)[1]["spec"] == addition["spec"]
        patch(kubectl, namespace, edit.policy.name, forward([edit.change], edit.policy.raw))

    assert possible_leaks(read_policies(stored(kubectl, namespace))[0], WORKLOAD) == ()

    now = {body["metadata"]["name"]: body for body in stored(kubectl, namespace)}
    for edit in done.edits:
        patch(kubectl, namespace, edit.policy.name, back([edit.change], now[edit.policy.name]).ops)
        for addition in edit.additions:
            kubectl("delete", "netpol", "-n", namespace, addition["metadata"]["name"], check=True)
    kubectl("delete", "netpol", "-n", namespace, own["metadata"]["name"], check=True)
    assert specs(kubectl, namespace) == before


def stored(kubectl: Kubectl, namespace: str) -> list[Json]:
    items: list[Json] = json.loads(
        kubectl("get", "netpol", "-n", namespace, "-o", "json", check=True).stdout
    )["items"]
    return items


def specs(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    return {
        body["metadata"]["name"]: json.dumps(body["spec"], sort_keys=True)
        for body in stored(kubectl, namespace)
    }


def patch(kubectl: Kubectl, namespace: str, name: str, ops: list[Json]) -> None:
    kubectl("patch", "netpol", "-n", namespace, name, "--type=json", "-p", json.dumps(ops), check=True)
