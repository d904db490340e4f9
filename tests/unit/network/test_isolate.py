"""Our own policy, as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stanch.network import holes
from stanch.network.isolate import Isolation, isolation_policy, policy_name
from stanch.network.models import Direction, NetworkPolicy, Peer
from stanch.network.selectors import LabelSelector

if TYPE_CHECKING:
    from tests.unit.network.made import Json

SELECTOR = LabelSelector.model_validate(
    {"matchLabels": {"app": "llm"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
)
BOTH = frozenset(Direction)


def written(directions: frozenset[Direction], *opened: holes.Hole) -> Json:
    return isolation_policy(
        Isolation(SELECTOR, directions, opened),
        base="toxic-output",
        namespace="chat",
        labels={"stanch.dev/incident": "toxic-output"},
        annotations={},
    )


def test_it_is_written_whole() -> None:
    peer = Peer.model_validate({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})
    opened = (
        holes.dns(),
        holes.scraping("monitoring", LabelSelector(match_labels={"app": "prometheus"}), "metrics"),
        holes.named("database", Direction.EGRESS, [peer]),
    )

    name = written(BOTH)["metadata"]["name"]
    assert written(BOTH, *opened) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": "chat",
            "labels": {"stanch.dev/incident": "toxic-output"},
        },
        "spec": {
            "podSelector": {
                "matchLabels": {"app": "llm"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}],
            },
            "ingress": [
                {
                    "from": [
                        {
                            "namespaceSelector": {
                                "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
                            },
                            "podSelector": {"matchLabels": {"app": "prometheus"}},
                        }
                    ],
                    "ports": [{"protocol": "TCP", "port": "metrics"}],
                }
            ],
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {
                                "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                            },
                            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                        }
                    ],
                    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
                },
                {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            ],
            "policyTypes": ["Ingress", "Egress"],
        },
    }


@pytest.mark.parametrize("direction", list(Direction))
def test_one_direction_leaves_the_other_alone(direction: Direction) -> None:
    raw = written(frozenset({direction}), holes.dns())

    assert NetworkPolicy.parse(raw).directions == (direction,)
    assert ("egress" in raw["spec"]) == (direction is Direction.EGRESS)


def test_no_direction_is_no_isolation() -> None:
    with pytest.raises(ValueError, match="isolates nothing"):
        written(frozenset())


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("llm-chat", "stanch-llm-chat-76c7237963"),
        ("Deployment.llm_chat", "stanch-deployment-llm-chat-eeb0c556b9"),
        ("…", "stanch-b4935894c8"),
    ],
)
def test_the_name_of_a_policy_never_changes(base: str, name: str) -> None:
    """A hold denies its deletion by name, and a journal written by an older version names it."""
    assert policy_name(base) == name


def test_long_names_stay_labels_and_apart() -> None:
    names = {policy_name("a" * 252 + end, more) for end in "bc" for more in ("", "d")}
    names |= {policy_name("a-b", "c"), policy_name("a", "b-c"), policy_name("a-b-c")}

    assert len(names) == 7
    assert max(map(len, names)) == 63
