from __future__ import annotations

import json
from copy import deepcopy

from stanch.access.accounts import cloud_identities, cloud_note, legacy_tokens, saved
from stanch.access.models import Json, ServiceAccount, TokenSecret
from tests.unit.access.cluster_objects import CHAT

STORED: Json = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {
        "name": "llm",
        "namespace": "chat",
        "labels": {"team": "chat"},
        "annotations": {
            "iam.gke.io/gcp-service-account": "llm@project.example.test",
            "eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/llm",
            "azure.workload.identity/use": "true",
            "note": "eks",
        },
        "ownerReferences": [{"apiVersion": "v1", "kind": "Release", "name": "llm", "uid": "o"}],
        "uid": "u",
        "resourceVersion": "12",
        "creationTimestamp": "2030-01-01T00:00:00Z",
        "managedFields": [{"manager": "helm"}],
    },
    "secrets": [{"name": "llm-token"}],
    "imagePullSecrets": [{"name": "registry"}],
    "automountServiceAccountToken": False,
    "addedByALaterKubernetes": {"kept": True},
}


def test_an_account_is_saved_whole_but_for_what_the_server_writes() -> None:
    before = deepcopy(STORED)
    manifest = saved(STORED)

    assert before == STORED
    assert manifest["metadata"] == {
        key: STORED["metadata"][key]
        for key in ("name", "namespace", "labels", "annotations", "ownerReferences")
    }
    assert {key: value for key, value in manifest.items() if key != "metadata"} == {
        key: value for key, value in STORED.items() if key != "metadata"
    }


def test_what_is_saved_is_saved_again_as_it_is() -> None:
    assert json.dumps(saved(saved(STORED))) == json.dumps(saved(STORED))


def test_the_cloud_identities_are_found_and_nothing_else() -> None:
    found = cloud_identities(ServiceAccount.model_validate(STORED))

    assert [str(each) for each in found] == [
        "eks.amazonaws.com/role-arn=arn:aws:iam::111122223333:role/llm",
        "iam.gke.io/gcp-service-account=llm@project.example.test",
    ]


def test_that_issued_cloud_credentials_live_on_is_said() -> None:
    note = cloud_note(cloud_identities(ServiceAccount.model_validate(STORED)))

    assert note.startswith("credentials that AWS and Google Cloud issued already")
    assert "until they expire" in note
    assert cloud_note(()) == ""


def secret(name: str, account: str = "llm", namespace: str = "chat", **fields: object) -> TokenSecret:
    annotations = {"kubernetes.io/service-account.name": account}
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    return TokenSecret.model_validate(
        {"type": "kubernetes.io/service-account-token", "metadata": metadata, "data": {"token": "c2VjcmV0"}}
        | fields
    )


def test_legacy_tokens_of_the_account_are_named() -> None:
    secrets = [
        secret("z"),
        secret("a"),
        secret("theirs", account="other"),
        secret("elsewhere", namespace="other"),
        secret("opaque", type="Opaque"),
    ]

    assert legacy_tokens(CHAT, secrets) == ("a", "z")


def test_no_value_of_a_secret_is_kept() -> None:
    assert "c2VjcmV0" not in repr(secret("a"))
