"""What values mean, and which are refused before anything is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from stanch.clocks.data import load
from tests.charts.chart import CHART, NAMESPACE, ROOT, Json, hooks, kustomized, refused, rendered, run

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING_ELSE = (
    "admission.stamps=true",
    "evidence.url=file:///var/lib/stanch/evidence",
    "evidence.persistence.enabled=true",
    "clocks.data.version=a",
    "monitoring.dashboard.enabled=true",
    "monitoring.prometheusRule.enabled=true",
    "monitoring.serviceMonitor.enabled=true",
    "networkPolicy.enabled=true",
    "receiver.enabled=true",
    "rights.bind={edit}",
    "rights.clusterNetworkPolicies=true",
    "rights.verificationJobs=true",
)
CLOCKS = ROOT / "operator" / "stanch" / "clocks" / "clocks.yaml"


def pod(*values: str) -> Json:
    spec: Json = rendered(*values)["Deployment/stanch"]["spec"]["template"]["spec"]
    return spec


def env(*values: str) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in pod(*values)["containers"][0]["env"]}


def test_lint_has_nothing_to_say() -> None:
    code, said = run("lint", "--strict", str(CHART))
    assert code == 0, said
    assert "[WARNING]" not in said


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("operator.replica=3", "additional properties 'replica' not allowed"),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.runAsUser=0", "/operator/runAsUser"),
        (r"commonLabels.helm\.sh/chart=mine", "/commonLabels"),
        ("evidence.url=ftp://x", "/evidence/url"),
        ("image.digest=sha256:12", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("operator.settings.PROMETHEUS_URL=http://x", "/operator/settings"),
        ("receiver.tls.source=letsencrypt", "/receiver/tls/source"),
        ("scope.namespaces={Chat}", "/scope/namespaces/0"),
        ("rights.bind=true", "/rights/bind"),
        ("podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable"),
    ],
)
def test_a_bad_value_is_refused_by_its_path(value: str, says: str) -> None:
    assert says in refused(value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["clocks.data.version=1", "clocks.configMap=mine"], "set one of them"),
        (["receiver.enabled=true", "receiver.tls.source=certManager"], "receiver.tls.issuerRef.name"),
        (["evidence.persistence.enabled=true"], "set evidence.url to file:///"),
        (["scope.namespaces={chat,stanch-system}"], "the operator's own namespace is not for the list"),
        (
            ["scope.namespaces={chat}", "rights.bind={reader}"],
            "rights.bind is of no use with scope",
        ),
    ],
)
def test_values_that_do_not_go_together_say_what_is_missing(values: list[str], says: str) -> None:
    assert says in refused(*values)


def test_a_server_that_is_too_old_is_refused() -> None:
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert f"kubeVersion: {wanted}" in refused(kubernetes="1.29.3")


def test_in_some_namespaces_every_right_is_bound_in_these_alone() -> None:
    objects = rendered("scope.namespaces={zoo,chat}", "rights.verificationJobs=true", namespace="sre")
    bound = sorted(name for name in objects if name.count("/") == 2)
    assert bound == [
        f"RoleBinding/{space}/stanch-{role}"
        for space in ("chat", "zoo")
        for role in ("namespace", "verification-jobs")
    ]
    assert "ClusterRoleBinding/stanch-verification-jobs" not in objects
    (named,) = (rule for rule in objects["ClusterRole/stanch"]["rules"] if "namespaces" in rule["resources"])
    assert named["resourceNames"] == ["chat", "sre", "zoo"]
    (check,) = hooks("scope.namespaces={zoo,chat}").values()
    (container,) = check["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "STANCH_NAMESPACES", "value": "zoo,chat"}]


def test_another_namespace_is_what_admission_exempts_and_nothing_names_the_usual_one() -> None:
    objects = rendered("rights.verificationJobs=true", "admission.stamps=true", namespace="safety")
    assert "stanch-system" not in json.dumps(objects)
    for policy in ("stanch-hold", "stanch-hold-guard", "stanch-holding-label", "stanch-incident-authz"):
        conditions = objects[f"ValidatingAdmissionPolicy/{policy}"]["spec"]["matchConditions"]
        (exempt,) = (each["expression"] for each in conditions if each["name"] == "not-the-operator")
        assert exempt == "request.userInfo.username != 'system:serviceaccount:safety:stanch'"


def test_what_would_take_incidents_or_evidence_with_it_is_kept() -> None:
    objects = rendered("evidence.url=file:///var/lib/stanch/evidence", "evidence.persistence.enabled=true")
    kept = {
        name
        for name, each in objects.items()
        if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    definitions = {name for name in objects if name.startswith("CustomResourceDefinition/")}
    assert len(definitions) == 4
    assert kept == definitions | {"Deployment/stanch-canary", "PersistentVolumeClaim/stanch-evidence"}


def test_definitions_may_be_somebody_elses() -> None:
    assert not [name for name in rendered("crds.enabled=false") if name.startswith("CustomResource")]


def test_a_digest_is_what_runs() -> None:
    digest = f"sha256:{'ab' * 32}"
    repository = "image.repository=registry.example.test/stanch"
    image = pod(repository, f"image.digest={digest}", "image.tag=v9")["containers"][0]["image"]
    assert image == f"registry.example.test/stanch@{digest}"


def test_settings_and_the_evidence_store_reach_the_operator() -> None:
    given = env("operator.settings.STANCH_PARALLELISM=8", "evidence.url=s3://bucket/stanch")
    assert given["STANCH_PARALLELISM"] == "8"
    assert given["STANCH_EVIDENCE_URL"] == "s3://bucket/stanch"


def test_another_version_of_the_clocks_is_what_the_operator_reads(tmp_path: Path) -> None:
    """What the ConfigMap has is read by the operator's own code."""
    source = CLOCKS.read_text().replace('version: "2026-01"', 'version: "2031"')
    objects = rendered(f"clocks.data={json.dumps(yaml.safe_load(source))}", how="--set-json")
    mounted = tmp_path / "clocks.yaml"
    mounted.write_text(objects["ConfigMap/stanch-clocks"]["data"]["clocks.yaml"])
    assert load(mounted) == load().model_copy(update={"version": "2031"})


