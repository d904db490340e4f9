from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource. `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def key(self) -> str:
        """`apps/deployments`; core resources have no group: `pods`."""
        return f"{self.group}/{self.plural}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """URL path; without a namespace that of all namespaces (lists only)."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    resource: Resource
    namespace: str | None
    name: str

    def path(self, subresource: str | None = None) -> str:
        """URL path. Raises ValueError where it would address a list or another scope's object."""
        if (
            not self.name
            or (self.resource.namespaced != (self.namespace is not None))
            or self.namespace == ""
        ):
            raise ValueError(
                f"incomplete reference to a {self.resource.kind}: {self.namespace!r}/{self.name!r}"
            )
        return self.resource.path(self.namespace, self.name, subresource)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace is not None else self.name
        return f"{self.resource.kind} {where}"


def _apps(plural: str, kind: str) -> Resource:
    return Resource("apps", "v1", plural, kind)


def _core(plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource("", "v1", plural, kind, namespaced)


def _stanch(plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource("stanch.dev", "v1alpha1", plural, kind, namespaced)


def _admission(plural: str, kind: str) -> Resource:
    return Resource("admissionregistration.k8s.io", "v1", plural, kind, namespaced=False)


def _rbac(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", "v1", plural, kind, namespaced)


DEPLOYMENTS = _apps("deployments", "Deployment")
STATEFULSETS = _apps("statefulsets", "StatefulSet")
DAEMONSETS = _apps("daemonsets", "DaemonSet")
REPLICASETS = _apps("replicasets", "ReplicaSet")
CONTROLLERREVISIONS = _apps("controllerrevisions", "ControllerRevision")
WORKLOADS = (DEPLOYMENTS, STATEFULSETS, DAEMONSETS, REPLICASETS)

PODS = _core("pods", "Pod")
NAMESPACES = _core("namespaces", "Namespace", namespaced=False)
NODES = _core("nodes", "Node", namespaced=False)
EVENTS = _core("events", "Event")
SERVICEACCOUNTS = _core("serviceaccounts", "ServiceAccount")
SERVICES = _core("services", "Service")
SECRETS = _core("secrets", "Secret")
PERSISTENTVOLUMECLAIMS = _core("persistentvolumeclaims", "PersistentVolumeClaim")

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
PDBS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
JOBS = Resource("batch", "v1", "jobs", "Job")
CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob")
NETWORKPOLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
# Asked before NetworkPolicies, where a network plugin serves them.
ADMINNETWORKPOLICIES = Resource(
    "policy.networking.k8s.io", "v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy", namespaced=False
)
CLUSTERNETWORKPOLICIES = Resource(
    "policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy", namespaced=False
)
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

ROLES = _rbac("roles", "Role", namespaced=True)
ROLEBINDINGS = _rbac("rolebindings", "RoleBinding", namespaced=True)
CLUSTERROLES = _rbac("clusterroles", "ClusterRole", namespaced=False)
CLUSTERROLEBINDINGS = _rbac("clusterrolebindings", "ClusterRoleBinding", namespaced=False)

VALIDATINGADMISSIONPOLICIES = _admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy")
VALIDATINGADMISSIONPOLICYBINDINGS = _admission(
    "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)

# Reviews are questions: created, answered, never stored.
SELFSUBJECTACCESSREVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
SUBJECTACCESSREVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
SELFSUBJECTREVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
TOKENREVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)

AIINCIDENTS = _stanch("aiincidents", "AIIncident")
CONTAINMENTHOLDS = _stanch("containmentholds", "ContainmentHold")
CONTAINMENTPOLICIES = _stanch("containmentpolicies", "ContainmentPolicy")
CLUSTERCONTAINMENTPOLICIES = _stanch(
    "clustercontainmentpolicies", "ClusterContainmentPolicy", namespaced=False
)

CHANGEABLE = {
    (resource.api_version, resource.kind): resource
    for resource in (
        *WORKLOADS,
        HPAS,
        JOBS,
        CRONJOBS,
        NETWORKPOLICIES,
        CLUSTERNETWORKPOLICIES,
        ADMINNETWORKPOLICIES,
        SERVICEACCOUNTS,
        ROLEBINDINGS,
        CLUSTERROLEBINDINGS,
        PODS,
    )
}
"""What an action may change, by what an ObjectReference says."""
