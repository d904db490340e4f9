"""Pods and namespaces, as far as network policies and those who write them look at them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Self

from pydantic import Field

from stanch.api.v1alpha1.base import ApiModel
from stanch.network.models import Protocol
from stanch.network.parsing import Json, Named, name_of, understand

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = IPv4Address | IPv6Address


class _ContainerPort(ApiModel):
    name: str = ""
    container_port: int
    protocol: Protocol = Protocol.TCP


class _Container(ApiModel):
    ports: tuple[_ContainerPort, ...] = ()
    restart_policy: str = ""


class _PodSpec(ApiModel):
    host_network: bool = False
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] = ()


class _PodIP(ApiModel):
    ip: Address


class _PodStatus(ApiModel):
    pod_ip: Address | None = Field(default=None, alias="podIP")
    pod_ips: tuple[_PodIP, ...] = Field(default=(), alias="podIPs")


class _Pod(Named):
    spec: _PodSpec = Field(default_factory=_PodSpec)
    status: _PodStatus = Field(default_factory=_PodStatus)


@dataclass(frozen=True, slots=True)
class NamedPort:
    name: str
    protocol: Protocol
    port: int


@dataclass(frozen=True)
class PodFacts:
    namespace: str
    name: str
    labels: Mapping[str, str]
    ips: tuple[Address, ...] = ()
    host_network: bool = False
    ports: tuple[NamedPort, ...] = ()

    @classmethod
    def parse(cls, raw: Json) -> Self:
        """Raises Unreadable."""
        pod = understand(_Pod, raw, f"Pod {name_of(raw)}")
        # A sidecar is an init container that keeps running; other init containers serve nobody.
        sidecars = (item for item in pod.spec.init_containers if item.restart_policy == "Always")
        first = () if pod.status.pod_ip is None else (pod.status.pod_ip,)
        return cls(
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            labels=pod.metadata.labels,
            ips=tuple(dict.fromkeys((*first, *(item.ip for item in pod.status.pod_ips)))),
            host_network=pod.spec.host_network,
            ports=tuple(
                NamedPort(port.name, port.protocol, port.container_port)
                for container in (*pod.spec.containers, *sidecars)
                for port in container.ports
                if port.name
            ),
        )


@dataclass(frozen=True)
class NamespaceFacts:
    """`labels` hold `kubernetes.io/metadata.name`: the API server sets it and lets nobody change it."""

    name: str
    labels: Mapping[str, str]

    @classmethod
    def parse(cls, raw: Json) -> Self:
        """Raises Unreadable."""
        metadata = understand(Named, raw, f"Namespace {name_of(raw)}").metadata
        return cls(metadata.name, metadata.labels)
