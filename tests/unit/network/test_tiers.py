"""What policies of the Admin tier accept and deny before NetworkPolicies are asked, and our own denial."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.network import holes
from stanch.network.isolate import Isolation
from stanch.network.models import Direction, IPBlock, Peer, Port, Protocol
from stanch.network.selectors import LabelSelector
from stanch.network.tier_deny import ADMIN, CLUSTER, Inexpressible, deny_rules, deny_spec
from stanch.network.tiers import AdminTier

Json = dict[str, Any]
NAME = "kubernetes.io/metadata.name"
HERE = {NAME: "chat", "env": "prod"}
LLM = LabelSelector(match_labels={"app": "llm"})
EVERYBODY: Json = {"namespaces": {}}
ANYWHERE: Json = {"networks": ["0.0.0.0/0", "::/0"]}
ON_443: Json = {"protocols": [{"tcp": {"destinationPort": {"number": 443}}}]}


def isolation(*open_: holes.Hole, ways: tuple[Direction, ...] = tuple(Direction)) -> Isolation:
    return Isolation(LLM, frozenset(ways), open_)


def policy(name: str, priority: int, *, kind: str = CLUSTER, **spec: Any) -> Json:
    body = {"tier": "Admin", "priority": priority, "subject": EVERYBODY, **spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": body}


def rule(action: str, *peers: Json, way: str = "ingress", **more: Any) -> Json:
    return {way: [{"action": action, "from" if way == "ingress" else "to": [*peers] or [EVERYBODY], **more}]}


def pods(**labels: str) -> Json:
    return {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}}


def accepting(*policies: Json, opened: tuple[holes.Hole, ...] = ()) -> tuple[str, ...]:
    return AdminTier.of(policies, isolation(*opened), HERE).accepting()


ACCEPT = policy("let-in", 5, **rule("Accept"))
OUT = policy("let-out", 5, **rule("Accept", way="egress"))
MANY: tuple[Json, ...] = (pods(team="a"), {"namespaces": {"matchLabels": {"env": "test"}}})

CUT_OFF: dict[str, list[Json]] = {
    "a denial of everybody comes first": [ACCEPT, policy("no", 4, **rule("Deny"))],
    "everybody is passed on to NetworkPolicies": [ACCEPT, policy("pass", 4, **rule("Pass"))],
    "a denial stands before it in one policy": [
        policy("both", 5, ingress=[*rule("Deny")["ingress"], *rule("Accept")["ingress"]])
    ],
    "several denials take it together": [
        policy("some", 5, **rule("Accept", *MANY)),
        policy("no-a", 1, **rule("Deny", MANY[0])),
        policy("no-test", 2, **rule("Deny", MANY[1])),
    ],
    "a denial of the same port": [
        policy("https", 5, **rule("Accept", **ON_443)),
        policy("no", 4, **rule("Deny", **ON_443)),
    ],
    "every address is denied": [
        policy("out", 5, **rule("Accept", {"networks": ["10.0.0.0/8"]}, way="egress")),
        policy("no", 4, **rule("Deny", ANYWHERE, way="egress")),
    ],
    "nodes and domains have addresses": [
        policy("out", 5, **rule("Accept", {"nodes": {}}, {"domainNames": ["*.example.test"]}, way="egress")),
        policy("no", 4, **rule("Deny", ANYWHERE, way="egress")),
    ],
    "of a way out that is not understood only everything is known": [
        policy("out", 5, **rule("Accept", {"moon": {}}, way="egress")),
        policy("no", 4, **rule("Deny", EVERYBODY, ANYWHERE, way="egress")),
    ],
    "it is asked after NetworkPolicies": [policy("default", 1, **{**rule("Accept"), "tier": "Baseline"})],
    "it is about other pods": [policy("theirs", 1, **{**rule("Accept"), "subject": pods(app="other")})],
    "it is about other namespaces": [
        policy("theirs", 1, subject={"namespaces": {"matchLabels": {"env": "test"}}}, **rule("Accept"))
    ],
    "of the older kind": [
        policy("let-in", 5, kind=ADMIN, **rule("Allow", ports=[{"portNumber": {"port": 80}}])),
        policy("no", 4, kind=ADMIN, **rule("Deny", ports=[{"portRange": {"start": 1, "end": 100}}])),
    ],
}

LEFT_OPEN: dict[str, list[Json]] = {
    "nobody denies": [ACCEPT],
    "a way out": [OUT],
    "the denial comes later": [ACCEPT, policy("no", 6, **rule("Deny"))],
    "both have one priority": [ACCEPT, policy("no", 5, **rule("Deny"))],
    "in one policy it stands first": [
        policy("both", 5, ingress=[*rule("Accept")["ingress"], *rule("Deny")["ingress"]])
    ],
    "the denial is of the other API": [ACCEPT, policy("no", 1, kind=ADMIN, **rule("Deny"))],
    "the denial is about other pods": [
        ACCEPT,
        policy("no", 1, **{**rule("Deny"), "subject": pods(app="llm", tier="gpu")}),
    ],
    "the denial is of others": [ACCEPT, policy("no", 1, **rule("Deny", pods(team="a")))],
    "the denial is of another port": [
        policy("http", 5, **rule("Accept", protocols=[{"tcp": {"destinationPort": {"number": 80}}}])),
        policy("no", 4, **rule("Deny", **ON_443)),
    ],
    "the denial is in the other direction": [ACCEPT, policy("no", 1, **rule("Deny", way="egress"))],
    "pods were denied, addresses accepted": [
        policy("out", 5, **rule("Accept", ANYWHERE, way="egress")),
        policy("no", 1, **rule("Deny", way="egress")),
    ],
    "which nodes were denied is not known": [
        policy("out", 5, **rule("Accept", {"nodes": {}}, way="egress")),
        policy("no", 1, **rule("Deny", {"nodes": {}}, way="egress")),
    ],
    "whom it means is not understood": [
        policy("let-in", 5, **rule("Accept", {"moon": {}})),
        policy("no", 4, **rule("Deny")),
    ],
    "what the denial means is not understood": [ACCEPT, policy("no", 1, **rule("Deny", {"moon": {}}))],
    "what narrows the denial is not understood": [ACCEPT, policy("no", 1, **rule("Deny"), atNight=True)],
    "its subject is not understood": [policy("odd", 5, subject={"everybody": {}}, **rule("Deny"))],
    "what it does is not known": [policy("odd", 5, **rule("Tunnel"))],
}


@pytest.mark.parametrize("case", CUT_OFF)
def test_what_an_earlier_rule_decides_is_not_accepted(case: str) -> None:
    assert accepting(*CUT_OFF[case]) == ()


@pytest.mark.parametrize("case", LEFT_OPEN)
def test_what_may_be_accepted_is_told(case: str) -> None:
    (told,) = accepting(*LEFT_OPEN[case])
    assert any(one["metadata"]["name"] in told for one in LEFT_OPEN[case])


def test_who_accepts_what_is_told_once_and_that_nothing_comes_before_it() -> None:
    both = policy("platform", 0, **rule("Accept"), **rule("Accept", way="egress"))
    (told,) = accepting(both, policy("no", 1, **rule("Deny")))
    assert told.startswith("ClusterNetworkPolicy platform, of priority 0, which none surely comes before,")
    assert told.endswith(" accepts ingress and egress before NetworkPolicies are asked")


MONITORING = Peer(namespace_selector=LabelSelector(match_labels={NAME: "monitoring"}))
METRICS = holes.named("metrics", Direction.INGRESS, [MONITORING], [Port(protocol=Protocol.TCP, port=9090)])
SCRAPE: Json = {"protocols": [{"tcp": {"destinationPort": {"number": 9090}}}]}
SCRAPER: Json = {"namespaces": {"matchLabels": {NAME: "monitoring"}}}


def test_what_a_hole_opens_anyhow_is_not_told() -> None:
    assert accepting(policy("scrape", 5, **rule("Accept", SCRAPER, **SCRAPE)), opened=(METRICS,)) == ()
    assert accepting(policy("more", 5, **rule("Accept", SCRAPER)), opened=(METRICS,)) != ()


TENANTS = policy("tenants", 7, **rule("Deny"))


@pytest.mark.parametrize(
    ("policies", "denies"),
    [
        ([], False),
        ([TENANTS], True),
        ([policy("scrape", 5, **rule("Accept", SCRAPER)), TENANTS], False),
        ([policy("scrape", 5, **rule("Pass", SCRAPER)), TENANTS], False),
        ([policy("scrape", 7, **rule("Accept", SCRAPER)), TENANTS], True),
        ([policy("scrape", 5, **rule("Accept", SCRAPER, **ON_443)), TENANTS], True),
        ([policy("others", 7, **rule("Deny", {"namespaces": {"matchLabels": {NAME: "web"}}}))], False),
        ([policy("https", 7, **rule("Deny", **ON_443))], False),
        ([policy("out", 7, **rule("Deny", way="egress"))], False),
        ([policy("odd", 7, **rule("Deny", {"moon": {}}))], True),
        ([policy("odd", 7, subject={"everybody": {}})], True),
        ([policy("odd", 7, **rule("Tunnel"))], True),
    ],
)
def test_who_may_deny_what_a_hole_opens_is_told(policies: list[Json], denies: bool) -> None:  # noqa: FBT001 - a column
    told = AdminTier.of(policies, isolation(METRICS), HERE).denying()
    assert list(told) == ([Direction.INGRESS] if denies else [])
    assert all("may deny what metrics opens" in text for text in told.values())


# Our own.


def denial(kind: str, *opened: holes.Hole) -> Json:
    what = isolation(*opened)
    return deny_spec(kind, what, "chat", {way: deny_rules(kind, what, "chat", way) for way in Direction})


def test_our_denial_is_asked_first_and_denies_everybody() -> None:
    subject = {
        "pods": {
            "namespaceSelector": {"matchLabels": {NAME: "chat"}},
            "podSelector": {"matchLabels": {"app": "llm"}},
        }
    }
    spec = {
        "priority": 0,
        "subject": subject,
        "ingress": [{"name": "all else", "action": "Deny", "from": [EVERYBODY]}],
        "egress": [{"name": "all else", "action": "Deny", "to": [EVERYBODY, ANYWHERE]}],
    }
    assert denial(CLUSTER) == {"tier": "Admin", **spec}
    assert denial(ADMIN) == spec


@pytest.mark.parametrize("kind", [CLUSTER, ADMIN])
def test_with_it_nothing_that_others_accept_later_counts(kind: str) -> None:
    ours = {"kind": kind, "metadata": {"name": "ours"}, "spec": denial(kind)}
    later = [policy(way, 1, kind=kind, **rule("Accept", way=way)) for way in ("ingress", "egress")]
    nodes = policy("nodes", 2, kind=kind, **rule("Accept", {"nodes": {}}, way="egress"))
    assert accepting(ours, *later, nodes) == ()
    assert len(accepting(ours, policy("also-first", 0, kind=kind, **rule("Accept")))) == 1


def blocked(cidr: str, way: Direction, *ports: Port, **more: Any) -> holes.Hole:
    block = IPBlock.model_validate({"cidr": cidr, **more})
    return holes.named("office", way, [Peer(ip_block=block)], ports)


def test_holes_are_passed_on_to_network_policies() -> None:
    near = Peer(pod_selector=LabelSelector(match_labels={"app": "web"}))
    web = holes.named(
        "web",
        Direction.INGRESS,
        [near],
        [
            Port(protocol=Protocol.TCP, port="http"),
            Port(protocol=Protocol.UDP),
            Port(protocol=Protocol.SCTP, port=8, end_port=8),
        ],
    )
    ranged = Port(protocol=Protocol.TCP, port=80, end_port=90)
    spec = denial(CLUSTER, web, blocked("10.1.2.3/8", Direction.EGRESS, ranged))
    peer = {
        "pods": {
            "namespaceSelector": {"matchLabels": {NAME: "chat"}},
            "podSelector": {"matchLabels": {"app": "web"}},
        }
    }
    every = {"range": {"start": 1, "end": 65535}}
    assert spec["ingress"][0] == {
        "name": "web",
        "action": "Pass",
        "from": [peer],
        "protocols": [
            {"destinationNamedPort": "http"},
            {"udp": {"destinationPort": every}},
            {"sctp": {"destinationPort": {"number": 8}}},
        ],
    }
    assert spec["egress"][0] == {
        "name": "office",
        "action": "Pass",
        "to": [{"networks": ["10.0.0.0/8"]}],
        "protocols": [{"tcp": {"destinationPort": {"range": {"start": 80, "end": 90}}}}],
    }
    assert [len(spec["ingress"]), len(spec["egress"])] == [2, 2]

    older = denial(ADMIN, holes.dns(), blocked("10.0.0.0/8", Direction.EGRESS, ranged))
    both = [{"portNumber": {"protocol": name, "port": 53}} for name in ("UDP", "TCP")]
    assert older["egress"][0]["ports"] == both
    assert older["egress"][1]["ports"] == [{"portRange": {"protocol": "TCP", "start": 80, "end": 90}}]


NAMED = Port(protocol=Protocol.TCP, port="http")


@pytest.mark.parametrize(
    ("kind", "hole"),
    [
        (CLUSTER, blocked("10.0.0.0/8", Direction.INGRESS)),
        (CLUSTER, blocked("10.0.0.0/8", Direction.EGRESS, **{"except": ["10.1.0.0/16"]})),
        (CLUSTER, blocked("10.0.0.0/8", Direction.EGRESS, NAMED)),
        (ADMIN, holes.named("web", Direction.INGRESS, [MONITORING], [NAMED])),
    ],
)
def test_a_hole_that_cannot_be_left_open_exactly_is_not_closed(kind: str, hole: holes.Hole) -> None:
    with pytest.raises(Inexpressible, match=f"{hole.name} .* cannot be left open there"):
        deny_rules(kind, isolation(hole), "chat", hole.direction)
    (other,) = set(Direction) - {hole.direction}
    assert len(deny_rules(kind, isolation(hole), "chat", other)) == 1
