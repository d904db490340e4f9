"""Pod templates, small and large, and where they are changed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


def template(*containers: Json, **more: Any) -> Json:
    """`annotations` and `labels` go into metadata, the rest into the pod's spec."""
    metadata: Json = {"labels": more.pop("labels", {"app": "llm"})}
    if "annotations" in more:
        metadata["annotations"] = more.pop("annotations")
    spec = {"containers": list(containers) or [server()], "restartPolicy": "Always"}
    return {"metadata": metadata, "spec": spec | more}


def server(image: str = "registry.example.test/llm:2.4.0", name: str = "server", **more: Any) -> Json:
    return {"name": name, "image": image, "resources": {}, **more}


def serving(*args: str, **more: Any) -> Json:
    """A template whose server is started with these arguments."""
    return template(server(args=list(args), **more))


def env(**variables: str) -> list[Json]:
    return [{"name": name, "value": value} for name, value in variables.items()]


_LETTERS = "aZ09_.-"
VERSIONS = st.text(_LETTERS + ":/@+=", min_size=1, max_size=12).filter(lambda text: text[0] not in "-:@+=")
TAGS = st.text(_LETTERS, min_size=1, max_size=8).filter(lambda text: text[0] not in ".-")
DIGESTS = st.integers(0, 2**256 - 1).map("sha256:{:064x}".format)
_PART = st.sampled_from(["llm", "org", "a1.b2", "my_model", "x-y"])
_HOST = st.sampled_from(["", "docker.io/", "index.docker.io/", "registry.example.test/", "localhost:5000/"])


@st.composite
def references(draw: st.DrawFn) -> str:
    """Image references as people write them."""
    path = "/".join(draw(st.lists(_PART, min_size=1, max_size=3)))
    tag = draw(st.one_of(st.just(""), TAGS.map(":{}".format)))
    digest = draw(st.one_of(st.just(""), st.just(""), DIGESTS.map("@{}".format)))
    return draw(_HOST) + path + tag + digest


_WORDS = st.sampled_from(["--port=8000", "--port", "8000", "serve", "-v", "", "--trust-remote-code", "$(X)"])
_MODEL_WORDS = VERSIONS.flatmap(
    lambda value: st.sampled_from(
        [
            [f"--model={value}"],
            ["--model", value],
            ["vllm", "serve", value],
            [f"--revision={value}"],
            ["--model_id", value],
            ["--lora-modules", f"a={value}", "b=/x"],
        ]
    )
)
_MODEL_VARIABLES = st.sampled_from(["MODEL_ID", "MODEL_VERSION", "HF_MODEL_ID", "NIM_MODEL_NAME"])


@st.composite
def containers(draw: st.DrawFn, name: str) -> Json:
    made: Json = {"name": name, "image": draw(references())}
    before = draw(st.lists(_WORDS, max_size=2))
    words = before + draw(st.one_of(st.just([]), _MODEL_WORDS)) + draw(st.lists(_WORDS, max_size=2))
    shape = draw(st.sampled_from(["args", "command", "script", "null", "none"]))
    if shape == "script":
        made |= {"command": ["/bin/sh", "-c"], "args": [" ".join(words)]}
    elif shape == "null":
        made["args"] = None
    elif shape != "none":
        made[shape] = words
    variables = env(**draw(st.dictionaries(_MODEL_VARIABLES, VERSIONS, max_size=2)))
    secret = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    made["env"] = [{"name": "PLAIN"}, *variables, *draw(st.sampled_from([[], [secret]]))]
    return made


@st.composite
def templates(draw: st.DrawFn) -> Json:
    """Anything from one container that says nothing to several that say much."""
    more: Json = {}
    if draw(st.booleans()):
        more["annotations"] = {"stanch.dev/model-version": draw(VERSIONS), "team": "chat"}
    if draw(st.booleans()):
        more["initContainers"] = [draw(containers("init"))]
    if draw(st.booleans()):
        more["volumes"] = [
            {"name": "scratch", "emptyDir": {}},
            {"name": "weights", "image": {"reference": draw(references())}},
        ]
    names = draw(st.sampled_from([["server"], ["server", "proxy"]]))
    return template(*(draw(containers(name)) for name in names), **more)


def hostile() -> Json:
    """As large as one may get it past an API server, with every optional field left out somewhere."""
    many = [{"name": f"VARIABLE_{number}", "value": "x" * 20} for number in range(998)]
    mixed = [*many, {"name": "MODEL_ID"}, {"name": "HF_TOKEN", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]
    return {
        "metadata": {"annotations": None, "labels": None, "creationTimestamp": None},
        "spec": {
            "containers": [
                {"name": "bare"},
                {"name": "nulls", "image": None, "command": None, "args": None, "env": None},
                *({"name": f"c{number}", "image": "llm:2", "env": mixed} for number in range(50)),
                {"name": "huge", "command": ["sh", "-c", "x '" * 50_000 + '"' + "\\" * 50_000]},
                {"name": "long", "args": ["--model=" + "m" * 300_000, "--model", ""]},
            ],
            "volumes": [{"name": "v"}, {"name": "w", "image": {}}, {"name": "x", "image": None}],
        },
    }