def test_a_change_of_the_clocks_starts_the_pods_again() -> None:
    def annotations(version: str) -> Json:
        template = rendered(f"clocks.data.version={version}")["Deployment/stanch"]["spec"]["template"]
        found: Json = template["metadata"]["annotations"]
        return found

    assert annotations("a") == annotations("a") != annotations("b")
    assert "annotations" not in rendered()["Deployment/stanch"]["spec"]["template"]["metadata"]


@pytest.mark.parametrize(
    ("value", "name"), [("clocks.data.version=a", "stanch-clocks"), ("clocks.configMap=mine", "mine")]
)
def test_clocks_are_mounted_where_the_setting_says(value: str, name: str) -> None:
    (mount,) = pod(value)["containers"][0]["volumeMounts"]
    assert env(value)["STANCH_CLOCKS_FILE"] == f"{mount['mountPath']}/clocks.yaml"
    assert pod(value)["volumes"] == [{"name": mount["name"], "configMap": {"name": name}}]


def test_common_labels_are_on_every_object_and_pod_and_change_no_selector() -> None:
    values = (*EVERYTHING_ELSE, "commonLabels.team=safety")
    objects, before = rendered(*values) | hooks(*values), rendered(*EVERYTHING_ELSE)
    assert [
        name for name, body in objects.items() if body["metadata"]["labels"].get("team") != "safety"
    ] == []
    for name in ("Deployment/stanch", "Job/stanch-uninstall-check"):
        assert objects[name]["spec"]["template"]["metadata"]["labels"]["team"] == "safety"
    for name, body in before.items():
        assert objects[name].get("spec", {}).get("selector") == body.get("spec", {}).get("selector")


def test_a_user_that_the_cluster_gives_is_not_asked_for() -> None:
    """OpenShift refuses any that is not of the namespace's range."""
    values = (
        "operator.runAsUser=null",
        "evidence.url=file:///var/lib/stanch/evidence",
        "evidence.persistence.enabled=true",
    )
    for spec in (pod(*values), hooks(*values)["Job/stanch-uninstall-check"]["spec"]["template"]["spec"]):
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }


