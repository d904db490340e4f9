"""Cluster-wide policies as they are written: https://network-policy-api.sigs.k8s.io/.

ClusterNetworkPolicy is policy.networking.k8s.io/v1alpha2; AdminNetworkPolicy is the older v1alpha1, in which
ports and actions have other names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from stanch.api.v1alpha1.base import ApiModel
from stanch.network.models import LAST_PORT, Direction, IPBlock, Peer, Protocol
from stanch.network.parsing import Named, Part
from stanch.network.selectors import LabelSelector
from stanch.network.traffic import PeerSet, Ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stanch.network.selectors import Box

EVERY_BLOCK = ("0.0.0.0/0", "::/0")
_EVERY_ADDRESS = tuple(
    PeerSet.of(Peer(ip_block=IPBlock.model_validate({"cidr": block})), "") for block in EVERY_BLOCK
)
_ANYBODY = {
    # Of ingress a later version of the API may name more than pods.
    Direction.INGRESS: (PeerSet(everyone=True),),
    Direction.EGRESS: (PeerSet.of(Peer(namespace_selector=LabelSelector()), ""), *_EVERY_ADDRESS),
}


class _OneOf(Part):
    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"one field is to be set, not {len(self.model_fields_set)}")
        return self


class _Pods(Part):
    namespace_selector: LabelSelector = Field(default_factory=LabelSelector)
    pod_selector: LabelSelector = Field(default_factory=LabelSelector)


class _Subject(_OneOf):
    namespaces: LabelSelector | None = None
    pods: _Pods | None = None

    @property
    def who(self) -> _Pods:
        return self.pods or _Pods(namespace_selector=self.namespaces or LabelSelector())


_Network = Annotated[IPBlock, BeforeValidator(lambda cidr: {"cidr": cidr})]


class _Peer(_Subject):
    nodes: LabelSelector | None = None
    networks: tuple[_Network, ...] = ()
    domain_names: tuple[str, ...] = ()

    def sets(self, *, surely: bool) -> tuple[PeerSet, ...]:
        """Which addresses nodes and domains have is not known: surely none, possibly any."""
        if self.networks:
            return tuple(PeerSet.of(Peer(ip_block=block), "") for block in self.networks)
        if self.nodes is not None or self.domain_names:
            return () if surely else _EVERY_ADDRESS
        pods = Peer(namespace_selector=self.who.namespace_selector, pod_selector=self.who.pod_selector)
        return (PeerSet.of(pods, ""),)


class _Range(Part):
    start: int = 1
    end: int = LAST_PORT
    protocol: Protocol = Protocol.TCP


class _Destination(_OneOf):
    number: int | None = None
    range: _Range = _Range()

    def of(self, protocol: Protocol) -> Ports:
        return Ports(protocol, self.number or self.range.start, self.number or self.range.end)


class _Transport(Part):
    destination_port: _Destination


class _PortNumber(Part):
    port: int
    protocol: Protocol = Protocol.TCP


class _Port(_OneOf):
    """The last three are an AdminNetworkPolicy's."""

    tcp: _Transport | None = None
    udp: _Transport | None = None
    sctp: _Transport | None = None
    destination_named_port: str = ""
    named_port: str = ""
    port_number: _PortNumber | None = None
    port_range: _Range | None = None

    @property
    def ports(self) -> tuple[Ports, ...]:
        if name := self.destination_named_port or self.named_port:
            return tuple(Ports(protocol, name=name) for protocol in Protocol)
        if self.port_number is not None:
            return (Ports(self.port_number.protocol, self.port_number.port, self.port_number.port),)
        if self.port_range is not None:
            return (Ports(self.port_range.protocol, self.port_range.start, self.port_range.end),)
        by_name = ((Protocol.TCP, self.tcp), (Protocol.UDP, self.udp), (Protocol.SCTP, self.sctp))
        return tuple(one.destination_port.of(protocol) for protocol, one in by_name if one is not None)


class _Rule(Part):
    name: str = ""
    action: str
    peers: tuple[_Peer, ...] = Field(min_length=1, validation_alias=AliasChoices("from", "to"))
    on: tuple[_Port, ...] = Field(default=(), validation_alias=AliasChoices("protocols", "ports"))


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom a rule may mean, whom it surely means, and on which ports."""

    may: tuple[PeerSet, ...]
    surely: tuple[PeerSet, ...]
    ports: tuple[Ports, ...]


class Said(ApiModel):
    """A rule of which the action is known; one that is not understood may mean anybody, surely nobody."""

    model_config = ConfigDict(extra="allow")

    action: str

    def meant(self, direction: Direction) -> Meant:
        try:
            rule = _Rule.model_validate({**(self.model_extra or {}), "action": self.action})
        except ValidationError:
            return Meant(_ANYBODY[direction], (), (Ports(),))
        return Meant(
            tuple(one for peer in rule.peers for one in peer.sets(surely=False)),
            tuple(one for peer in rule.peers for one in peer.sets(surely=True)),
            tuple(ports for port in rule.on for ports in port.ports) or (Ports(),),
        )


class Spec(ApiModel):
    model_config = ConfigDict(extra="allow")

    tier: str = "Admin"
    priority: int
    subject: _Subject
    ingress: tuple[Said, ...] = ()
    egress: tuple[Said, ...] = ()

    def rules(self, direction: Direction) -> tuple[tuple[str, Meant], ...]:
        """With their actions. What a field that is not known narrows, no rule surely means."""
        said = self.ingress if direction is Direction.INGRESS else self.egress
        rules = [(one.action, one.meant(direction)) for one in said]
        if self.model_extra:
            return tuple((action, replace(meant, surely=())) for action, meant in rules)
        return tuple(rules)

    def pods(self, namespace: Mapping[str, str]) -> Box | None:
        """Those it applies to in a namespace with these labels; None when there are none."""
        who = self.subject.who
        return who.pod_selector.box if who.namespace_selector.matches(namespace) else None


class TierPolicy(Named):
    spec: Spec
