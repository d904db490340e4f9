"""Condemning: what names the bad version is denied word for word, and nothing that the good one has."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given

from stanch.api.v1alpha1.versions import ModelLocator
from stanch.versions.condemned import LONGEST, Condemnation, carries, condemn, digests, runs
from stanch.versions.models import identify
from tests.unit.versions.templates import env, hostile, server, serving, template, templates

Json = dict[str, Any]
GOOD = "sha256:" + "0d" * 32
BAD = "sha256:" + "ba" * 32
HUB = "registry.example.test/llm"


def keys(bad: Json, good: Json, locator: ModelLocator | None = None) -> list[str]:
    return list(condemn(bad, good, locator).keys)


@pytest.mark.parametrize(
    ("bad", "good", "condemned"),
    [
        pytest.param(
            template(server(f"{HUB}:2")),
            template(server(f"{HUB}:1")),
            ["image/registry.example.test/llm:2", "image/registry.example.test:443/llm:2"],
            id="image",
        ),
        pytest.param(
            template(server(f"{HUB}@{BAD}")),
            template(server(f"{HUB}@{GOOD}")),
            [
                f"digest/{BAD}",
                f"image/registry.example.test/llm@{BAD}",
                f"image/registry.example.test:443/llm@{BAD}",
            ],
            id="digest",
        ),
        pytest.param(
            template(server(f"{HUB}:2@{BAD}"), initContainers=[server(f"{HUB}:1", "init")]),
            template(server(f"{HUB}:1@{GOOD}"), initContainers=[server(f"{HUB}:1", "init")]),
            [
                f"digest/{BAD}",
                "image/registry.example.test/llm:2",
                f"image/registry.example.test/llm:2@{BAD}",
                f"image/registry.example.test/llm@{BAD}",
                "image/registry.example.test:443/llm:2",
                f"image/registry.example.test:443/llm:2@{BAD}",
                f"image/registry.example.test:443/llm@{BAD}",
            ],
            id="tag and digest",
        ),
        pytest.param(
            template(server(f"{HUB}:2@{GOOD}")),
            template(server(f"{HUB}:1@{GOOD}")),
            [],
            id="two tags, one image",
        ),
        pytest.param(
            template(server("docker.io/library/nginx")),
            template(server("nginx:latest")),
            [],
            id="one name twice",
        ),
        pytest.param(
            template(server(f"{HUB}:1"), server(f"{HUB}:2", "other")),
            template(server(f"{HUB}:2")),
            ["image/registry.example.test/llm:1", "image/registry.example.test:443/llm:1"],
            id="an image that the good version has in another container is spared",
        ),
        pytest.param(
            serving("--model=org/bad"),
            serving("--model=org/good"),
            ["arg/--model=org/bad", "arg/org/bad"],
            id="model, and the other way to write it",
        ),
        pytest.param(
            serving("--model", "org/bad"),
            serving("--model", "org/good"),
            ["arg/--model=org/bad", "arg/org/bad"],
            id="model as a word of its own",
        ),
        pytest.param(
            serving("--model", "org/x", "--revision", "r2"),
            serving("--model", "org/x", "--revision", "r1"),
            ["arg/--revision=r2", "arg/r2"],
            id="only what differs",
        ),
        pytest.param(
            serving("--revision=main"),
            serving("--revision=r1"),
            ["arg/--revision=main"],
            id="a branch's name alone would deny too much",
        ),
        pytest.param(
            serving("--model=org/x"), serving("--model", "org/x"), [], id="the same model, written otherwise"
        ),
        pytest.param(
            template(server(env=env(MODEL_VERSION="2", HF_TOKEN="hf_secret", LOG_LEVEL="debug"))),
            template(server(env=env(MODEL_VERSION="1", HF_TOKEN="hf_other", LOG_LEVEL="info"))),
            ["env/MODEL_VERSION=2"],
            id="a variable, and no credential",
        ),
        pytest.param(
            template(annotations={"stanch.dev/model-version": "2", "checksum/config": "b"}),
            template(annotations={"stanch.dev/model-version": "1", "checksum/config": "a"}),
            ["annotation/stanch.dev/model-version=2"],
            id="annotation",
        ),
        pytest.param(
            template(volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}]),
            template(volumes=[{"name": "w", "image": {"reference": "r.test/m:1"}}]),
            ["image/r.test/m:2", "image/r.test:443/m:2"],
            id="image volume",
        ),
        pytest.param(
            serving("--model=b", "--served-model-name=chat-2"),
            serving("--model=a", "--served-model-name=chat-1"),
            ["arg/--model=b"],
            id="a name that a repaired model will bear is not denied",
        ),
        pytest.param(
            serving("--served-model-name=chat-2"),
            serving("--served-model-name=chat-1"),
            ["arg/--served-model-name=chat-2", "arg/chat-2"],
            id="unless nothing else tells the versions apart",
        ),
        pytest.param(serving("--port=1"), serving("--port=2"), [], id="what says nothing of the version"),
    ],
)
def test_what_is_condemned(bad: Json, good: Json, condemned: list[str]) -> None:
    assert keys(bad, good) == sorted(condemned)


def test_a_locator_says_what_tells_versions_apart() -> None:
    bad, good = (template(server(env=env(BUNDLE=number, MODEL_ID=number))) for number in ("2", "1"))

    assert keys(bad, good, ModelLocator(env="BUNDLE")) == ["env/BUNDLE=2"]


def test_a_script_is_condemned_whole() -> None:
    bad, good = (
        template(server(command=["sh", "-c"], args=[f"vllm serve org/{name} --port 80"]))
        for name in ("bad", "good")
    )

    assert "arg/vllm serve org/bad --port 80" in keys(bad, good)


def test_what_is_too_long_to_be_denied_is_said() -> None:
    name = "m" * (LONGEST + 1)

    condemnation = condemn(serving(f"--model={name}"), serving("--model=a"))

    assert condemnation.keys == ()
    assert condemnation.unmatched[0].startswith("arg --model=mmm")


@given(templates(), templates())
def test_the_bad_version_carries_what_is_condemned_and_the_good_one_nothing(bad: Json, good: Json) -> None:
    condemnation = condemn(bad, good)

    assert carries(good, condemnation.keys) == []
    assert bool(carries(bad, condemnation.keys)) == bool(condemnation.keys)


@given(templates())
def test_nothing_is_condemned_where_nothing_differs(pods: Json) -> None:
    assert condemn(pods, pods) == Condemnation()


@given(templates())
def test_all_that_tells_a_version_is_condemned_or_said(bad: Json) -> None:
    """Against a version that has nothing of it."""
    condemnation = condemn(bad, template(server("other.test/llm:1")))
    telling = [one for one in identify(bad) if one.role.value != "name" and one.where.value != "imageVolume"]

    assert condemnation.keys
    assert len(condemnation.keys) + len(condemnation.unmatched) >= len(
        {(one.key, one.value) for one in telling}
    )


@pytest.mark.parametrize(
    ("pods", "carried"),
    [
        pytest.param(template(server("nginx:1")), ["image/nginx:1"], id="container"),
        pytest.param(template(initContainers=[server("nginx:1")]), ["image/nginx:1"], id="init container"),
        pytest.param(
            template(ephemeralContainers=[server("nginx:1")]), ["image/nginx:1"], id="ephemeral one"
        ),
        pytest.param(
            template(volumes=[{"name": "w", "image": {"reference": "nginx:1"}}]),
            ["image/nginx:1"],
            id="image volume",
        ),
        pytest.param(template(server(f"any.test/x:9@{BAD}")), [f"digest/{BAD}"], id="digest by any name"),
        pytest.param(serving("--model=b"), ["arg/--model=b"], id="args"),
        pytest.param(template(server(command=["serve", "--model=b"])), ["arg/--model=b"], id="command"),
        pytest.param(template(server(env=env(MODEL_ID="b"))), ["env/MODEL_ID=b"], id="env"),
        pytest.param(template(annotations={"m": "b"}), ["annotation/m=b"], id="annotation"),
        pytest.param(serving("--model=b2", " --model=b", "x--model=b"), [], id="word for word, not in part"),
        pytest.param(
            template(server(env=[{"name": "MODEL_ID", "valueFrom": {}}])), [], id="no literal value"
        ),
        pytest.param(template(server("nginx:11")), [], id="another tag"),
        pytest.param(
            {"metadata": {"name": "bare"}, "spec": {"containers": [server("nginx:1")]}},
            ["image/nginx:1"],
            id="pod",
        ),
    ],
)
def test_what_a_pod_carries(pods: Json, carried: list[str]) -> None:
    condemned = [
        "image/nginx:1",
        f"digest/{BAD}",
        "arg/--model=b",
        "env/MODEL_ID=b",
        "annotation/m=b",
        "env/MODEL_ID=",
    ]

    assert carries(pods, set(condemned)) == carried


def pod(image: str, image_id: str, name: str = "server") -> Json:
    statuses = [{"name": name, "image": image, "imageID": image_id}]
    return {**template(server(image, name)), "status": {"containerStatuses": statuses}}


def test_a_tag_that_came_to_name_the_condemned_image_is_seen_in_what_runs() -> None:
    condemned = {f"digest/{BAD}"}

    assert runs(pod(f"{HUB}:3", f"{HUB}@{BAD}"), condemned) == sorted(condemned)
    assert runs(pod(f"{HUB}:3", f"{HUB}@{GOOD}"), condemned) == []
    assert runs(pod(f"{HUB}:3", ""), condemned) == []


def test_the_digests_of_a_condemned_tag_are_condemned_too_unless_they_run_by_a_good_name() -> None:
    condemned = {f"image/{HUB}:2"}

    assert digests([pod(f"{HUB}:2", f"{HUB}@{BAD}"), pod(f"{HUB}:1", f"{HUB}@{GOOD}")], condemned) == [
        f"digest/{BAD}"
    ]
    assert digests([pod(f"{HUB}:2", f"{HUB}@{GOOD}"), pod(f"{HUB}:1", f"{HUB}@{GOOD}")], condemned) == []
    assert digests([template()], condemned) == []


def test_a_hostile_template_is_condemned_in_no_time() -> None:
    begun = time.process_time()
    condemnation = condemn(hostile(), template(server("llm:1")))

    assert "image/llm:2" in condemnation.keys
    assert carries(hostile(), condemnation.keys) == ["image/llm:2"]
    assert condemn(template(server("llm:1")), hostile()).keys
    assert time.process_time() - begun < 10
