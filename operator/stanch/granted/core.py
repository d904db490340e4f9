"""What the operator always needs. A right that the code does not use is a defect, and so is the other way
round: tests/integration/test_rbac.py runs the operator with exactly this and compares it with the audit log.
"""

from __future__ import annotations

from stanch.granted.model import Right
from stanch.kube import resources as of

EVERYWHERE = (
    Right(
        "The incidents, their journal, and the finalizer. Signals open them.",
        ("create", "get", "list", "patch", "watch"),
        (of.AIINCIDENTS,),
    ),
    Right(
        "Drills: the exercises that a policy keeps no longer. Nothing else of an incident is ever deleted.",
        ("delete",),
        (of.AIINCIDENTS,),
    ),
    Right("What an incident says of itself.", ("update",), (of.AIINCIDENTS,), "status"),
    Right(
        "Policies: the plan of an incident.",
        ("get", "list", "watch"),
        (of.CLUSTERCONTAINMENTPOLICIES, of.CONTAINMENTPOLICIES),
    ),
    Right(
        "What is told of policies.",
        ("update",),
        (of.CLUSTERCONTAINMENTPOLICIES, of.CONTAINMENTPOLICIES),
        "status",
    ),
    Right(
        "The holds that the admission policies read.",
        ("create", "delete", "get", "list", "patch", "watch"),
        (of.CONTAINMENTHOLDS,),
    ),
    Right(
        "The label that puts a namespace under the admission policies. Cluster policies select namespaces by "
        "label.",
        ("get", "list", "patch"),
        (of.NAMESPACES,),
    ),
    Right(
        "Containing and giving back: replicas, node selector, volume retention, label.",
        ("get", "list", "patch", "watch"),
        (of.DAEMONSETS, of.DEPLOYMENTS, of.REPLICASETS, of.STATEFULSETS),
    ),
    Right(
        "The earlier versions of StatefulSets and DaemonSets; those of Deployments are ReplicaSets.",
        ("list",),
        (of.CONTROLLERREVISIONS,),
    ),
    Right("Freezing and thawing autoscalers.", ("get", "list", "patch"), (of.HPAS,)),
    Right(
        "Seeing that no pod is left, and ending pods that a controller would end one by one.",
        ("delete", "list", "watch"),
        (of.PODS,),
    ),
    Right(
        "Quarantine: pods lose the labels by which controllers and Services select them.",
        ("get", "patch"),
        (of.PODS,),
    ),
    Right("Quarantine: the Services that select a pod.", ("list",), (of.SERVICES,)),
    Right("Quarantine: whether a Service still sends a pod anything.", ("list",), (of.ENDPOINTSLICES,)),
    Right(
        "Suspending and resuming Jobs and CronJobs.",
        ("get", "list", "patch", "watch"),
        (of.CRONJOBS, of.JOBS),
    ),
    Right("Telling what was done; evidence has those of others.", ("create", "list"), (of.EVENTS,)),
    Right(
        "Evidence: what containers last said. Also read for it, and granted for what is changed: workloads, "
        "pods, jobs, autoscalers, network policies, accounts, bindings, roles, events.",
        ("get",),
        (of.PODS,),
        "log",
    ),
    Right("Evidence: what is in force around a workload.", ("list",), (of.PDBS,)),
    Right(
        "Isolating: our own policies, and taking a workload out of those of others. All are watched, as one "
        "that is made beside ours opens what ours cuts off.",
        ("create", "delete", "get", "list", "patch", "watch"),
        (of.NETWORKPOLICIES,),
    ),
    Right(
        "Where they are served, these are asked before NetworkPolicies: what they accept is not isolated.",
        ("list",),
        (of.ADMINNETWORKPOLICIES, of.CLUSTERNETWORKPOLICIES),
    ),
    Right(
        "Revoking an account: it is deleted and made again, or loses its cloud identity. Who else runs under "
        "it is looked for among pods, workloads and jobs.",
        ("create", "delete", "get", "patch"),
        (of.SERVICEACCOUNTS,),
    ),
    Right(
        "Revoking an account: which Secrets hold tokens of it, by their metadata alone.",
        ("list",),
        (of.SECRETS,),
    ),
    Right(
        "Revoking an account's rights, and evidence. There is no `bind` here: whoever installs Stanch grants "
        "it, role by role.",
        ("get", "list", "patch"),
        (of.CLUSTERROLEBINDINGS, of.ROLEBINDINGS),
        in_namespaces=("list",),
    ),
    Right(
        "Revoking an account's rights, and evidence: what its bindings gave it.",
        ("get",),
        (of.CLUSTERROLES, of.ROLES),
    ),
    Right(
        "Revoking an account's rights: whether it has them all the same.",
        ("create",),
        (of.SUBJECTACCESSREVIEWS,),
        in_namespaces=(),
    ),
)
"""ClusterRole `stanch`."""

AT_HOME = (
    Right("One leader. Creating cannot be limited to a name.", ("create",), (of.LEASES,)),
    Right("One leader.", ("get", "update"), (of.LEASES,), names=("stanch",)),
    Right(
        "The hold is proven by trying to break it as somebody who is not exempt.",
        ("create",),
        (of.SERVICEACCOUNTS,),
        "token",
        ("stanch-canary",),
    ),
)
"""Role `stanch`, in the operator's own namespace."""

RECEIVER_TLS = (
    Right(
        "The certificate of the receiver, where the operator makes and renews it itself.",
        ("get", "update"),
        (of.SECRETS,),
        names=("stanch-receiver-tls",),
    ),
)
"""Role `stanch-receiver-tls`, in the operator's own namespace; only for `receiver.tls.source: selfSigned`."""
