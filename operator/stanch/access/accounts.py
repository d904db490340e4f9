"""What an account is made of: the manifest it can be created from again, and who it is in the cloud."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.access.models import Account, Json, ServiceAccount, TokenSecret

SERVER_SET = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
)
"""Metadata that the API server writes: of a new object it writes it anew."""

DEFAULT_ACCOUNT = "default"

_PROVIDERS = {
    "eks.amazonaws.com/role-arn": "AWS",
    "iam.gke.io/gcp-service-account": "Google Cloud",
    "azure.workload.identity/client-id": "Azure",
    "azure.workload.identity/tenant-id": "Azure",
}


@dataclass(frozen=True, slots=True)
class CloudIdentity:
    annotation: str
    value: str

    @property
    def provider(self) -> str:
        return _PROVIDERS[self.annotation]

    def __str__(self) -> str:
        return f"{self.annotation}={self.value}"


def saved(obj: Json) -> Json:
    """The manifest from which an object as stored is created again, byte by byte but for what servers set.

    Owners stay: their controller finds its object again, and one whose owner is gone by then is collected,
    as it would have been.
    """
    manifest = deepcopy(obj)
    metadata = manifest.get("metadata") or {}
    manifest["metadata"] = {key: value for key, value in metadata.items() if key not in SERVER_SET}
    return manifest


def cloud_identities(account: ServiceAccount) -> tuple[CloudIdentity, ...]:
    """The identities that cloud providers give to whoever holds a token of the account."""
    annotations = account.metadata.annotations
    return tuple(CloudIdentity(key, annotations[key]) for key in _PROVIDERS if key in annotations)


def cloud_note(identities: Iterable[CloudIdentity]) -> str:
    """What taking an identity away does not reach; empty without identities.

    A provider checks a projected token by its signature and expiry alone: it never asks the API server.
    https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html
    """
    found = sorted({identity.provider for identity in identities})
    if not found:
        return ""
    return (
        f"credentials that {' and '.join(found)} issued already, and projected tokens that can be exchanged "
        "for them, live on until they expire: revoke the role's sessions at the provider"
    )


def legacy_tokens(account: Account, secrets: Iterable[TokenSecret]) -> tuple[str, ...]:
    """Names of the Secrets that the token controller deletes together with the account, for good."""
    return tuple(sorted(secret.metadata.name for secret in secrets if secret.of(account)))
