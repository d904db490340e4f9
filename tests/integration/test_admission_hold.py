"""What is held stays held, whoever asks in whatever way: the hold policy, by holds written by hand."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.installation import Installed, hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Said

pytestmark = pytest.mark.compatibility("admission")

Seen = TypeVar("Seen")

HELD = "held by AIIncident leak-81d2e (High, DataBreach)"
AT_ZERO = f"{HELD} at 0 replicas; to give it back: "
HPA = "--as=system:serviceaccount:kube-system:horizontal-pod-autoscaler"
CRONJOB_CONTROLLER = "--as=system:serviceaccount:kube-system:cronjob-controller"
REPLICASET_CONTROLLER = "--as=system:serviceaccount:kube-system:replicaset-controller"
DEPLOYMENT_CONTROLLER = "--as=system:serviceaccount:kube-system:deployment-controller"
GARBAGE_COLLECTOR = "--as=system:serviceaccount:kube-system:generic-garbage-collector"
NAMESPACE_CONTROLLER = "--as=system:serviceaccount:kube-system:namespace-controller"


def workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "server", "image": "registry.example.test/server:1"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template} | spec,
    }


def autoscaler(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "maxReplicas": 5,
            "behavior": {"scaleUp": {"selectPolicy": "Disabled"}},
        },
    }


@dataclass(frozen=True)
class Scene:
    """A namespace where these are held: Deployment and HPA llm-chat, the Deployment's ReplicaSet, StatefulSet
    store, DaemonSet agent, ReplicaSet lone; and Deployment other, which is not."""

    installed: Installed
    namespace: str
    replica_set: str

    def admin(self, *arguments: str, stdin: object = None) -> Said:
        return self.installed.admin.run(*arguments, "-n", self.namespace, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        return self.installed.admin.get(*arguments, "-n", self.namespace)


@pytest.fixture(scope="module")
def scene(stanch_installed: Installed) -> Iterator[Scene]:
    namespace = f"held-{time.time_ns():x}"
    stanch_installed.admin("create", "namespace", namespace)
    yield set_up(stanch_installed, namespace)
    stanch_installed.admin("delete", "namespace", namespace, "--wait=false")


def set_up(installed: Installed, namespace: str) -> Scene:
    node_selector = {"stanch.dev/contained": "true"}
    agent = workload("DaemonSet", "agent")
    agent["spec"]["template"]["spec"]["nodeSelector"] = node_selector
    claims = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}}
    objects = [
        workload("Deployment", "llm-chat", replicas=0),
        workload("Deployment", "other", replicas=0),
        workload("StatefulSet", "store", replicas=0, serviceName="store", **claims),
        workload("ReplicaSet", "lone", replicas=0),
        agent,
        autoscaler("llm-chat"),
    ]
    for manifest in objects:
        if manifest["metadata"]["name"] != "other":
            manifest["metadata"]["labels"] = {"stanch.dev/held": "true"}
    installed.admin("create", "-n", namespace, "-f", "-", stdin=listed(*objects))
    replica_set = eventually(
        lambda: [
            item["metadata"]["name"]
            for item in installed.admin.get("replicasets", "-n", namespace, "-l", "app=llm-chat")["items"]
        ]
    )[0]
    held = [
        "Stopped apps/deployments/llm-chat",
        f"Stopped apps/replicasets/{replica_set}",
        "Stopped autoscaling/horizontalpodautoscalers/llm-chat",
        "Stopped apps/statefulsets/store",
        "Stopped apps/replicasets/lone",
        "Stopped apps/daemonsets/agent",
    ]
    hold(installed, namespace, *held)
    scene = Scene(installed, namespace, replica_set)
    probe = ("scale", "deployment/llm-chat", "--replicas=1", "--dry-run=server")
    eventually(lambda: scene.admin(*probe).returncode)
    return scene


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def eventually(look: Callable[[], Seen], within: float = 60.0) -> Seen:
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, "not seen in time"
        time.sleep(0.05)
    return seen


def llm_chat(**spec: Any) -> dict[str, Any]:
    """The manifest that a GitOps tool keeps applying."""
    return workload("Deployment", "llm-chat", **spec)


def owned(scene: Scene, replicas: int) -> dict[str, Any]:
    """A ReplicaSet that the held Deployment would own, under a name that no entry has."""
    uid = scene.get("deployment", "llm-chat")["metadata"]["uid"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "llm-chat",
        "uid": uid,
        "controller": True,
    }
    manifest = workload("ReplicaSet", "llm-chat-next", replicas=replicas)
    manifest["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    return manifest


def pod_of(
    kind: str, owner: str, reference: dict[str, Any] | None = None, **metadata: Any
) -> Callable[[Scene], dict[str, Any]]:
    """A pod as the owner's controller makes it, or with another `reference` to its owner."""

    def made(scene: Scene) -> dict[str, Any]:
        body = scene.get(kind, owner.replace("REPLICASET", scene.replica_set))
        owned_by = {
            "apiVersion": "apps/v1",
            "kind": kind,
            "name": body["metadata"]["name"],
            "uid": body["metadata"]["uid"],
            "controller": True,
            **(reference or {}),
        }
        template = body["spec"]["template"]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template["metadata"] | {"ownerReferences": [owned_by]} | metadata,
            "spec": template["spec"],
        }

    return made


