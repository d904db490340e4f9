"""Image references: what they name, and that no other way to write one names something else."""

from __future__ import annotations

import pytest
from hypothesis import given

from stanch.versions.images import Image, digest_of, equal, parse, with_digest, with_tag
from tests.unit.versions.templates import DIGESTS, TAGS, references

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        ("nginx", Image("docker.io", "library/nginx", "latest")),
        ("nginx:1.27", Image("docker.io", "library/nginx", "1.27")),
        ("library/nginx", Image("docker.io", "library/nginx", "latest")),
        ("docker.io/nginx", Image("docker.io", "library/nginx", "latest")),
        ("index.docker.io/library/nginx", Image("docker.io", "library/nginx", "latest")),
        ("vllm/vllm-openai:v0.9", Image("docker.io", "vllm/vllm-openai", "v0.9")),
        ("localhost/llm", Image("localhost", "llm", "latest")),
        ("localhost:5000/llm:2", Image("localhost:5000", "llm", "2")),
        ("registry.example.test/a/b/c:2", Image("registry.example.test", "a/b/c", "2")),
        ("registry.example.test:443/llm:2", Image("registry.example.test", "llm", "2")),
        ("Registry.Example.TEST/llm:2", Image("registry.example.test", "llm", "2")),
        (f"llm@{DIGEST}", Image("docker.io", "library/llm", None, DIGEST)),
        (f"registry.example.test/llm:2@{DIGEST}", Image("registry.example.test", "llm", "2", DIGEST)),
        ("", Image("docker.io", "library/", "latest")),
    ],
)
def test_what_a_reference_names(reference: str, image: Image) -> None:
    assert parse(reference) == image


def test_the_usual_ways_to_write_one_reference() -> None:
    assert {
        "nginx",
        "nginx:latest",
        "library/nginx",
        "docker.io/nginx:latest",
        "docker.io/library/nginx",
        "index.docker.io/library/nginx:latest",
    } <= parse("nginx").spellings()
    assert parse("registry.example.test/llm:2").spellings() == {
        "registry.example.test/llm:2",
        "registry.example.test:443/llm:2",
    }


@given(references())
def test_every_spelling_names_the_same_image(reference: str) -> None:
    image = parse(reference)

    assert {parse(each).canonical for each in image.spellings()} == {image.canonical}
    assert all(equal(each, reference) for each in image.spellings())


@given(references(), TAGS, DIGESTS)
def test_another_tag_or_digest_leaves_the_repository(reference: str, tag: str, digest: str) -> None:
    image = parse(reference)

    assert parse(with_tag(reference, tag)) == Image(image.registry, image.repository, tag)
    assert parse(with_digest(reference, digest)) == Image(image.registry, image.repository, None, digest)


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"registry.example.test/llm@{DIGEST}", DIGEST),
        (f"docker-pullable://llm@{DIGEST}", DIGEST),
        (DIGEST, DIGEST),
        (DIGEST.upper().replace("SHA", "sha"), DIGEST),
        ("registry.example.test/llm:2", None),
        ("", None),
    ],
)
def test_the_digest_that_a_pod_runs(image_id: str, digest: str | None) -> None:
    assert digest_of(image_id) == digest


@pytest.mark.parametrize(
    ("reference", "mutable"),
    [
        ("llm", True),
        ("llm:latest", True),
        ("llm:2", False),
        (f"llm@{DIGEST}", False),
        (f"llm:latest@{DIGEST}", False),
    ],
)
def test_a_reference_that_will_name_something_else(reference: str, *, mutable: bool) -> None:
    assert parse(reference).mutable is mutable
