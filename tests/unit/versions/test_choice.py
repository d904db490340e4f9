"""Which version is gone back to, from which history, and when there is none to go back to."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stanch.api.v1alpha1.versions import ImageChoice, ModelLocator, RollbackTo
from stanch.versions.choice import Chosen, Refused, Standing, choose
from stanch.versions.condemned import condemn
from stanch.versions.revisions import Revision, current_of, of_controller_revisions, of_replica_sets
from tests.unit.versions.templates import env, server, serving, template

Json = dict[str, Any]
UID = "uid-llm"
OWNERS = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "llm", "uid": UID, "controller": True}]
BEST = RollbackTo(last_known_good=True)
BAD = "sha256:" + "ba" * 32


def replica_set(
    number: int, pods: Json, *, good: bool = False, owners: Any = OWNERS, former: str = ""
) -> Json:
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    if good:
        annotations["stanch.dev/known-good"] = "true"
    if former:
        annotations["deployment.kubernetes.io/revision-history"] = former
    hashed = copy.deepcopy(pods)
    hashed["metadata"]["labels"]["pod-template-hash"] = f"h{number}"
    return {
        "metadata": {"name": f"llm-h{number}", "annotations": annotations, "ownerReferences": owners},
        "spec": {"replicas": 0, "template": hashed},
    }


def controller_revision(number: int, pods: Json) -> Json:
    raw = {**copy.deepcopy(pods), "$patch": "replace"}
    raw["metadata"]["creationTimestamp"] = None
    return {
        "metadata": {"name": f"llm-h{number}", "ownerReferences": OWNERS},
        "revision": number,
        "data": {"spec": {"template": raw}},
    }


def image(tag: str, **more: Any) -> Json:
    return template(server(f"registry.example.test/llm:{tag}", **more))


def standing(*pods: Json, good: tuple[int, ...] = (), **more: Any) -> Standing:
    """A Deployment that had these templates one after the other, from 1 on; the last is the current one."""
    sets = [replica_set(number, each, good=number in good) for number, each in enumerate(pods, start=1)]
    return Standing(pods[-1], of_replica_sets(UID, sets), **more)


def chosen(result: Chosen | Refused) -> Chosen:
    assert isinstance(result, Chosen), result
    return result


def refused(result: Chosen | Refused) -> Refused:
    assert isinstance(result, Refused), result
    return result


def test_history_of_a_deployment_is_its_own_replica_sets_in_order() -> None:
    foreign = [{**OWNERS[0], "uid": "uid-other"}]
    unnumbered = {"metadata": {"name": "x", "ownerReferences": OWNERS}, "spec": {"template": template()}}

    revisions = of_replica_sets(
        UID,
        [
            replica_set(10, image("3"), good=True, former="1,7"),
            replica_set(9, image("2")),
            replica_set(4, image("1"), owners=foreign),
            replica_set(5, image("1"), owners=None),
            unnumbered,
        ],
    )

    assert revisions == (
        Revision(9, "llm-h9", image("2")),
        Revision(10, "llm-h10", image("3"), known_good=True, former=(1, 7)),
    )


def test_history_of_a_statefulset_or_daemonset_is_its_controller_revisions() -> None:
    revisions = of_controller_revisions(
        UID, [controller_revision(2, image("2")), controller_revision(1, image("1"))]
    )

    assert revisions == (Revision(1, "llm-h1", image("1")), Revision(2, "llm-h2", image("2")))
    assert of_controller_revisions(UID, [{"metadata": {"name": "empty", "ownerReferences": OWNERS}}]) == ()


def test_the_current_revision_is_the_newest_with_the_current_template() -> None:
    revisions = of_replica_sets(
        UID, [replica_set(n, image(tag)) for n, tag in ((1, "1"), (2, "2"), (3, "1"))]
    )

    current = current_of(revisions, image("1"))

    assert current is not None
    assert current.number == 3
    assert current_of(revisions, image("9")) is None


def test_a_named_revision() -> None:
    result = chosen(choose(standing(image("1"), image("2"), image("3")), RollbackTo(revision=1), None, ()))

    assert (result.template, result.number, result.what) == (image("1"), 1, "revision 1 (llm-h1)")


@pytest.mark.parametrize(
    ("history", "good", "number"),
    [
        pytest.param([image("1"), image("2")], (), 1, id="the one before"),
        pytest.param([image("1"), image("2"), image("3")], (), 2, id="the newest of several"),
        pytest.param([image("1"), image("2"), image("3")], (1,), 1, id="the one somebody vouched for"),
        pytest.param([image("1"), image("2"), image("3")], (1, 2), 2, id="the newest vouched for"),
        pytest.param(
            [image("1"), image("2"), image("2", resources={"limits": {}})], (), 1, id="not the bad one again"
        ),
        pytest.param(
            [
                template(server("llm:1"), server("proxy:1", "proxy")),
                template(server("llm:2"), server("proxy:1", "proxy")),
                template(server("llm:2"), server("proxy:2", "proxy")),
            ],
            (),
            1,
            id="another sidecar is no other version",
        ),
        pytest.param(
            [serving("--model=a"), serving("--model=b"), serving("--model=b", "--port=1")],
            (),
            1,
            id="another model",
        ),
        pytest.param(
            [image("1"), image("2"), image("3")], (3,), 2, id="vouching for the bad one does not help it"
        ),
    ],
)
def test_the_last_known_good_version(history: list[Json], good: tuple[int, ...], number: int) -> None:
    assert chosen(choose(standing(*history, good=good), BEST, None, ())).number == number


def test_what_is_condemned_is_never_gone_back_to() -> None:
    history = standing(image("1"), image("2"), image("3"), good=(2,))
    condemned = condemn(image("2"), image("1")).keys

    assert chosen(choose(history, BEST, None, condemned)).number == 1
    by_name = refused(choose(history, RollbackTo(revision=2), None, condemned))
    assert by_name.reason == "Condemned"
    assert "image/registry.example.test/llm:2" in by_name.message
    by_image = refused(choose(history, RollbackTo(image=ImageChoice(tag="2")), None, condemned))
    assert by_image.reason == "Condemned"


def test_after_a_rollback_the_way_back_does_not_lead_to_the_bad_version() -> None:
    """Version 1 is renumbered 3 when it is rolled back to; the newest earlier one is then the bad one."""
    sets = [replica_set(2, image("2")), replica_set(3, image("1"), former="1")]
    history = Standing(image("1"), of_replica_sets(UID, sets))
    condemned = condemn(image("2"), image("1")).keys

    assert refused(choose(history, BEST, None, condemned)).reason == "NoKnownGood"
    gone = refused(choose(history, RollbackTo(revision=1), None, condemned))
    assert gone.reason == "RevisionNotFound"
    assert "it is revision 3 now" in gone.message


@pytest.mark.parametrize(
    ("choice", "reference"),
    [
        (ImageChoice(tag="1"), "registry.example.test/llm:1"),
        (ImageChoice(digest=BAD), f"registry.example.test/llm@{BAD}"),
        (ImageChoice(reference="other.test/llm:1"), "other.test/llm:1"),
        (ImageChoice(container="server", tag="1"), "registry.example.test/llm:1"),
    ],
)
def test_another_image_and_nothing_else(choice: ImageChoice, reference: str) -> None:
    now = image("2", args=["--port=80"], env=env(A="b"))

    result = chosen(choose(Standing(now), RollbackTo(image=choice), None, ()))

    assert result.template == template(server(reference, args=["--port=80"], env=env(A="b")))
    assert result.what == f"image {reference} in container server"


def test_the_image_of_an_init_container_by_its_name() -> None:
    now = template(initContainers=[server("fetch:2", "fetch")])

    choice = ImageChoice(container="fetch", tag="1")
    result = chosen(choose(Standing(now), RollbackTo(image=choice), None, ()))

    assert result.template == template(initContainers=[server("fetch:1", "fetch")])


def test_another_model_version_and_nothing_else() -> None:
    now = template(
        server(args=["--model=org/x", "--revision", "r2"]),
        initContainers=[server("f", "fetch", args=["--revision=r2"])],
    )

    result = chosen(choose(Standing(now), RollbackTo(model_version="r1"), None, ()))

    assert result.template == template(
        server(args=["--model=org/x", "--revision", "r1"]),
        initContainers=[server("f", "fetch", args=["--revision=r1"])],
    )
    located = ModelLocator(arg="--model")
    other = chosen(choose(Standing(now), RollbackTo(model_version="org/y"), located, ()))
    assert other.template["spec"]["containers"][0]["args"][0] == "--model=org/y"


@pytest.mark.parametrize(
    ("now", "to", "reason", "says"),
    [
        (standing(image("1"), image("2"), paused=True), BEST, "Paused", "resume it"),
        (standing(image("1"), image("2"), history_limit=0), BEST, "HistoryDisabled", "revisionHistoryLimit"),
        (standing(image("1")), BEST, "NoHistory", "no earlier revision"),
        (Standing(image("1")), RollbackTo(revision=3), "NoHistory", "no earlier revision"),
        (standing(image("1"), image("2")), RollbackTo(revision=2), "AlreadyCurrent", "revision 2 (llm-h2)"),
        (standing(image("1"), image("2")), RollbackTo(revision=7), "RevisionNotFound", "kept are 1, 2"),
        (
            standing(image("2"), image("2", args=["-v"])),
            BEST,
            "NoKnownGood",
            "no earlier revision differs in image or model version; annotate one",
        ),
        (
            Standing(image("1"), standing(image("1"), image("2")).revisions),
            BEST,
            "NoKnownGood",
            "runs its oldest revision",
        ),
        (
            standing(image("2")),
            RollbackTo(image=ImageChoice(container="proxy", tag="1")),
            "ContainerNotFound",
            "no container proxy, but server",
        ),
        (
            standing(template(server(), server(name="b"))),
            RollbackTo(image=ImageChoice(tag="1")),
            "ContainerAmbiguous",
            "several containers, server, b",
        ),
        (standing(image("2")), RollbackTo(image=ImageChoice(tag="2")), "AlreadyCurrent", "image registry"),
        (
            standing(template(server("nginx"))),
            RollbackTo(image=ImageChoice(reference="docker.io/library/nginx:latest")),
            "AlreadyCurrent",
            "runs now",
        ),
        (standing(image("2")), RollbackTo(model_version="1"), "ModelNotFound", "unknown"),
        (
            standing(serving("--model=a", env=env(MODEL_VERSION="1"))),
            RollbackTo(model_version="2"),
            "ModelAmbiguous",
            "name one with a locator",
        ),
        (
            standing(serving("--model=a")),
            RollbackTo(model_version="a"),
            "AlreadyCurrent",
            "model version a in arg --model",
        ),
    ],
)
def test_there_is_nothing_to_go_back_to_and_why(
    now: Standing, to: RollbackTo, reason: str, says: str
) -> None:
    refusal = refused(choose(now, to, None, ()))

    assert refusal.reason == reason
    assert says in refusal.message


def test_all_earlier_versions_are_condemned() -> None:
    condemned = [*condemn(image("1"), image("9")).keys, *condemn(image("2"), image("9")).keys]

    refusal = refused(choose(standing(image("1"), image("2"), image("3")), BEST, None, condemned))

    assert refusal.reason == "NoKnownGood"
    assert "all 2 earlier revisions carry what is condemned" in refusal.message
