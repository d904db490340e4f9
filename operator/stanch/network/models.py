"""NetworkPolicies (networking.k8s.io/v1).

A policy is read with the checks of the API server's own validation, and refused where it would be refused:
https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictInt, StrictStr, model_validator

from stanch.network.parsing import Json, Named, Part, Unreadable, name_of, understand
from stanch.network.selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.api.v1alpha1.meta import ObjectMeta
    from stanch.network.facts import PodFacts

LAST_PORT = 65535
# A name and no number: at least one letter.
_PORT_NAME = r"^[a-z0-9-]*[a-z][a-z0-9-]*$"


class Direction(StrEnum):
    INGRESS = "Ingress"
    EGRESS = "Egress"


class Protocol(StrEnum):
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


def _block(value: Any) -> Any:
    """A CIDR as the API server accepts it: host bits may be set, leading zeros may not."""
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} is no CIDR")
    block = ip_network(value, strict=False)
    if isinstance(block.network_address, IPv6Address) and block.network_address.ipv4_mapped is not None:
        raise ValueError(f"{value!r} is an IPv4-mapped block, which network plugins read differently")
    return block


_Block = Annotated[IPv4Network | IPv6Network, BeforeValidator(_block)]
_PortNumber = Annotated[StrictInt, Field(ge=1, le=LAST_PORT)]
_PortName = Annotated[StrictStr, Field(max_length=15, pattern=_PORT_NAME)]


class IPBlock(Part):
    cidr: _Block
    excluded: tuple[_Block, ...] = Field(default=(), alias="except")

    @model_validator(mode="after")
    def _excluded_inside(self) -> Self:
        for block in self.excluded:
            # subnet_of() does not compare the two versions of IP.
            if block.version != self.cidr.version or not (
                block.prefixlen > self.cidr.prefixlen and block.network_address in self.cidr
            ):
                raise ValueError(f"except {block} is no part of {self.cidr}")
        return self

    def contains(self, address: IPv4Address | IPv6Address) -> bool:
        return address in self.cidr and not any(address in block for block in self.excluded)

    @property
    def text(self) -> str:
        excluded = f" except {', '.join(map(str, self.excluded))}" if self.excluded else ""
        return f"{self.cidr}{excluded}"


class Peer(Part):
    """One of: an IP block; pods by labels, namespaces by labels, or both at once.

    Without `namespace_selector` the pods are those of the policy's own namespace.
    """

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        selects = self.pod_selector is not None or self.namespace_selector is not None
        if selects == (self.ip_block is not None):
            raise ValueError("a peer is either an ipBlock or selectors")
        return self

    @property
    def text(self) -> str:
        if self.ip_block:
            return self.ip_block.text
        pods = self.pod_selector.text if self.pod_selector else ""
        told = f"pods with {pods}" if pods else "all pods"
        if self.namespace_selector is None:
            return f"{told} of this namespace"
        spaces = self.namespace_selector.text
        return f"{told} of namespaces with {spaces}" if spaces else f"{told} of all namespaces"


class Port(Part):
    """Absent `port`: every port of the protocol."""

    protocol: Protocol
    port: _PortNumber | _PortName | None = None
    end_port: _PortNumber | None = None

    @model_validator(mode="before")
    @classmethod
    def _tcp_by_default(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("protocol") is None:
            return {**value, "protocol": "TCP"}
        return value

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.end_port is not None and not (isinstance(self.port, int) and self.port <= self.end_port):
            raise ValueError(f"endPort {self.end_port} without a number in port that is not above it")
        return self


class Rule(Part):
    """Traffic with any of `peers` on any of `ports`; none of them named: with everyone, on every port."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[Port, ...] = ()


class IngressRule(Rule):
    peers: tuple[Peer, ...] = Field(default=(), alias="from")


class EgressRule(Rule):
    peers: tuple[Peer, ...] = Field(default=(), alias="to")


class PolicySpec(Part):
    pod_selector: LabelSelector = Field(default_factory=LabelSelector)
    policy_types: tuple[Direction, ...] = ()
    ingress: tuple[IngressRule, ...] = ()
    egress: tuple[EgressRule, ...] = ()


class _Policy(Named):
    spec: PolicySpec = Field(default_factory=PolicySpec)


@dataclass(frozen=True)
class NetworkPolicy:
    """One policy as it was read; `raw` is what is changed and copied, so that nothing in it gets lost."""

    metadata: ObjectMeta
    spec: PolicySpec
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def parse(cls, raw: Json) -> Self:
        """Raises Unreadable."""
        body = understand(_Policy, raw, f"NetworkPolicy {name_of(raw)}")
        return cls(body.metadata, body.spec, raw)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those in which the selected pods are isolated, defaulted as the API server does."""
        if self.spec.policy_types:
            return tuple(direction for direction in Direction if direction in self.spec.policy_types)
        return (Direction.INGRESS, Direction.EGRESS) if self.spec.egress else (Direction.INGRESS,)

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """None where the policy does not isolate, whatever rules it lists there."""
        if direction not in self.directions:
            return ()
        return self.spec.ingress if direction is Direction.INGRESS else self.spec.egress

    def selects(self, pod: PodFacts) -> bool:
        return self.namespace == pod.namespace and self.spec.pod_selector.matches(pod.labels)


def read_policies(items: Iterable[Json]) -> tuple[list[NetworkPolicy], list[Unreadable]]:
    """All that can be read, and why the rest cannot. With any of the rest, isolation is not proven."""
    policies: list[NetworkPolicy] = []
    unreadable: list[Unreadable] = []
    for raw in items:
        try:
            policies.append(NetworkPolicy.parse(raw))
        except Unreadable as error:
            unreadable.append(error)
    return policies, unreadable