def thawed_in_v1(scene: Scene) -> dict[str, Any]:
    """The autoscaler as the old API shows it, where behavior is an annotation, without that."""
    path = f"/apis/autoscaling/v1/namespaces/{scene.namespace}/horizontalpodautoscalers/llm-chat"
    shown: dict[str, Any] = json.loads(scene.installed.admin("get", "--raw", path))
    shown["metadata"]["annotations"].pop("autoscaling.alpha.kubernetes.io/behavior")
    return shown


def scale_of(scene: Scene, resource: str, name: str, replicas: int) -> dict[str, Any]:
    path = f"/apis/apps/v1/namespaces/{scene.namespace}/{resource}/{name}/scale"
    shown: dict[str, Any] = json.loads(scene.installed.admin("get", "--raw", path))
    shown["spec"]["replicas"] = replicas
    return shown


def scaled_replica_set(scene: Scene) -> dict[str, Any]:
    shown: dict[str, Any] = scene.get("replicaset", scene.replica_set)
    shown["spec"]["replicas"] = 3
    return shown


DELETED = f"{HELD}: it cannot be deleted before it is given back; to give it back: "
CREATED = f"{HELD}: it cannot be created again before it is given back; to give it back: "
LABEL = f"{HELD}: label stanch.dev/held stays until it is given back; to give it back: "
NODES = f"{HELD} on no node: node selector stanch.dev/contained stays; to give it back: "
FROZEN = f"{HELD} with scale-up disabled: behavior.scaleUp.selectPolicy stays Disabled; to give it back: "
VOLUMES = (
    f"{HELD}: persistentVolumeClaimRetentionPolicy.whenScaled stays Retain, or its volumes would be deleted; "
    "to give it back: "
)

APPS = "/apis/apps/v1/namespaces/NAMESPACE"
AUTOSCALING_V1 = "/apis/autoscaling/v1/namespaces/NAMESPACE"


@dataclass(frozen=True)
class Attempt:
    """A kubectl command (NAMESPACE and REPLICASET stand for the scene's), what it reads, and the refusal."""

    command: str
    refusal: str | None
    stdin: Callable[[Scene], dict[str, Any]] | dict[str, Any] | None = None


def merge(target: str, patch: dict[str, Any], *options: str) -> str:
    return shlex.join(["patch", *target.split(), "--type=merge", "-p", json.dumps(patch), *options])


def spec(**fields: Any) -> dict[str, Any]:
    return {"spec": fields}