def test_the_identity_of_a_cloud_is_an_annotation_of_the_operators_account_alone() -> None:
    objects = rendered(r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::1:role/stanch")
    assert objects["ServiceAccount/stanch"]["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/stanch"
    }
    assert "annotations" not in objects["ServiceAccount/stanch-canary"]["metadata"]


SELF_SIGNED = "receiver.enabled=true", "receiver.tls.source=selfSigned"


def test_a_certificate_of_the_operators_own_is_never_in_what_helm_renders() -> None:
    """Data would be another one for each tool that only renders, and be put back by each upgrade."""
    secret = rendered(*SELF_SIGNED)["Secret/stanch-receiver-tls"]
    assert not secret.keys() & {"data", "stringData"}
    assert "STANCH_TLS_CERT_FILE" not in env(*SELF_SIGNED)
    assert [each["name"] for each in pod(*SELF_SIGNED)["volumes"]] == ["signals"]


def test_the_operator_may_touch_the_one_secret_that_its_certificate_is_in_and_only_then() -> None:
    objects = rendered(*SELF_SIGNED, "receiver.tls.secretName=mine")
    (rule,) = objects["Role/stanch-receiver-tls"]["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["mine"], ["get", "update"])
    assert "Secret/mine" in objects
    assert env(*SELF_SIGNED, "receiver.tls.secretName=mine")["STANCH_RECEIVER_TLS_SECRET"] == "mine"
    assert not [name for name in rendered("receiver.enabled=true") if "receiver-tls" in name]


def test_cert_manager_makes_the_secret_that_is_mounted() -> None:
    values = "receiver.enabled=true", "receiver.tls.source=certManager", "receiver.tls.issuerRef.name=ca"
    objects = rendered(*values)
    certificate = objects["Certificate/stanch-receiver"]["spec"]
    assert certificate["dnsNames"][0] == "stanch.stanch-system.svc"
    mounted = [each["secret"]["secretName"] for each in pod(*values)["volumes"]]
    assert certificate["secretName"] in mounted


def test_network_policy_opens_the_ports_that_are_served() -> None:
    def ports(*values: str) -> list[str]:
        policy = rendered("networkPolicy.enabled=true", *values)["NetworkPolicy/stanch"]
        return [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]]

    assert ports() == ["http"]
    assert ports("receiver.enabled=true") == ["http", "alerts"]


def test_the_check_before_an_uninstall_is_as_confined_as_the_operator_and_goes_where_that_runs() -> None:
    (job,) = hooks().values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    check = job["spec"]["template"]["spec"]
    assert check["containers"][0]["args"] == ["doctor", "--before-uninstall"]
    assert check["containers"][0]["image"] == pod()["containers"][0]["image"]
    assert check["containers"][0]["securityContext"] == pod()["containers"][0]["securityContext"]
    assert check["securityContext"] == pod()["securityContext"]
    there = (
        "operator.nodeSelector.pool=system",
        "operator.tolerations[0].operator=Exists",
        "operator.priorityClassName=system-cluster-critical",
    )
    (job,) = hooks(*there).values()
    for key in ("nodeSelector", "tolerations", "priorityClassName"):
        assert job["spec"]["template"]["spec"][key] == pod(*there)[key]
    assert hooks("uninstallCheck.enabled=false") == hooks("operator.replicas=0") == {}


def test_alerts_and_dashboard_are_those_of_the_manifests() -> None:
    theirs = kustomized("observability")
    ours = rendered(
        "monitoring.serviceMonitor.enabled=true",
        "monitoring.prometheusRule.enabled=true",
        "monitoring.dashboard.enabled=true",
    )
    assert ours["PrometheusRule/stanch"]["spec"] == theirs["PrometheusRule/stanch"]["spec"]
    dashboards = [
        json.loads(each["ConfigMap/stanch-dashboard"]["data"][name])
        for each, name in (
            (ours, "stanch.json"),
            (theirs, "dashboard.json"),
        )
    ]
    assert (
        dashboards[0]
        == dashboards[1]
        == json.loads((ROOT / "manifests" / "observability" / "dashboard.json").read_text())
    )
    assert ours["PrometheusRule/stanch"]["metadata"]["namespace"] == NAMESPACE, "one that is there"
    (endpoint,) = ours["ServiceMonitor/stanch"]["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True, "a label namespace is the incident's"
