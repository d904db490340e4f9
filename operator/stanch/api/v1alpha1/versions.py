"""How a step names a version: of an image, of a model, or of a whole pod template."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from stanch.api.schema import RULES, Matching, exactly_one, rule
from stanch.api.v1alpha1.base import ApiModel

Digest = Annotated[
    str,
    Matching(
        r"^sha256:[0-9a-f]{64}$", "a digest is sha256: and 64 lower-case hexadecimal digits", max_length=71
    ),
]
Tag = Annotated[
    str,
    Matching(
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        "a tag has letters, digits, '_', '.' and '-' only, and does not begin with '.' or '-'",
        max_length=128,
    ),
]
ImageReference = Annotated[
    str,
    Matching(
        r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*(@sha256:[0-9a-f]{64})?$",
        "an image looks like registry.example.com/llm:2.3.0 or registry.example.com/llm@sha256:…",
        max_length=512,
        min_length=1,
    ),
]
ModelVersion = Annotated[
    str,
    # No blanks, quotes or $: it is put into command lines.
    Matching(
        r"^[A-Za-z0-9_./][A-Za-z0-9_.:/@+=-]*$",
        "a model version has letters, digits and any of _ . : / @ + = - only",
        max_length=512,
        min_length=1,
    ),
]
ContainerName = Annotated[str, Field(min_length=1, max_length=63)]


class ModelLocator(ApiModel):
    """Where the pod template keeps the version of its model, when it cannot be told from its looks."""

    model_config = ConfigDict(json_schema_extra=exactly_one("a locator", beside=("container",)))

    arg: str | None = Field(
        default=None, min_length=1, max_length=253, description="a flag of the command line, such as --model"
    )
    env: str | None = Field(
        default=None, min_length=1, max_length=253, description="an environment variable with a literal value"
    )
    annotation: str | None = Field(
        default=None, min_length=1, max_length=317, description="an annotation of the pod template"
    )
    image_volume: str | None = Field(
        default=None, min_length=1, max_length=63, description="a volume that is an image, by its name"
    )
    container: ContainerName | None = Field(
        default=None, description="of this container only; of every container that has it when absent"
    )


class ImageChoice(ApiModel):
    """Another image for one container; everything else stays as it is."""

    model_config = ConfigDict(json_schema_extra=exactly_one("an image choice", beside=("container",)))

    container: ContainerName | None = Field(
        default=None, description="needed when the pod has several containers"
    )
    reference: ImageReference | None = Field(default=None, description="the whole image reference")
    tag: Tag | None = Field(default=None, description="another tag of the same repository")
    digest: Digest | None = Field(default=None, description="another digest of the same repository")


def _one_version(schema: dict[str, Any]) -> None:
    exactly_one("a version to roll back to", beside=())(schema)
    schema[RULES].append(
        rule("!has(self.lastKnownGood) || self.lastKnownGood", "lastKnownGood is true or left out")
    )


class RollbackTo(ApiModel):
    """The version to go back to."""

    model_config = ConfigDict(json_schema_extra=_one_version)

    revision: int | None = Field(
        default=None, ge=1, description="a revision as `kubectl rollout history` numbers it"
    )
    last_known_good: bool | None = Field(
        default=None,
        description="the newest earlier revision of another version that nothing condemns; if any is "
        "annotated stanch.dev/known-good=true, the newest of those",
    )
    image: ImageChoice | None = None
    model_version: ModelVersion | None = Field(
        default=None, description="the value to put where the pod template keeps the version of its model"
    )
