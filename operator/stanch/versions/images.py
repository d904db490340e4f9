"""Image references: what they name, and the other ways to write the same.

The grammar is that of https://pkg.go.dev/github.com/distribution/reference, which container runtimes use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_NAMES = (_DOCKER_HUB, "index.docker.io")
_LIBRARY = "library/"
_DEFAULT_TAG = "latest"
_HTTPS_PORT = ":443"
_DIGEST = re.compile(r"(?:^|@)([a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,})$")


@dataclass(frozen=True, slots=True)
class Image:
    """One reference, normalised: `nginx` is registry docker.io, repository library/nginx, tag latest."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None = None

    @property
    def canonical(self) -> str:
        """The one spelling that equal references share; a tag beside a digest means nothing to a runtime."""
        if self.digest:
            return f"{self.registry}/{self.repository}@{self.digest}"
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def mutable(self) -> bool:
        """Whether it is bound to name something else some day: no digest, and no tag but `latest`."""
        return self.digest is None and self.tag in {None, _DEFAULT_TAG}

    def spellings(self) -> frozenset[str]:
        """Every usual way to write this reference, with and without what is implied."""
        written = {self.repository}
        hosts = _ported(self.registry)
        if self.registry == _DOCKER_HUB:
            written.add(self.repository.removeprefix(_LIBRARY))
            hosts = _DOCKER_HUB_NAMES
        names = {f"{host}/{name}" for name in written for host in hosts}
        if self.registry == _DOCKER_HUB:
            names |= {name for name in written if not _is_registry(name.split("/")[0], name)}
        return frozenset(name + suffix for name in names for suffix in self._suffixes())

    def _suffixes(self) -> tuple[str, ...]:
        if self.digest:
            return (f"@{self.digest}", *((f":{self.tag}@{self.digest}",) if self.tag else ()))
        return (f":{self.tag}", *(("",) if self.tag == _DEFAULT_TAG else ()))


def parse(reference: str) -> Image:
    """Whatever the string is: a reference that no runtime would take is its own repository's name."""
    name, at, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    registry = _DOCKER_HUB
    if slash and _is_registry(first, name):
        registry, name = first.lower().removesuffix(_HTTPS_PORT), rest
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        head, tag = name, ""
    if registry in _DOCKER_HUB_NAMES:
        registry = _DOCKER_HUB
        head = head if "/" in head else _LIBRARY + head
    return Image(registry, head, tag or (None if at else _DEFAULT_TAG), digest or None)


def digest_of(text: str) -> str | None:
    """The digest in a reference or in a container status's imageID, in lower case.

    An imageID is `repository@digest`, or the bare digest of an image that was never pulled.
    """
    found = _DIGEST.search(text)
    return found[1].lower() if found else None


def equal(one: str, other: str) -> bool:
    """Whether two references name the same image."""
    return parse(one).canonical == parse(other).canonical


def with_tag(reference: str, tag: str) -> str:
    """The same repository as it is written, at another tag."""
    return f"{_repository(reference)}:{tag}"


def with_digest(reference: str, digest: str) -> str:
    """The same repository as it is written, at a digest; no tag stays beside it to claim otherwise."""
    return f"{_repository(reference)}@{digest}"


def tagged(image: Image) -> Image | None:
    """The reference without its digest, when it has a tag beside it."""
    return replace(image, digest=None) if image.tag and image.digest else None


def _repository(reference: str) -> str:
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else head


def _is_registry(first: str, name: str) -> bool:
    return "/" in name and ("." in first or ":" in first or first == "localhost" or first != first.lower())


def _ported(host: str) -> tuple[str, ...]:
    return (host,) if ":" in host else (host, host + _HTTPS_PORT)
