"""What the unit tests only assume of an API server is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stanch.errors import Conflict, Forbidden, Invalid, NotFound, NotServed, Unavailable
from stanch.kube.client import Kube
from stanch.kube.resources import (
    AIINCIDENTS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICEACCOUNTS,
    ObjectRef,
    Resource,
)
from stanch.settings import Settings
from tests.integration.test_crds import incident

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.installation import Installed


@pytest.fixture
def namespace(space: str) -> str:
    """On the cluster where Stanch is installed and no other operator runs."""
    return space


@pytest.fixture
async def kube(stanch_installed: Installed) -> AsyncIterator[Kube]:
    kube = await Kube.connect(Settings(kubeconfig=stanch_installed.cluster.admin_kubeconfig))
    yield kube
    await kube.close()


@pytest.fixture
async def llm(kube: Kube, namespace: str) -> ObjectRef:
    labels = {"app": "llm"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "none"}]}}
    spec = {"replicas": 0, "paused": True, "selector": {"matchLabels": labels}, "template": pod}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "llm"}, "spec": spec}
    await kube.create(DEPLOYMENTS, namespace, body)
    return ObjectRef(DEPLOYMENTS, namespace, "llm")


async def version(kube: Kube, ref: ObjectRef) -> str:
    body = await kube.get(ref)
    assert body is not None
    return str(body["metadata"]["resourceVersion"])


@pytest.mark.parametrize("subresource", [None, "scale"])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_patch_decided_on_an_outdated_object_is_refused(
    kube: Kube, llm: ObjectRef, subresource: str | None, *, dry_run: bool
) -> None:
    annotate = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]
    replicas = [{"op": "replace", "path": "/spec/replicas", "value": 5}]
    for _ in range(20):  # the Deployment controller writes too
        outdated = await version(kube, llm)
        try:
            await kube.json_patch(llm, annotate, resource_version=outdated)
            break
        except Conflict:
            continue
    with pytest.raises(Conflict) as caught:
        await kube.json_patch(
            llm, replicas, resource_version=outdated, subresource=subresource, dry_run=dry_run
        )
    assert not caught.value.already_exists
    after = await kube.get(llm)
    assert after is not None
    assert after["spec"]["replicas"] == 0


async def test_a_taken_name_a_missing_object_and_a_wrong_patch_are_told_apart(
    kube: Kube, llm: ObjectRef
) -> None:
    body = await kube.get(llm)
    assert body is not None
    body["metadata"] = {"name": "llm"}
    with pytest.raises(Conflict) as caught:
        await kube.create(DEPLOYMENTS, llm.namespace, body)
    assert caught.value.already_exists
    missing = ObjectRef(DEPLOYMENTS, llm.namespace, "missing")
    assert await kube.get(missing) is None
    with pytest.raises(NotFound):
        await kube.json_patch(missing, [], resource_version="1")
    with pytest.raises(Invalid, match="rejected our request"):
        await kube.json_patch(
            llm,
            [{"op": "replace", "path": "/spec/nothing/here", "value": 1}],
            resource_version=await version(kube, llm),
        )


@pytest.mark.parametrize("group", ["apps", "nowhere.example"])
async def test_what_the_server_does_not_serve_is_not_absent(kube: Kube, namespace: str, group: str) -> None:
    with pytest.raises(NotServed, match="is the CRD installed"):
        await kube.get(ObjectRef(Resource(group, "v1", "gadgets", "Gadget"), namespace, "x"))


async def test_only_the_very_object_is_deleted(kube: Kube, llm: ObjectRef) -> None:
    body = await kube.get(llm)
    assert body is not None
    with pytest.raises(Conflict, match="UID in the precondition"):
        await kube.delete(llm, uid="somebody-else")
    await kube.delete(llm, uid=body["metadata"]["uid"], dry_run=True)
    assert await kube.get(llm) is not None
    await kube.delete(llm, uid=body["metadata"]["uid"])
    assert await kube.get(llm) is None
    await kube.delete(llm)


async def test_a_status_field_the_crd_does_not_know_is_refused_not_dropped(
    kube: Kube, namespace: str
) -> None:
    made = await kube.create(AIINCIDENTS, namespace, incident("leak"))
    made["status"] = {"unheardOf": "of"}
    with pytest.raises(Invalid, match="unheardOf"):
        await kube.replace_status(ObjectRef(AIINCIDENTS, namespace, "leak"), made)


async def test_a_list_is_whole_however_small_its_pages(kube: Kube) -> None:
    whole = {item["metadata"]["name"] for item in await kube.list(NAMESPACES)}
    paged = [item["metadata"]["name"] for item in await kube.list(NAMESPACES, page=1)]
    assert len(paged) == len(set(paged))
    assert {"default", "kube-system"} <= whole & set(paged)


async def test_a_requested_token_is_that_service_account_and_nobody_else(kube: Kube, namespace: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "probe"}}
    await kube.create(SERVICEACCOUNTS, namespace, account)
    token = await kube.create_token(namespace, "probe", expiration_seconds=600)
    probe, nobody = await kube.with_token(token), await kube.with_token("garbage")
    try:
        with pytest.raises(Forbidden, match=f'system:serviceaccount:{namespace}:probe" cannot list'):
            await probe.list(PODS, namespace)
        with pytest.raises(Unavailable, match="Unauthorized"):
            await nobody.list(PODS, namespace)
    finally:
        await probe.close()
        await nobody.close()
