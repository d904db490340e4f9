"""What runs is compared with what is condemned and with what is known to be good: by digest, not by name."""

from __future__ import annotations

from typing import Any

import pytest

from stanch.api.v1alpha1.versions import ModelLocator
from stanch.verification.integrity import integrity_reading
from stanch.verification.reading import Answer, Reading
from tests.unit.verification.looks import at
from tests.unit.verification.workloads import (
    BAD,
    GOOD,
    IMAGE,
    Json,
    container,
    deployment,
    pod,
    seen,
    subject,
)

NOW = at(60)


def integrity(*pods: Json, **more: Any) -> Reading:
    return integrity_reading(subject(**more), [seen(deployment(len(pods)), *pods)], NOW)


def server(**more: Any) -> Json:
    """A pod whose one container has these fields."""
    body = pod()
    body["spec"]["containers"][0] |= more
    return body


def test_nothing_that_is_condemned_runs() -> None:
    reading = integrity(
        pod(), condemned=frozenset({"image/registry.example.test/llm:2.4.0", f"digest/{BAD}"})
    )
    assert (reading.answer, reading.reason) == (Answer.HOLDS, "Intact")


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (pod(), f"image/{IMAGE}"),
        (pod(containerStatuses=[container(imageID=f"r@{BAD}")]), f"digest/{BAD}"),
        (server(args=["--model=bad"]), "arg/--model=bad"),
        (server(env=[{"name": "MODEL_ID", "value": "bad"}]), "env/MODEL_ID=bad"),
        (
            pod() | {"metadata": pod()["metadata"] | {"annotations": {"model": "bad"}}},
            "annotation/model=bad",
        ),
    ],
    ids=["image", "re-tagged", "argument", "variable", "annotation"],
)
def test_whatever_is_condemned_fails_it(body: Json, key: str) -> None:
    reading = integrity(pod("fine"), body, condemned=frozenset({key}))
    assert (reading.answer, reading.reason) == (Answer.FAILS, "Condemned")
    assert key in reading.message


def test_a_pod_that_has_ended_runs_nothing() -> None:
    reading = integrity(pod("a", phase="Succeeded"), condemned=frozenset({f"image/{IMAGE}"}))
    assert reading.answer is Answer.HOLDS


def test_every_container_runs_a_digest_that_is_known_to_be_good() -> None:
    assert integrity(pod(), known_good={"images": [GOOD]}).answer is Answer.HOLDS
    reading = integrity(pod(), known_good={"images": [BAD]})
    assert (reading.answer, reading.reason) == (Answer.FAILS, "OtherImage")
    assert GOOD in reading.message


def test_a_sidecar_that_nobody_vouched_for_fails_it() -> None:
    body = pod(containerStatuses=[container(), container("proxy", imageID=f"r@{BAD}")])
    body["spec"]["containers"].append({"name": "proxy", "image": "proxy"})
    assert integrity(body, known_good={"images": [GOOD]}).reason == "OtherImage"
    assert integrity(body, known_good={"images": [GOOD, BAD]}).answer is Answer.HOLDS


@pytest.mark.parametrize("statuses", [[], [container(imageID="")], [container(imageID="llm:2.3.1")]])
def test_without_a_digest_it_is_not_known(statuses: list[Json]) -> None:
    reading = integrity(pod(containerStatuses=statuses), known_good={"images": [GOOD]})
    assert (reading.answer, reading.reason) == (Answer.UNKNOWN, "DigestUnknown")


def test_one_bad_pod_outweighs_one_that_is_not_known() -> None:
    unknown, bad = pod("a", containerStatuses=[]), pod("b", containerStatuses=[container(imageID=f"r@{BAD}")])
    assert integrity(unknown, bad, known_good={"images": [GOOD]}).answer is Answer.FAILS


@pytest.mark.parametrize(
    ("fields", "answer", "reason"),
    [
        ({"env": [{"name": "MODEL_VERSION", "value": "2.3.1"}]}, Answer.HOLDS, "Intact"),
        ({"args": ["--model=org/llm", "--revision=2.3.1"]}, Answer.HOLDS, "Intact"),
        ({"env": [{"name": "MODEL_VERSION", "value": "2.4.0"}]}, Answer.FAILS, "OtherModel"),
        ({}, Answer.UNKNOWN, "ModelNotFound"),
    ],
)
def test_the_model_that_runs_is_the_one_known_to_be_good(fields: Json, answer: Answer, reason: str) -> None:
    reading = integrity(server(**fields), known_good={"modelVersion": "2.3.1"})
    assert (reading.answer, reading.reason) == (answer, reason)


def test_where_the_model_is_kept_may_be_said() -> None:
    """What a machine would find first is not always what tells the versions apart."""
    variables = [{"name": "MODEL_VERSION", "value": "base"}, {"name": "ADAPTER", "value": "2.3.1"}]
    pods = [seen(deployment(1), server(env=variables))]
    about = subject(known_good={"modelVersion": "2.3.1"})
    assert integrity_reading(about, pods, NOW).reason == "OtherModel"
    assert integrity_reading(about, pods, NOW, ModelLocator(env="ADAPTER")).answer is Answer.HOLDS


@pytest.mark.parametrize("version", ["2.3.1", "registry.example.test/models/llm:2.3.1"])
def test_a_model_in_an_image_volume_is_told_by_its_tag(version: str) -> None:
    body = pod()
    reference = "registry.example.test/models/llm:2.3.1"
    body["spec"]["volumes"] = [{"name": "model", "image": {"reference": reference}}]
    assert integrity(body, known_good={"modelVersion": version}).answer is Answer.HOLDS
    assert integrity(body, known_good={"modelVersion": "2.4.0"}).answer is Answer.FAILS


@pytest.mark.parametrize("known", [None, {}, {"images": []}])
def test_without_anything_to_compare_with_nothing_is_proven(known: Any) -> None:
    reading = integrity(pod(), known_good=known)
    assert (reading.answer, reading.reason) == (Answer.UNKNOWN, "NothingToCompare")


def test_condemned_and_known_good_have_to_agree() -> None:
    both = {"known_good": {"images": [GOOD]}, "condemned": frozenset({f"digest/{GOOD}"})}
    assert integrity(pod(), **both).reason == "Condemned"
