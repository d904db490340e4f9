"""Reading policies, pods and namespaces: as the API server would, or not at all."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from stanch.network.facts import NamedPort, NamespaceFacts, PodFacts
from stanch.network.models import Direction, NetworkPolicy, Protocol, read_policies
from stanch.network.parsing import Unreadable

if TYPE_CHECKING:
    from tests.unit.network.made import Json


def policy(**spec: Any) -> Json:
    return {"metadata": {"name": "web", "namespace": "chat"}, "spec": {"podSelector": {}, **spec}}


def ingress(**rule: Any) -> Json:
    return policy(ingress=[rule])


BOTH = (Direction.INGRESS, Direction.EGRESS)


@pytest.mark.parametrize(
    ("raw", "directions"),
    [
        (policy(), (Direction.INGRESS,)),
        (policy(ingress=[{}]), (Direction.INGRESS,)),
        (policy(egress=[]), (Direction.INGRESS,)),
        (policy(egress=[{}]), BOTH),
        (policy(policyTypes=[]), (Direction.INGRESS,)),
        (policy(policyTypes=["Egress"]), (Direction.EGRESS,)),
        (policy(policyTypes=["Egress", "Ingress"]), BOTH),
        ({"metadata": {"name": "bare", "namespace": "chat"}}, (Direction.INGRESS,)),
    ],
)
def test_the_directions_are_defaulted_as_the_api_server_does(
    raw: Json, directions: tuple[Direction, ...]
) -> None:
    assert NetworkPolicy.parse(raw).directions == directions


def test_rules_of_a_direction_that_is_not_isolated_say_nothing() -> None:
    parsed = NetworkPolicy.parse(policy(policyTypes=["Egress"], ingress=[{}]))

    assert parsed.rules(Direction.INGRESS) == ()


def test_null_is_absent() -> None:
    parsed = NetworkPolicy.parse(
        policy(policyTypes=None, egress=None, ingress=[{"from": None, "ports": None}])
    )

    assert parsed.rules(Direction.INGRESS)[0].peers == ()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param(ingress(ports=[{"endPort": 90}]), "endPort 90", id="endPort without port"),
        pytest.param(ingress(ports=[{"port": "http", "endPort": 90}]), "endPort 90", id="endPort of a name"),
        pytest.param(ingress(ports=[{"port": 91, "endPort": 90}]), "endPort 90", id="endPort before port"),
        pytest.param(ingress(ports=[{"port": 0}]), "ports.0.port", id="port 0"),
        pytest.param(ingress(ports=[{"port": 65536}]), "ports.0.port", id="port beyond the last"),
        pytest.param(ingress(ports=[{"port": "80"}]), "ports.0.port", id="a number as a name"),
        pytest.param(ingress(ports=[{"port": True}]), "ports.0.port", id="no port at all"),
        pytest.param(ingress(ports=[{"port": 80, "protocol": "ICMP"}]), "protocol", id="unknown protocol"),
        pytest.param(ingress(**{"from": [{}]}), "either an ipBlock or selectors", id="empty peer"),
        pytest.param(
            ingress(**{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}),
            "either an ipBlock or selectors",
            id="two kinds of peer",
        ),
        pytest.param(ingress(**{"from": [{"serviceSelector": {}}]}), "serviceSelector", id="unknown peer"),
        pytest.param(ingress(to=[{"podSelector": {}}]), "ingress.0.to", id="`to` in an ingress rule"),
        pytest.param(policy(policyTypes=["Ingress", "Forward"]), "policyTypes.1", id="unknown direction"),
        pytest.param(policy(podSelector={"matchFields": []}), "matchFields", id="unknown selector"),
        pytest.param(policy(podSelector=[]), "podSelector", id="a list for a selector"),
        pytest.param(policy(ingress={}), "ingress", id="no list of rules"),
        pytest.param({"spec": {"podSelector": {}}}, "metadata", id="no metadata"),
        pytest.param({"metadata": []}, "metadata", id="metadata of another shape"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(raw: Json, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        NetworkPolicy.parse(raw)


@pytest.mark.parametrize(
    "block",
    [
        {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]},
        {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]},
        {"cidr": "10.0.0.0/8", "except": ["0.0.0.0/0"]},
        {"cidr": "10.0.0.0/8", "except": ["fd00::/16"]},
        {"cidr": "10.0.0.0"},
        {"cidr": "010.0.0.0/8"},
        {"cidr": "10.0.0.0/33"},
        {"cidr": "::ffff:10.0.0.0/104"},
        {"cidr": "everywhere"},
        {"cidr": 10},
        {"except": ["10.0.0.0/8"]},
    ],
)
def test_a_block_that_the_api_server_refuses_is_refused(block: Json) -> None:
    with pytest.raises(Unreadable, match="ipBlock"):
        NetworkPolicy.parse(ingress(**{"from": [{"ipBlock": block}]}))


@pytest.mark.parametrize(
    ("block", "address", "inside"),
    [
        ({"cidr": "10.0.0.7/8"}, "10.9.9.9", True),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.1.2.3", False),
        ({"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, "10.2.2.3", True),
        ({"cidr": "fd00::/8", "except": ["fd00:1::/32"]}, "fd00:2::1", True),
        ({"cidr": "fd00::/8", "except": ["fd00:1::/32"]}, "fd00:1::1", False),
        ({"cidr": "0.0.0.0/0"}, "fd00::1", False),
        ({"cidr": "::/0"}, "10.0.0.1", False),
    ],
)
def test_addresses_of_both_kinds(block: Json, address: str, inside: bool) -> None:  # noqa: FBT001 - a table
    parsed = NetworkPolicy.parse(ingress(**{"from": [{"ipBlock": block}]}))
    read = parsed.rules(Direction.INGRESS)[0].peers[0].ip_block

    assert read is not None
    assert read.contains(ip_address(address)) == inside


def test_one_policy_that_is_not_understood_does_not_hide_the_others() -> None:
    policies, unreadable = read_policies([policy(), policy(policyTypes=["Forward"]), policy()])

    assert len(policies) == 2
    assert [error.reason for error in unreadable] == ["NotUnderstood"]
    assert "NetworkPolicy web is not understood" in unreadable[0].message


def test_a_pod_with_sidecar_and_two_addresses() -> None:
    def container(name: str, number: int, **more: Any) -> Json:
        return {"name": name, "ports": [{"name": name, "containerPort": number}], **more}

    pod = PodFacts.parse(
        {
            "metadata": {"name": "llm-0", "namespace": "chat", "labels": {"app": "llm"}},
            "spec": {
                "hostNetwork": True,
                "containers": [
                    {"name": "bare"},
                    {"name": "unnamed", "ports": [{"containerPort": 1, "protocol": "UDP"}]},
                    container("http", 8000),
                ],
                "initContainers": [container("setup", 1), container("metrics", 2, restartPolicy="Always")],
            },
            "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        }
    )

    assert pod == PodFacts(
        "chat",
        "llm-0",
        {"app": "llm"},
        ips=(ip_address("10.0.0.1"), ip_address("fd00::1")),
        host_network=True,
        ports=(NamedPort("http", Protocol.TCP, 8000), NamedPort("metrics", Protocol.TCP, 2)),
    )


def test_the_least_that_an_object_may_say() -> None:
    assert PodFacts.parse({"metadata": {"name": "p"}}) == PodFacts("", "p", {})
    assert NamespaceFacts.parse({"metadata": {"name": "n", "labels": {"a": "b"}}}).labels == {"a": "b"}
    with pytest.raises(Unreadable, match="Pod p is not understood"):
        PodFacts.parse({"metadata": {"name": "p"}, "status": {"podIP": "here"}})
