"""Which flags, variables and annotations say what model a server runs: vLLM, SGLang, TGI, Triton, NIM, plain.

Sources: https://docs.vllm.ai/en/latest/cli/serve.html,
https://huggingface.co/docs/text-generation-inference/reference/launcher,
https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_management.md,
https://docs.nvidia.com/nim/large-language-models/latest/configuration.html.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Role(StrEnum):
    """What a value says of a model, the most telling first."""

    VERSION = "version"
    SOURCE = "source"
    ADAPTER = "adapter"
    NAME = "name"


FLAGS: dict[str, Role] = {
    "--model": Role.SOURCE,
    "--model-id": Role.SOURCE,
    "--model-path": Role.SOURCE,
    "--model-repository": Role.SOURCE,
    "--model-store": Role.SOURCE,
    "--hf-repo": Role.SOURCE,
    "--revision": Role.VERSION,
    "--model-version": Role.VERSION,
    "--lora-modules": Role.ADAPTER,
    "--lora-adapters": Role.ADAPTER,
    "--served-model-name": Role.NAME,
    "--load-model": Role.NAME,
}
SEVERAL_VALUES = frozenset({"--lora-modules", "--served-model-name"})
"""Flags that take all the words up to the next flag."""
REPEATED = frozenset({"--load-model", "--model-repository", "--model-store"})
"""Flags that add up; of any other the last one counts."""

ANNOTATIONS: dict[str, Role] = {
    "stanch.dev/model": Role.SOURCE,
    "stanch.dev/model-version": Role.VERSION,
}

_VARIABLES: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"(HF_|NIM_|VLLM_)?MODEL_(VERSION|REVISION)|(HF|NIM)_(\w+_)?(VERSION|REVISION)", Role.VERSION),
        (r"(SERVED_)?MODEL_NAME|NIM_SERVED_MODEL_NAME", Role.NAME),
        (r"MODEL|MODEL_(ID|URI|PATH)|STORAGE_URI|VLLM_MODEL(_ID)?", Role.SOURCE),
        (r"(HF|NIM)_(\w+_)?(MODEL|REPO)(_(ID|NAME|URI|PATH|PROFILE))?", Role.SOURCE),
        (r"LORA_(MODULES|ADAPTERS)|NIM_PEFT_SOURCE", Role.ADAPTER),
    )
)
_BESIDE_A_MODEL: dict[str, Role] = {"REVISION": Role.VERSION}
_COMMIT = re.compile(r"(sha256:)?[0-9a-f]{7,64}")
_MOVING = frozenset({"main", "master", "latest", "head", "stable", "dev"})
_HUB_ID = re.compile(r"(hf://)?[A-Za-z0-9][\w.-]*/[\w.-]+")


def role_of_variable(name: str, *, beside_a_model: bool) -> Role | None:
    """HF_TOKEN and its like are none: what a credential is called is never taken for a model."""
    for pattern, role in _VARIABLES:
        if pattern.fullmatch(name):
            return role
    return _BESIDE_A_MODEL.get(name) if beside_a_model else None


def moving(value: str) -> bool:
    """Whether a version's name is one that is bound to mean something else some day: a branch, `latest`."""
    return value.lower().removeprefix("refs/heads/") in _MOVING


def is_commit(value: str) -> bool:
    return _COMMIT.fullmatch(value) is not None


def on_hub(source: str) -> bool:
    """Whether a model is named on the Hugging Face Hub without a revision: `org/name`, `hf://org/name`."""
    return _HUB_ID.fullmatch(source) is not None


def unpinned(source: str) -> bool:
    """Whether a source that carries its own revision names a branch: `hf://org/name:main`."""
    if not source.startswith("hf://"):
        return False
    repository = source.removeprefix("hf://")
    revision = re.split(r"[:@]", repository, maxsplit=1)[1:]
    return not revision or not is_commit(revision[0])
