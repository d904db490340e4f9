"""Where the model's identity is found, and that writing another there changes nothing else."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import assume, given

from stanch.api.v1alpha1.versions import ModelLocator
from stanch.versions.located import Located, Where
from stanch.versions.models import Unlocated, identify, replace_value, version_places
from stanch.versions.roles import Role
from stanch.versions.template import value_at
from tests.unit.versions.templates import VERSIONS, env, hostile, server, serving, template, templates

Json = dict[str, Any]
COMMIT = "a" * 40


def said(found: list[Located]) -> list[tuple[str, str, str]]:
    return [(one.where.value, one.key, one.value) for one in found]


@pytest.mark.parametrize(
    ("pods", "found"),
    [
        pytest.param(serving("--model", "org/x"), [("arg", "--model", "org/x")], id="vLLM"),
        pytest.param(serving("--model=org/x"), [("arg", "--model", "org/x")], id="vLLM, one word"),
        pytest.param(
            template(server(command=["vllm", "serve", "org/x", "--port", "80"])),
            [("arg", "--model", "org/x")],
            id="vllm serve",
        ),
        pytest.param(
            serving("org/x", "--port", "80", image="vllm/vllm-openai:v0.9"),
            [("arg", "--model", "org/x")],
            id="vllm serve as the entrypoint",
        ),
        pytest.param(
            serving("python3", "-m", "server", image="vllm/vllm-openai:v0.9"), [], id="a program is no model"
        ),
        pytest.param(
            serving("--served_model_name", "chat", "chat2", "--model=x", "--revision", COMMIT),
            [
                ("arg", "--revision", COMMIT),
                ("arg", "--model", "x"),
                ("arg", "--served-model-name", "chat"),
                ("arg", "--served-model-name", "chat2"),
            ],
            id="vLLM, all of it",
        ),
        pytest.param(
            serving("--lora-modules", "sql=/a", "fr=org/b", "--port=80"),
            [("arg", "--lora-modules", "sql=/a"), ("arg", "--lora-modules", "fr=org/b")],
            id="vLLM adapters",
        ),
        pytest.param(
            serving("--model-id", "org/x", "--revision=r2"),
            [("arg", "--revision", "r2"), ("arg", "--model-id", "org/x")],
            id="TGI",
        ),
        pytest.param(
            serving(
                "--model-repository=s3://m/2",
                "--model-control-mode=explicit",
                "--load-model=a",
                "--load-model=b",
            ),
            [
                ("arg", "--model-repository", "s3://m/2"),
                ("arg", "--load-model", "a"),
                ("arg", "--load-model", "b"),
            ],
            id="Triton",
        ),
        pytest.param(
            serving("--model-repository=s3://m/2", "--load-model=a"),
            [("arg", "--model-repository", "s3://m/2")],
            id="Triton heeds --load-model in explicit mode only",
        ),
        pytest.param(serving("--model=a", "--model=b"), [("arg", "--model", "b")], id="the last one counts"),
        pytest.param(
            template(
                server(command=["sh", "-c"], args=["set -e\nexec vllm serve 'org/x' --port 80 # --model y"])
            ),
            [("arg", "--model", "org/x")],
            id="a shell script",
        ),
        pytest.param(
            template(server(command=["/bin/bash", "-ec", 'serve --model="org/x" && echo --revision'])),
            [("arg", "--model", "org/x")],
            id="a shell script with quotes",
        ),
        pytest.param(
            template(server(command=["sh", "-c", "serve --model $(fetch x) --revision $UNKNOWN"])),
            [],
            id="what a shell computes is not known",
        ),
        pytest.param(
            serving("--model=$(WHICH)", env=env(WHICH="org/x")),
            [("env", "WHICH", "org/x")],
            id="by reference",
        ),
        pytest.param(
            serving("--model=s3://m/$(V)", env=env(V="2")), [("env", "V", "2")], id="a part by reference"
        ),
        pytest.param(
            template(
                server(
                    env=env(MODEL_NAME="chat", MODEL_ID="x", MODEL_VERSION="2", REVISION="r", HF_HOME="/h")
                )
            ),
            [
                ("env", "MODEL_VERSION", "2"),
                ("env", "REVISION", "r"),
                ("env", "MODEL_ID", "x"),
                ("env", "MODEL_NAME", "chat"),
            ],
            id="plain variables",
        ),
        pytest.param(
            template(server(env=env(HF_MODEL_ID="org/x", HF_TOKEN="hf_secret", HF_HUB_OFFLINE="1"))),
            [("env", "HF_MODEL_ID", "org/x")],
            id="a token is no model",
        ),
        pytest.param(
            template(server(env=env(NIM_MODEL_NAME="org/x", NIM_CACHE_PATH="/c", NGC_API_KEY="k"))),
            [("env", "NIM_MODEL_NAME", "org/x")],
            id="NIM",
        ),
        pytest.param(
            template(server(env=[{"name": "MODEL_ID", "valueFrom": {"configMapKeyRef": {}}}])),
            [],
            id="a variable that is kept elsewhere",
        ),
        pytest.param(
            template(annotations={"stanch.dev/model-version": "2", "team": "chat"}),
            [("annotation", "stanch.dev/model-version", "2")],
            id="annotation",
        ),
        pytest.param(
            template(volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}]),
            [("imageVolume", "w", "r.test/m:2")],
            id="image volume",
        ),
        pytest.param(
            template(
                server(args=["--model=/models/x"], volumeMounts=[{"name": "w", "mountPath": "/models"}]),
                volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}],
            ),
            [("imageVolume", "w", "r.test/m:2")],
            id="a path into an image volume",
        ),
        pytest.param(template(), [], id="nothing"),
    ],
)
def test_where_servers_keep_their_model(pods: Json, found: list[tuple[str, str, str]]) -> None:
    assert said(identify(pods)) == found


@pytest.mark.parametrize(
    ("locator", "found"),
    [
        (ModelLocator(arg="--weights"), [("arg", "--weights", "s3://w/2"), ("arg", "--weights", "s3://w/1")]),
        (ModelLocator(arg="--weights", container="old"), [("arg", "--weights", "s3://w/1")]),
        (ModelLocator(arg="--model"), [("env", "WHICH", "x")]),
        (ModelLocator(env="BUNDLE"), [("env", "BUNDLE", "7")]),
        (ModelLocator(annotation="ml/rev"), [("annotation", "ml/rev", "9")]),
        (ModelLocator(image_volume="w"), [("imageVolume", "w", "r.test/m:2")]),
        (ModelLocator(env="MISSING"), []),
    ],
)
def test_a_locator_overrides_what_is_detected(
    locator: ModelLocator, found: list[tuple[str, str, str]]
) -> None:
    pods = template(
        server(
            args=["--weights=s3://w/2", "--model", "$(WHICH)"], env=env(BUNDLE="7", WHICH="x", MODEL_ID="y")
        ),
        server(name="old", args=["--weights", "s3://w/1"]),
        annotations={"ml/rev": "9"},
        volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}],
    )

    assert said(identify(pods, locator)) == found


@pytest.mark.parametrize(
    ("pods", "keys"),
    [
        pytest.param(
            serving("--model=x", "--revision=r"), ["--revision"], id="the revision rather than the model"
        ),
        pytest.param(serving("--model=x"), ["--model"], id="the model where there is no revision"),
        pytest.param(
            template(
                server(args=["--model=x"]), initContainers=[server(name="fetch", env=env(MODEL_ID="x"))]
            ),
            ["--model", "MODEL_ID"],
            id="also where an init container fetches the same",
        ),
        pytest.param(
            template(server(env=env(MODEL_NAME="chat"))), ["MODEL_NAME"], id="a name, if nothing else"
        ),
    ],
)
def test_where_another_version_would_be_written(pods: Json, keys: list[str]) -> None:
    places = version_places(pods)

    assert not isinstance(places, Unlocated)
    assert [place.key for place in places] == keys


@pytest.mark.parametrize(
    ("pods", "reason", "says"),
    [
        (template(), "ModelNotFound", "no known flag"),
        (
            template(server(args=["--model=x"]), server(name="other", args=["--model=y"])),
            "ModelAmbiguous",
            "arg --model=x of container server; arg --model=y of container other; name one with a locator",
        ),
        # vLLM does not heed MODEL_VERSION: changing it would change nothing.
        (serving("--model=x", env=env(MODEL_VERSION="2")), "ModelAmbiguous", "env MODEL_VERSION=2"),
    ],
)
def test_what_is_not_certain_is_said_and_not_guessed(pods: Json, reason: str, says: str) -> None:
    places = version_places(pods)

    assert isinstance(places, Unlocated)
    assert places.reason == reason
    assert says in places.message


@given(templates(), VERSIONS)
def test_writing_a_version_changes_nothing_else(pods: Json, version: str) -> None:
    before = copy.deepcopy(pods)
    for located in identify(pods):
        assume(located.where is not Where.IMAGE_VOLUME or "/" in version)
        changed = replace_value(pods, located, version)

        text: str = value_at(pods, located.place)
        assert text[located.start :].startswith(located.value)
        written: str = value_at(changed, located.place)
        assert written == text[: located.start] + version + text[located.start + len(located.value) :]
        blank_before, blank_after = copy.deepcopy(pods), copy.deepcopy(changed)
        for blank in (blank_before, blank_after):
            value_at(blank, located.place[:-1])[located.place[-1]] = ""
        assert blank_before == blank_after
        assert replace_value(changed, _at(located, written, version), located.value) == pods
    assert pods == before


def _at(located: Located, written: str, version: str) -> Located:
    """The same place, as it reads after the change."""
    assert written[located.start :].startswith(version)
    return Located(
        Where.ARG if located.where is Where.IMAGE_VOLUME else located.where,
        located.container,
        located.key,
        version,
        located.role,
        located.place,
        located.start,
        located.standing,
    )


@given(templates(), VERSIONS)
def test_what_was_written_is_found_again(pods: Json, version: str) -> None:
    places = version_places(pods)
    assume(not isinstance(places, Unlocated))
    assert not isinstance(places, Unlocated)
    assume(all(place.where is not Where.IMAGE_VOLUME for place in places))
    for place in places:
        pods = replace_value(pods, place, version)

    again = {(one.key, one.container): one for one in identify(pods)}

    for place in places:
        assert again[place.key, place.container].value == version


@pytest.mark.parametrize(
    ("version", "reference"),
    [
        ("1.9", "r.test/m:1.9"),
        ("sha256:" + "ab" * 32, "r.test/m@sha256:" + "ab" * 32),
        ("other.test/m:1", "other.test/m:1"),
    ],
)
def test_an_image_volume_keeps_its_repository_for_a_tag_or_a_digest(version: str, reference: str) -> None:
    pods = template(volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}])
    (located,) = identify(pods)

    assert identify(replace_value(pods, located, version))[0].value == reference


@pytest.mark.parametrize(
    ("pods", "mutable"),
    [
        (serving("--model=hf://org/x"), [True]),
        (serving("--model=org/x"), [True]),
        (serving(f"--model=hf://org/x:{COMMIT}"), [False]),
        (serving("--model=hf://org/x:main"), [True]),
        (serving("--model=org/x", f"--revision={COMMIT}"), [False, False]),
        (serving("--model=org/x", "--revision=main"), [True, True]),
        (serving("--model=s3://models/x/2"), [False]),
        (template(volumes=[{"name": "w", "image": {"reference": "r.test/m"}}]), [True]),
        (template(volumes=[{"name": "w", "image": {"reference": "r.test/m:2"}}]), [False]),
    ],
)
def test_references_that_may_come_to_mean_something_else_are_flagged(pods: Json, mutable: list[bool]) -> None:
    assert [one.mutable for one in identify(pods)] == mutable


def test_a_hostile_template_is_read_in_no_time() -> None:
    pods = hostile()
    begun = time.process_time()
    found = identify(pods)

    assert [one.key for one in found] == []
    assert isinstance(version_places(pods), Unlocated)
    assert time.process_time() - begun < 5


def test_roles_come_in_the_order_of_what_they_tell() -> None:
    assert list(Role) == [Role.VERSION, Role.SOURCE, Role.ADAPTER, Role.NAME]
