"""How a step says what an isolated workload may still talk to. The terms are those of a NetworkPolicy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, StrictInt

from stanch.api.schema import items, rule, rules
from stanch.api.v1alpha1.base import ApiModel

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Direction(StrEnum):
    INGRESS = "Ingress"
    EGRESS = "Egress"


class Others(StrEnum):
    """What is done about policies of others that keep the workload reachable."""

    REPORT = "Report"
    OVERRIDE = "Override"


class Protocol(StrEnum):
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class SelectorOperator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class _IntOrString:
    """Annotation: a port by number or by name, as Kubernetes types write it."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # No CEL rule: the cost of one is estimated for a string of any length.
        return {
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "maximum": 65535,
            "maxLength": 15,
            "pattern": "^[a-z0-9-]*[a-z][a-z0-9-]*$",
        }


PortOrName = Annotated[StrictInt | str, _IntOrString()]
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
LabelValue = Annotated[str, Field(max_length=63)]
Cidr = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra={"format": "cidr"})]


class LabelRequirement(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "In and NotIn take values, Exists and DoesNotExist take none",
            )
        )
    )

    key: LabelKey
    operator: SelectorOperator
    values: tuple[LabelValue, ...] = items(50, default=())


class LabelSelector(ApiModel):
    """All of it must match. Empty, it matches everything."""

    match_labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=20)
    match_expressions: tuple[LabelRequirement, ...] = items(10, default=())


class IPBlock(ApiModel):
    cidr: Cidr
    excluded: tuple[Cidr, ...] = items(20, default=(), alias="except", description="parts of it")


class AllowedPort(ApiModel):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.endPort) || "
                "(has(self.port) && type(self.port) == int && int(self.port) <= self.endPort)",
                "endPort needs a number in port that is not above it",
            )
        )
    )

    protocol: Protocol = Protocol.TCP
    port: PortOrName | None = Field(default=None, description="by number or name; every port when absent")
    end_port: int | None = Field(default=None, ge=1, le=65535, description="makes it a range from port")


class AllowedPeer(ApiModel):
    """Addresses, or pods by their labels and their namespace's."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
                "a peer has either ipBlock or podSelector and namespaceSelector",
            )
        )
    )

    direction: tuple[Direction, ...] = items(
        2,
        unique=True,
        default=(),
        description="Ingress lets them in, Egress lets the workload reach them; every direction that is cut "
        "when absent",
    )
    namespace_selector: LabelSelector | None = Field(
        default=None, description="pods of these namespaces; of the workload's own when absent"
    )
    pod_selector: LabelSelector | None = Field(default=None, description="these pods; all when absent")
    ip_block: IPBlock | None = None
    ports: tuple[AllowedPort, ...] = items(20, default=(), description="every port when absent")


class AllowedMetrics(ApiModel):
    """Whatever collects metrics."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.podSelector) || has(self.namespaceSelector)",
                "metrics names who may scrape, by podSelector, namespaceSelector or both",
            )
        )
    )

    namespace_selector: LabelSelector | None = Field(
        default=None, description="pods of these namespaces; of the workload's own when absent"
    )
    pod_selector: LabelSelector | None = Field(default=None, description="these pods; all when absent")
    port: PortOrName = Field(description="the workload's metrics port, by number or name")


class Allow(ApiModel):
    """What stays open on purpose."""

    dns: bool = Field(
        default=False,
        description="port 53 of pods labelled k8s-app=kube-dns in kube-system; for another DNS name a peer",
    )
    metrics: AllowedMetrics | None = Field(default=None, description="scraping of the workload's metrics")
    peers: tuple[AllowedPeer, ...] = items(10, default=())
