"""Rights that not everybody wants to give. Without them the operator says what it could not do."""

from __future__ import annotations

from stanch.granted.model import Right, Switch
from stanch.kube import resources as of

ROLE_EXAMPLE = "llm-reader"

VERIFICATION_JOBS = Switch(
    "verification-jobs",
    "verificationJobs",
    "Checks of the kind `job` can run an evaluation suite, as a Job made of a CronJob's template in the "
    "incident's namespace (docs/how-to/verification.md). Without it such a check ends in Error, and no "
    "release that needs it is proven.",
    "Whoever may create Jobs in a namespace can run anything there, under every account of that namespace. "
    "To give the right for some namespaces only, bind the ClusterRole there with a RoleBinding each, and "
    "leave the last object out.",
    (Right("Running an evaluation suite.", ("create",), (of.JOBS,)),),
)
CLUSTER_NETWORK_POLICIES = Switch(
    "cluster-network-policies",
    "clusterNetworkPolicies",
    "Isolate also writes cluster-wide policies, which are asked before NetworkPolicies and before what other "
    "cluster-wide policies accept (docs/actions/isolate.md). For clusters that serve "
    "policy.networking.k8s.io; without it Isolate does without them, and says so.",
    "Take it back only while nothing is isolated: what was made has to be deleted.",
    (
        Right(
            "Isolating where a cluster-wide policy accepts the traffic.",
            ("create", "delete", "get", "patch"),
            (of.ADMINNETWORKPOLICIES, of.CLUSTERNETWORKPOLICIES),
        ),
    ),
)
BIND = Switch(
    "bind",
    "bind",
    "RevokeServiceAccount can take an account out of bindings of these roles: an API server lets nobody edit "
    "a binding who could not make it (docs/actions/revoke-service-account.md). Without it such a step is "
    "refused before anything is changed, except for roles of which the operator holds every right itself.",
    f"Put the names of your roles in the place of {ROLE_EXAMPLE}: without names the operator could give "
    "anybody anything. The chart's value is a list of them.",
    (
        Right(
            "Editing bindings of these roles.",
            ("bind",),
            (of.CLUSTERROLES, of.ROLES),
            names=(ROLE_EXAMPLE,),
        ),
    ),
)
SWITCHES = (VERIFICATION_JOBS, CLUSTER_NETWORK_POLICIES, BIND)