SCALE_UPS = {
    "kubectl scale": Attempt("scale deployment/llm-chat --replicas=3", AT_ZERO),
    "kubectl scale, a StatefulSet": Attempt("scale statefulset/store --replicas=1", AT_ZERO),
    "kubectl scale, a ReplicaSet": Attempt("scale replicaset/lone --replicas=1", AT_ZERO),
    "kubectl scale, its ReplicaSet": Attempt("scale replicaset/REPLICASET --replicas=3", AT_ZERO),
    "kubectl patch": Attempt(merge("deployment llm-chat", spec(replicas=1)), AT_ZERO),
    "kubectl patch, the scale": Attempt(
        merge("deployment llm-chat", spec(replicas=1), "--subresource=scale"), AT_ZERO
    ),
    "dropping the count: one": Attempt(merge("deployment llm-chat", spec(replicas=None)), AT_ZERO),
    "kubectl replace": Attempt("replace -f -", AT_ZERO, llm_chat(replicas=3)),
    "kubectl apply": Attempt("apply -f -", AT_ZERO, llm_chat(replicas=3)),
    "a GitOps tool": Attempt(
        "apply --server-side --force-conflicts --field-manager=argocd-controller -f -",
        AT_ZERO,
        llm_chat(replicas=3),
    ),
    "the autoscaler": Attempt(
        f"replace {HPA} --raw {APPS}/deployments/llm-chat/scale?dryRun=All -f -",
        AT_ZERO,
        lambda scene: scale_of(scene, "deployments", "llm-chat", 2),
    ),
    "the Deployment controller": Attempt(
        f"replace {DEPLOYMENT_CONTROLLER} --raw {APPS}/replicasets/REPLICASET?dryRun=All -f -",
        AT_ZERO,
        scaled_replica_set,
    ),
    "a new ReplicaSet of the Deployment": Attempt("create -f -", AT_ZERO, lambda scene: owned(scene, 1)),
}
NO_POD = f"{HELD}: no pod of it can be created before it is given back; to give it back: "
POD_OF_REPLICA_SET = pod_of("ReplicaSet", "REPLICASET", generateName="llm-chat-5d-")
NEW_PODS = {
    "a pod of its ReplicaSet": Attempt("create -f -", NO_POD, POD_OF_REPLICA_SET),
    "a pod of its ReplicaSet, by its controller": Attempt(
        f"create {REPLICASET_CONTROLLER} -f -", NO_POD, POD_OF_REPLICA_SET
    ),
    "a pod of a lone ReplicaSet": Attempt("create -f -", NO_POD, pod_of("ReplicaSet", "lone", name="lone-x")),
    "a pod of the StatefulSet": Attempt(
        "create -f -", NO_POD, pod_of("StatefulSet", "store", name="store-0")
    ),
    "a pod of the DaemonSet": Attempt(
        "create -f -", NO_POD, pod_of("DaemonSet", "agent", generateName="agent-")
    ),
}
DELETIONS = {
    "kubectl delete": Attempt("delete deployment llm-chat", DELETED),
    "kubectl delete, leaving the pods": Attempt("delete deployment llm-chat --cascade=orphan", DELETED),
    "kubectl delete, its ReplicaSet": Attempt("delete replicaset REPLICASET", DELETED),
    "kubectl delete, a StatefulSet": Attempt("delete statefulset store", DELETED),
    "kubectl delete, a DaemonSet": Attempt("delete daemonset agent", DELETED),
    "kubectl delete, the autoscaler": Attempt("delete hpa llm-chat", DELETED),
    "kubectl delete --all": Attempt("delete deployments --all", DELETED),
    "deleting a collection": Attempt(f"delete --raw {APPS}/statefulsets?dryRun=All", DELETED),
    "creating it again": Attempt("create -f -", CREATED, llm_chat(replicas=0)),
    "kubectl replace --force": Attempt("replace --force -f -", DELETED, llm_chat(replicas=0)),  # never dry
}
SIDE_DOORS = {
    "taking the node selector away": Attempt(
        merge("daemonset agent", spec(template={"spec": {"nodeSelector": None}})), NODES
    ),
    "selecting another value": Attempt(
        merge("daemonset agent", spec(template={"spec": {"nodeSelector": {"stanch.dev/contained": "no"}}})),
        NODES,
    ),
    "a GitOps tool, the DaemonSet": Attempt("replace -f -", NODES, workload("DaemonSet", "agent")),
    "thawing the autoscaler": Attempt(
        merge("hpa llm-chat", spec(behavior={"scaleUp": {"selectPolicy": "Max"}})), FROZEN
    ),
    "thawing the autoscaler through its old API": Attempt(
        f"replace --raw {AUTOSCALING_V1}/horizontalpodautoscalers/llm-chat?dryRun=All -f -",
        FROZEN,
        thawed_in_v1,
    ),
    "having volumes deleted": Attempt(
        merge("statefulset store", spec(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"})),
        VOLUMES,
    ),
    "taking the label away": Attempt("label deployment llm-chat stanch.dev/held-", LABEL),
    "kubectl replace without the label": Attempt("replace -f -", LABEL, llm_chat(replicas=0)),
}
ALLOWED = {
    "staying at zero": Attempt("scale deployment/llm-chat --replicas=0", None),
    "an annotation": Attempt("annotate deployment llm-chat note=seen", None),
    "another label": Attempt("label statefulset store team=chat", None),
    "another image": Attempt("set image deployment/llm-chat server=example.test/server:2", None),
    "another image, a DaemonSet": Attempt(
        "set image daemonset/agent server=registry.example.test/server:2", None
    ),
    "status": Attempt(
        merge("deployment llm-chat", {"status": {"observedGeneration": 1}}, "--subresource=status"), None
    ),
    "another maximum of the autoscaler": Attempt(merge("hpa llm-chat", spec(maxReplicas=9)), None),
    "a new ReplicaSet of the Deployment at zero": Attempt("create -f -", None, lambda scene: owned(scene, 0)),
    "a workload that is not held": Attempt("scale deployment/other --replicas=3", None),
    "deleting one that is not held": Attempt("delete deployment other", None),
    "a new workload": Attempt("create -f -", None, workload("Deployment", "new", replicas=3)),
    "a new workload with a made-up name": Attempt(
        "create -f -", None, workload("Deployment", "new") | {"metadata": {"generateName": "llm-chat"}}
    ),
    "a pod of nobody": Attempt("run llm-chat --image=example.test/server:2", None),
    "a pod of what is not held": Attempt(
        "create -f -", None, pod_of("Deployment", "other", generateName="llm-chat-")
    ),
    "a pod of another group's StatefulSet by that name": Attempt(
        "create -f -",
        None,
        pod_of("StatefulSet", "store", {"apiVersion": "apps.example.test/v1"}, name="store-0"),
    ),
    "a pod that ends with a workload and is not its own": Attempt(
        "create -f -", None, pod_of("StatefulSet", "store", {"controller": False}, name="beside")
    ),
    "cascading deletion": Attempt(f"delete {GARBAGE_COLLECTOR} deployment llm-chat", None),
    "the namespace's end": Attempt(f"delete {NAMESPACE_CONTROLLER} statefulset store", None),
    "revision clean-up": Attempt(
        f"delete {DEPLOYMENT_CONTROLLER} --raw {APPS}/replicasets/REPLICASET?dryRun=All", None
    ),
}
ATTEMPTS = SCALE_UPS | NEW_PODS | DELETIONS | SIDE_DOORS | ALLOWED


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_the_hold_denies_what_undoes_it_and_nothing_else(scene: Scene, attempt: Attempt) -> None:
    answer = dry_run(scene.admin, scene, attempt)
    if attempt.refusal is None:
        assert (answer.returncode, answer.stderr) == (0, "")
        return
    assert answer.returncode == 1
    assert "(Forbidden)" in answer.stderr
    assert attempt.refusal + way_back(scene.namespace) in answer.stderr


def dry_run(run: Callable[..., Said], scene: Scene, attempt: Attempt) -> Said:
    """Try without doing: admission sees a server-side dry run as it sees the real thing."""
    command = attempt.command.replace("NAMESPACE", scene.namespace).replace("REPLICASET", scene.replica_set)
    arguments = shlex.split(command)
    if "--raw" not in arguments and "--force" not in arguments:
        arguments.append("--dry-run=server")
    stdin = attempt.stdin(scene) if callable(attempt.stdin) else attempt.stdin
    if stdin is not None and "replace" in arguments and "--raw" not in arguments:
        stdin = stdin | {"metadata": stdin["metadata"] | {"namespace": scene.namespace}}
    return run(*arguments, stdin=stdin)


def way_back(namespace: str) -> str:
    patch = '{"spec":{"desiredState":"Released"}}'
    return f"kubectl patch aii leak-81d2e -n {namespace} --type=merge -p '{patch}'"


def test_the_operator_itself_may_give_back(scene: Scene) -> None:
    arguments = merge("deployment llm-chat", spec(replicas=3), "--dry-run=server", "-n", scene.namespace)
    scene.installed.operator(*shlex.split(arguments))


def test_the_denial_names_a_command_that_gives_back(scene: Scene) -> None:
    incident = {
        "apiVersion": "stanch.dev/v1alpha1",
        "kind": "AIIncident",
        "metadata": {"name": "leak-81d2e"},
        "spec": {
            "title": "Leak",
            "category": "DataBreach",
            "severity": "High",
            "targets": [{"kind": "Deployment", "name": "llm-chat"}],
        },
    }
    scene.installed.admin("create", "-n", scene.namespace, "-f", "-", stdin=incident)
    refusal = scene.admin("scale", "deployment/llm-chat", "--replicas=3").stderr
    _, command = refusal.strip().split("to give it back: kubectl ")
    scene.installed.admin(*shlex.split(command))
    assert scene.get("aii", "leak-81d2e")["spec"]["desiredState"] == "Released"


def test_two_incidents_are_both_named(stanch_installed: Installed, space: str) -> None:
    stanch_installed.admin("create", "deployment", "llm-chat", "--image=none", "--replicas=0", "-n", space)
    both = ("leak-81d2e", "toxic-7f3c9")
    hold(stanch_installed, space, "Stopped apps/deployments/llm-chat", incidents=both)
    answer = eventually(
        lambda: refused(stanch_installed, "scale", "deployment/llm-chat", "--replicas=3", "-n", space)
    )
    assert f"{HELD} and 1 more at 0 replicas" in answer


def test_a_target_not_yet_at_zero_can_go_down_but_not_up(stanch_installed: Installed, space: str) -> None:
    stanch_installed.admin("create", "deployment", "llm-chat", "--image=none", "--replicas=3", "-n", space)
    hold(stanch_installed, space, "Stopped apps/deployments/llm-chat")
    assert eventually(
        lambda: refused(stanch_installed, "scale", "deployment/llm-chat", "--replicas=4", "-n", space)
    )
    stanch_installed.admin("annotate", "deployment", "llm-chat", "note=seen", "-n", space)
    stanch_installed.admin("scale", "deployment/llm-chat", "--replicas=2", "-n", space)
    assert refused(stanch_installed, "scale", "deployment/llm-chat", "--replicas=3", "-n", space)


def test_while_it_is_given_back_its_controller_may_follow_and_people_may_not(
    stanch_installed: Installed, space: str
) -> None:
    scene = set_up(stanch_installed, space)
    held = ["Stopped apps/deployments/llm-chat", f"Stopped apps/replicasets/{scene.replica_set}"]
    hold(stanch_installed, space, *held, giving_back="leak-81d2e")
    follow = SCALE_UPS["the Deployment controller"]
    eventually(lambda: dry_run(scene.admin, scene, follow).returncode == 0)
    assert dry_run(scene.admin, scene, NEW_PODS["a pod of its ReplicaSet, by its controller"]).returncode == 0
    by_hand = dry_run(scene.admin, scene, SCALE_UPS["kubectl scale, its ReplicaSet"])
    assert AT_ZERO in by_hand.stderr
    new = dry_run(scene.admin, scene, SCALE_UPS["kubectl scale"])
    assert AT_ZERO in new.stderr


def cron_job(name: str) -> dict[str, Any]:
    container = {"name": "trainer", "image": "registry.example.test/trainer:1"}
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


def job_of(owner: dict[str, Any], name: str, **spec: Any) -> dict[str, Any]:
    reference = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": name, "ownerReferences": [reference]}
    base = owner["spec"]["jobTemplate"]["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": base | spec}


def test_a_suspended_cronjob_starts_no_job_by_nobodys_hand(stanch_installed: Installed, space: str) -> None:
    admin = stanch_installed.admin
    for name in ("nightly", "other"):
        admin("create", "-n", space, "-f", "-", stdin=cron_job(name))
    nightly, other = (admin.get("cronjob", name, "-n", space) for name in ("nightly", "other"))
    admin("create", "-n", space, "-f", "-", stdin=job_of(nightly, "waits", suspend=True))
    hold(stanch_installed, space, "Stopped batch/cronjobs/nightly")
    create = ("create", "-n", space, "--dry-run=server", "-f", "-")
    started = f"{HELD} and suspended: its CronJob starts no Job; to give it back: {way_back(space)}"

    def refusal(*arguments: str, stdin: object = None) -> str:
        return admin.run(*arguments, stdin=stdin).stderr

    eventually(lambda: started in refusal(*create, stdin=job_of(nightly, "nightly-1")))
    assert started in refusal(*create, CRONJOB_CONTROLLER, stdin=job_of(nightly, "nightly-1"))
    unnamed = job_of(nightly, "x")
    unnamed["metadata"] = {**unnamed["metadata"], "generateName": "nightly-"}
    del unnamed["metadata"]["name"]
    assert started in refusal(*create, stdin=unnamed)
    by_hand = ("create", "job", "mine", "--from=cronjob/nightly", "-n", space, "--dry-run=server")
    assert started in refusal(*by_hand)
    resume = ("patch", "job", "waits", "-n", space, "--dry-run=server", "--type=merge", "-p", RESUME)
    assert f"{HELD} and suspended: spec.suspend stays true" in refusal(*resume)
    assert refusal(*create, stdin=job_of(nightly, "nightly-1", suspend=True)) == ""
    assert refusal(*create, stdin=job_of(other, "other-1")) == ""

    hold(stanch_installed, space, "Stopped batch/cronjobs/nightly", giving_back="leak-81d2e")
    follow = (*create, CRONJOB_CONTROLLER)
    eventually(lambda: refusal(*follow, stdin=job_of(nightly, "nightly-1")) == "")
    assert started in refusal(*create, stdin=job_of(nightly, "nightly-1"))


RESUME = '{"spec":{"suspend":false}}'


def quarantined_pod(name: str, owner: dict[str, Any]) -> dict[str, Any]:
    labels = {"stanch.dev/held": "true", "stanch.dev/quarantined": "leak-81d2e", "team": "chat"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "server", "image": "registry.example.test/server:1"}]},
    }


