"""Isolate where cluster-wide policies are served, on a real API server; nobody enforces them here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import kubectl_of
from tests.integration.cluster_policies import ADMIN, CLUSTER, granted, policy, served
from tests.operator_process import eventually, fresh_space, install, running, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox import Sandbox
    from tests.cluster import OwnSandbox
    from tests.operator_process import Json, OperatorProcess, Space

pytestmark = pytest.mark.long

LLM = "Deployment/llm-chat"
EVERYBODY: Json = {"namespaces": {}}
METRICS = {"metrics": {"namespaceSelector": {"matchLabels": {"team": "sre"}}, "port": "metrics"}}


@pytest.fixture(scope="module")
def control_plane(own_sandbox: OwnSandbox) -> Sandbox:
    """Of its own: what is served and granted here concerns a whole cluster."""
    return own_sandbox()


@pytest.fixture(scope="module")
def operator(control_plane: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    home = tmp_path_factory.mktemp("tiers")
    install(kubectl_of(control_plane, home))
    with running(control_plane, home / "operator.log", rejudge_seconds="1") as process:
        yield process


@pytest.fixture
def llm(
    control_plane: Sandbox, operator: OperatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Space]:
    kubectl = kubectl_of(control_plane, tmp_path_factory.mktemp("kubectl"))
    with fresh_space(control_plane, kubectl, operator) as space:
        space.create(workload("Deployment", "llm-chat", 1))
        space.running("Deployment", "llm-chat", 1)
        yield space


@pytest.fixture
def clustered(llm: Space) -> Iterator[Space]:
    """ClusterNetworkPolicies are served, and the operator may write them."""
    with served(llm.kubectl, CLUSTER), granted(llm.kubectl):
        yield llm


def step(**isolate: Any) -> Json:
    return {"steps": [{"isolate": isolate}]}


def said(status: Json) -> str:
    message: str = status["steps"][0]["message"]
    return message


def here(space: Space) -> Json:
    return {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}}


def tier(space: Space, plural: str = CLUSTER) -> dict[str, Json]:
    """The cluster-wide policies as they are, by name."""
    return {one["metadata"]["name"]: one for one in space.get(plural)["items"]}


def ours(space: Space, plural: str = CLUSTER) -> Json:
    """The one that can be recognised as Stanch's."""
    (only,) = space.get(plural, "-l", f"stanch.dev/namespace={space.name}")["items"]
    return dict(only)


def test_without_the_right_isolate_does_without_and_with_it_what_others_accept_is_cut_off(llm: Space) -> None:
    with served(llm.kubectl, CLUSTER):
        platform = policy(
            CLUSTER, "platform", 1, subject=here(llm), ingress=[{"action": "Accept", "from": [EVERYBODY]}]
        )
        llm.create(platform)
        before = tier(llm)["platform"]["spec"]

        llm.incident("toxic", LLM, **step())
        failed = llm.wait_phase("toxic", "ContainmentFailed")
        assert failed["steps"][0]["reason"] == "AcceptedBeforehand"
        assert "ClusterNetworkPolicy platform accepts ingress before NetworkPolicies" in said(failed)
        assert "served and not used: ClusterNetworkPolicy" in said(failed)
        assert "grant manifests/rbac/cluster-network-policies.yaml" in said(failed)
        assert set(tier(llm)) == {"platform"}

        with granted(llm.kubectl):
            contained = llm.wait_phase("toxic", "Contained")
            mine = ours(llm)
            assert f"ClusterNetworkPolicy {mine['metadata']['name']} denies ingress and egress" in said(
                contained
            )
            assert "enforcement: Unknown" in said(contained)
            assert "not used" not in said(contained)
            assert (mine["spec"]["tier"], mine["spec"]["priority"]) == ("Admin", 0)
            assert mine["metadata"]["annotations"]["stanch.dev/isolates"] == LLM

            llm.release("toxic")
            assert {name: one["spec"] for name, one in tier(llm).items()} == {"platform": before}
            assert llm.get("networkpolicies")["items"] == []


def test_what_is_done_to_it_meanwhile_is_put_right_and_counted(clustered: Space) -> None:
    llm = clustered
    llm.contain("toxic", LLM, **step(allow=METRICS))
    first = ours(llm)
    name = first["metadata"]["name"]

    llm("delete", "clusternetworkpolicy", name)
    eventually(lambda: bool(tier(llm)), "it is there again")
    llm.wait_phase("toxic", "Contained")
    assert ours(llm)["spec"] == first["spec"]

    opened = json.dumps([{"op": "replace", "path": "/spec/ingress", "value": []}])
    llm("patch", "clusternetworkpolicy", name, "--type=json", "-p", opened)
    eventually(lambda: ours(llm)["spec"] == first["spec"], "it is as it was made")
    eventually(lambda: llm.status("toxic")["contested"]["count"] == 2, "both were counted")

    llm.release("toxic")
    assert tier(llm) == {}


