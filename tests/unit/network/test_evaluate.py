"""What people are told about the traffic that is still allowed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from stanch.network import holes
from stanch.network.evaluate import evaluate
from stanch.network.facts import NamedPort, PodFacts
from stanch.network.models import Direction, NetworkPolicy, Peer, Port, Protocol
from stanch.network.selectors import LabelSelector

if TYPE_CHECKING:
    from tests.unit.network.made import Json

POD = PodFacts("chat", "llm-0", {"app": "llm"}, ports=(NamedPort("metrics", Protocol.TCP, 9090),))
PROMETHEUS = LabelSelector(match_labels={"app": "prometheus"})
SCRAPER = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app": "prometheus"}},
}


def policy(name: str = "web", **spec: Any) -> NetworkPolicy:
    return NetworkPolicy.parse({"metadata": {"name": name, "namespace": "chat"}, "spec": spec})


def leaks(*policies: NetworkPolicy, direction: Direction, open_on_purpose: list[holes.Hole]) -> list[str]:
    found = evaluate(policies, [POD], directions=[direction], holes=open_on_purpose)
    return [leak.text for leak in found.leaks]


def egress(*policies: NetworkPolicy, open_on_purpose: tuple[holes.Hole, ...] = ()) -> list[str]:
    return leaks(*policies, direction=Direction.EGRESS, open_on_purpose=list(open_on_purpose))


def ingress(*policies: NetworkPolicy, open_on_purpose: tuple[holes.Hole, ...] = ()) -> list[str]:
    return leaks(*policies, direction=Direction.INGRESS, open_on_purpose=list(open_on_purpose))


def test_a_pod_that_no_policy_selects_is_open() -> None:
    other = policy(podSelector={"matchLabels": {"app": "other"}}, policyTypes=["Egress"])
    only_ingress = policy(podSelector={}, policyTypes=["Ingress"])

    assert egress(other, only_ingress) == ["no NetworkPolicy restricts egress"]


def test_a_policy_of_another_namespace_selects_nobody_here() -> None:
    elsewhere = NetworkPolicy.parse(
        {"metadata": {"name": "deny", "namespace": "elsewhere"}, "spec": {"policyTypes": ["Egress"]}}
    )

    assert egress(elsewhere) == ["no NetworkPolicy restricts egress"]


def test_a_deny_all_beside_an_allow_changes_nothing() -> None:
    deny = policy("deny", podSelector={}, policyTypes=["Ingress", "Egress"])
    allow = policy("allow", podSelector={"matchLabels": {"app": "llm"}}, policyTypes=["Egress"], egress=[{}])

    assert egress(deny) == []
    assert egress(deny, allow) == ["NetworkPolicy allow allows egress to everyone on every port"]


def test_each_kind_of_peer_and_port_is_told() -> None:
    peers = [
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        {"podSelector": {"matchLabels": {"app": "db"}}},
        SCRAPER,
        {"namespaceSelector": {}},
    ]
    ports = [{"port": 80}, {"port": 1, "endPort": 9}, {"protocol": "UDP"}, {"port": "http"}]

    assert egress(policy(policyTypes=["Egress"], egress=[{"to": peers, "ports": ports}])) == [
        (
            "NetworkPolicy web allows egress to 10.0.0.0/8 except 10.1.0.0/16, "
            "pods with app=db of this namespace, "
            "pods with app=prometheus of namespaces with kubernetes.io/metadata.name=monitoring "
            "and 1 more peers on TCP 80, TCP 1-9, every UDP port and 1 more port ranges"
        )
    ]


DNS_RULE = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def test_dns_is_no_leak_when_it_was_opened_on_purpose() -> None:
    allow = policy(policyTypes=["Egress"], egress=[DNS_RULE])

    assert egress(allow, open_on_purpose=(holes.dns(),)) == []
    assert len(egress(allow)) == 1
    assert len(egress(allow, open_on_purpose=(holes.dns(ports=[5353]),))) == 1


@pytest.mark.parametrize(
    "wider",
    [
        pytest.param({"to": DNS_RULE["to"]}, id="other ports of the DNS pods"),
        pytest.param(
            {"to": [{"namespaceSelector": {}}], "ports": DNS_RULE["ports"]}, id="port 53 of all pods"
        ),
        pytest.param({"ports": DNS_RULE["ports"]}, id="port 53 outside the cluster"),
    ],
)
def test_more_than_dns_is_a_leak(wider: Json) -> None:
    assert egress(policy(policyTypes=["Egress"], egress=[wider]), open_on_purpose=(holes.dns(),))


@pytest.mark.parametrize(
    ("opened", "allowed"), [(9090, "metrics"), ("metrics", 9090), ("metrics", "metrics")]
)
def test_scraping_is_no_leak_whether_the_port_is_named_or_numbered(
    opened: int | str, allowed: int | str
) -> None:
    allow = policy(policyTypes=["Ingress"], ingress=[{"from": [SCRAPER], "ports": [{"port": allowed}]}])

    assert ingress(allow, open_on_purpose=(holes.scraping("monitoring", PROMETHEUS, opened),)) == []
    assert ingress(allow, open_on_purpose=(holes.scraping("elsewhere", PROMETHEUS, opened),))


def test_a_port_name_that_the_pod_does_not_have_lets_nothing_in() -> None:
    allow = policy(policyTypes=["Ingress"], ingress=[{"ports": [{"port": "http"}]}])

    assert ingress(allow) == []


def test_two_holes_together_may_cover_what_neither_does_alone() -> None:
    block = Peer.model_validate({"ipBlock": {"cidr": "10.0.0.0/8"}})
    halves = tuple(
        holes.named("half", Direction.EGRESS, [Peer.model_validate({"ipBlock": {"cidr": cidr}})])
        for cidr in ("10.0.0.0/9", "10.128.0.0/9")
    )
    allow = policy(policyTypes=["Egress"], egress=[{"to": [block.wire()]}])

    assert egress(allow, open_on_purpose=halves) == []
    assert egress(allow, open_on_purpose=halves[:1])


DATABASE = {"podSelector": {"matchLabels": {"app": "db"}}}


def to_database(*ports: Json) -> tuple[holes.Hole, ...]:
    """One hole for each of the ports."""
    peer = Peer.model_validate(DATABASE)
    return tuple(
        holes.named("database", Direction.EGRESS, [peer], [Port.model_validate(port)]) for port in ports
    )


@pytest.mark.parametrize(
    ("allowed", "opened", "covered"),
    [
        pytest.param({"port": 5432}, [{"port": 5432}], True, id="the same number"),
        pytest.param({"port": 5432}, [{"port": 5432, "protocol": "UDP"}], False, id="another protocol"),
        pytest.param({"port": "sql"}, [{"port": "sql"}], True, id="the same name"),
        pytest.param({"port": "sql"}, [{"port": "web"}], False, id="another name"),
        pytest.param({"port": "sql"}, [{"port": "sql", "protocol": "UDP"}], False, id="a name of UDP"),
        pytest.param({"port": "sql"}, [{"port": 5432}], False, id="a name may be any number"),
        pytest.param({"port": 5432}, [{"port": "sql"}], False, id="a number may have any name"),
        pytest.param({"port": "sql"}, [{}], True, id="a name among all ports"),
        pytest.param({"port": 1, "endPort": 9}, [{"port": 1, "endPort": 5}], False, id="half a range"),
        pytest.param(
            {"port": 1, "endPort": 9},
            [{"port": 5, "endPort": 20}, {"port": 1, "endPort": 4}],
            True,
            id="a range in two",
        ),
        pytest.param(
            {}, [{"port": 1, "endPort": 80}, {"port": 82, "endPort": 65535}], False, id="all but 81"
        ),
        pytest.param({}, [{"port": 1, "endPort": 80}, {"port": 81, "endPort": 65535}], True, id="all in two"),
        pytest.param(
            {"port": "sql"},
            [{"port": 1, "endPort": 80}, {"port": 81, "endPort": 65535}],
            True,
            id="any number",
        ),
    ],
)
def test_ports_lie_within_ports(allowed: Json, opened: list[Json], covered: bool) -> None:  # noqa: FBT001 - a table
    allow = policy(policyTypes=["Egress"], egress=[{"to": [DATABASE], "ports": [allowed]}])

    assert (egress(allow, open_on_purpose=to_database(*opened)) == []) == covered


def test_every_port_is_more_than_the_ports_of_all_protocols() -> None:
    """ICMP has none."""
    all_protocols = to_database({"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"})

    assert egress(policy(policyTypes=["Egress"], egress=[{"to": [DATABASE]}]), open_on_purpose=all_protocols)


def test_a_peer_that_cannot_exist_is_no_leak() -> None:
    nobody = {
        "podSelector": {
            "matchExpressions": [
                {"key": "a", "operator": "Exists"},
                {"key": "a", "operator": "DoesNotExist"},
            ]
        }
    }
    nowhere = {
        "namespaceSelector": {
            "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "DoesNotExist"}]
        }
    }

    assert egress(policy(policyTypes=["Egress"], egress=[{"to": [nobody, nowhere]}])) == []


def test_a_hole_for_nobody_in_particular_is_refused() -> None:
    with pytest.raises(ValueError, match="names no peer"):
        holes.named("all", Direction.EGRESS, [], [Port(protocol=Protocol.TCP, port=80)])


def test_pods_alike_are_told_together_and_those_on_the_node_s_network_apart() -> None:
    pods = [PodFacts("chat", name, {"app": "llm", "pod": name}, host_network=name == "c") for name in "abc"]
    allow = policy(
        podSelector={"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": ["c"]}]},
        policyTypes=["Egress"],
        egress=[{}],
    )

    found = evaluate([allow], pods, directions=[Direction.EGRESS])

    assert [(one.policy, one.pods) for one in found.leaks] == [("web", ("a", "b")), (None, ("c",))]
    assert found.host_network == ("c",)


def test_a_policy_of_a_thousand_rules_is_judged_at_once() -> None:
    rules = [
        {
            "to": [
                {"ipBlock": {"cidr": f"10.{number // 256}.{number % 256}.0/24"}},
                {"podSelector": {"matchLabels": {f"key-{number}": "v"}}},
            ],
            "ports": [{"port": number + 1, "endPort": number + 500}, {"port": f"p{number}"}],
        }
        for number in range(1000)
    ]
    allow = policy(policyTypes=["Egress"], egress=rules)
    pods = [PodFacts("chat", f"llm-{number}", {"app": "llm"}) for number in range(500)]

    started = time.monotonic()
    found = evaluate([allow], pods, holes=[holes.dns()])

    assert len(found.leaks) == 1001  # ingress is open as well
    assert time.monotonic() - started < 10