def test_a_quarantined_pod_keeps_its_labels_and_gets_no_new_owner(
    stanch_installed: Installed, space: str
) -> None:
    admin = stanch_installed.admin
    eventually(lambda: admin.run("get", "serviceaccount", "default", "-n", space).returncode == 0)
    owner, trap = (owner_named(admin, space, name) for name in ("owner", "trap"))
    admin("create", "-n", space, "-f", "-", stdin=quarantined_pod("suspect", owner))
    hold(stanch_installed, space, "Sealed pods/suspect")

    def said(*command: str) -> str:
        return admin.run(*command, "-n", space, "--dry-run=server").stderr

    stays = f"{HELD}: what Stanch wrote into it stays until it is given back; to give it back: "
    owned = ("patch", "pod", "suspect", "--type=merge", "-p")
    eventually(lambda: stays in said("label", "pod", "suspect", "app=llm"))
    assert stays in said("label", "pod", "suspect", "stanch.dev/quarantined-")
    assert stays in said("label", "pod", "suspect", "team-")
    assert stays in said(*owned, json.dumps({"metadata": {"ownerReferences": [owner, trap]}}))
    assert said(*owned, json.dumps({"metadata": {"ownerReferences": None}})) == ""
    assert said("annotate", "pod", "suspect", "note=seen") == ""
    another = quarantined_pod("suspect", owner)
    exists = admin.run("create", "-n", space, "-f", "-", "--dry-run=server", stdin=another).stderr
    assert "already exists" in exists
    assert "it cannot be deleted" in said("delete", "pod", "suspect")
    assert "it cannot be deleted" in said("delete", "pod", "suspect", "--force", "--grace-period=0")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "suspect", "namespace": space},
        "deleteOptions": {"dryRun": ["All"]},
    }
    path = f"/api/v1/namespaces/{space}/pods/suspect/eviction"
    assert "it cannot be evicted" in admin.run("create", "--raw", path, "-f", "-", stdin=eviction).stderr
    node = "--as=system:node:sandbox"
    groups = "--as-group=system:nodes"
    assert "it cannot be deleted" not in said("delete", "pod", "suspect", node, groups)


def owner_named(admin: Any, space: str, name: str) -> dict[str, Any]:
    admin("create", "configmap", name, "-n", space)
    uid = admin.get("configmap", name, "-n", space)["metadata"]["uid"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}


def test_a_namespace_goes_with_all_that_is_held_in_it(stanch_installed: Installed) -> None:
    namespace = f"held-{time.time_ns():x}"
    stanch_installed.admin("create", "namespace", namespace)
    set_up(stanch_installed, namespace)
    stanch_installed.admin("delete", "namespace", namespace, "--wait=true", "--timeout=110s")


def test_the_same_name_elsewhere_is_not_held(stanch_installed: Installed, space: str) -> None:
    stanch_installed.admin("create", "deployment", "llm-chat", "--image=none", "--replicas=0", "-n", space)
    stanch_installed.admin("scale", "deployment/llm-chat", "--replicas=3", "-n", space)


def refused(installed: Installed, *command: str) -> str:
    """What kubectl says when it is refused; empty when it is not."""
    answer = installed.admin.run(*command, "--dry-run=server")
    return answer.stderr if answer.returncode else ""