def test_a_hole_takes_nothing_away_that_an_administrator_denies(clustered: Space) -> None:
    """What is denied later is made room for; what cannot be said there is left open and said."""
    llm = clustered
    llm.contain("toxic", LLM, **step(allow=METRICS))
    assert [rule["action"] for rule in ours(llm)["spec"]["ingress"]] == ["Pass", "Deny"]

    llm.create(
        policy(CLUSTER, "tenants", 9, subject=EVERYBODY, ingress=[{"action": "Deny", "from": [EVERYBODY]}])
    )
    eventually(lambda: "ingress" not in ours(llm)["spec"], "ingress is left to the administrator")
    assert "egress" in ours(llm)["spec"]
    eventually(
        lambda: (
            "does not deny ingress: ClusterNetworkPolicy tenants may deny what metrics opens"
            in said(llm.status("toxic"))
        ),
        "it says so",
    )
    assert llm.status("toxic").get("contested") is None

    llm("delete", "clusternetworkpolicy", "tenants")
    eventually(lambda: "ingress" in ours(llm)["spec"], "ingress is denied again")
    llm.release("toxic")
    assert tier(llm) == {}

    office = {"direction": ["Ingress"], "ipBlock": {"cidr": "10.20.0.0/16"}}
    status = llm.contain("office", LLM, **step(allow={"peers": [office]}))
    assert set(ours(llm)["spec"]) == {"tier", "priority", "subject", "egress"}
    assert "does not deny ingress: peer 0 is 10.20.0.0/16" in said(status)
    llm.release("office")


def test_what_has_the_first_priority_as_well_is_not_called_isolated(clustered: Space) -> None:
    llm = clustered
    everything = [{"action": "Accept", "to": [{"networks": ["0.0.0.0/0"]}]}]
    llm.create(policy(CLUSTER, "first", 0, subject=here(llm), egress=everything))
    llm.incident("toxic", LLM, **step())
    failed = llm.wait_phase("toxic", "ContainmentFailed")
    assert "ClusterNetworkPolicy first, of priority 0, which none surely comes before" in said(failed)

    moved = json.dumps({"spec": {"priority": 1}})
    llm("patch", "clusternetworkpolicy", "first", "--type=merge", "-p", moved)
    llm.wait_phase("toxic", "Contained")
    llm.release("toxic")
    assert set(tier(llm)) == {"first"}


def test_two_incidents_on_one_workload_have_one_each_and_the_last_takes_both_away(clustered: Space) -> None:
    llm = clustered
    llm.create(
        policy(CLUSTER, "in", 1, subject=here(llm), ingress=[{"action": "Accept", "from": [EVERYBODY]}])
    )
    for name in ("a", "b"):
        llm.contain(name, LLM, **step(allow=METRICS))
    assert len(tier(llm)) == 3
    llm.release("a")
    assert llm.status("b")["phase"] == "Contained"
    llm.release("b")
    assert set(tier(llm)) == {"in"}


def test_it_goes_with_the_namespace(clustered: Space) -> None:
    clustered.contain("toxic", LLM, **step())
    clustered("delete", "namespace", clustered.name, "--timeout=60s")
    assert tier(clustered) == {}
    clustered("create", "namespace", clustered.name)


def test_the_older_kind_is_used_where_it_alone_is_served(llm: Space) -> None:
    dns = {"dns": True}
    with served(llm.kubectl, ADMIN), granted(llm.kubectl):
        allow = [{"action": "Allow", "from": [EVERYBODY], "ports": [{"portNumber": {"port": 8080}}]}]
        llm.create(policy(ADMIN, "platform", 1, subject=here(llm), ingress=allow))
        status = llm.contain("toxic", LLM, **step(allow=dns))
        mine = ours(llm, ADMIN)
        assert "AdminNetworkPolicy" in said(status)
        assert [rule["action"] for rule in mine["spec"]["egress"]] == ["Pass", "Deny"]
        assert mine["spec"]["priority"] == 0
        llm.release("toxic")

        # The standard channel knows no ports by name: such a hole is not closed, nor is it isolated then.
        llm.incident("named", LLM, **step(allow=METRICS))
        failed = llm.wait_phase("named", "ContainmentFailed")
        assert "AdminNetworkPolicy platform accepts ingress" in said(failed)
        assert "AdminNetworkPolicy does not deny ingress: metrics names a port" in said(failed)
        assert set(ours(llm, ADMIN)["spec"]) == {"priority", "subject", "egress"}
        llm.release("named")
        assert set(tier(llm, ADMIN)) == {"platform"}
