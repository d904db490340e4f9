"""Official release binaries over HTTP(S): asked for briefly, resumed when cut, checked before use."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox import versions
from sandbox.errors import DownloadError, UnreachableError
from sandbox.progress import size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.progress import Progress, Step

PROBE_SECONDS = 2.0  # a site that has not answered by then counts as unreachable

_READ_TIMEOUT = 20.0  # seconds without a byte before a transfer is resumed
_ATTEMPTS = 4
_BLOCK = 1 << 18  # bytes
_FAILURES = (OSError, http.client.HTTPException)  # URLError and timeouts are OSErrors


@dataclass(frozen=True)
class Sites:
    """Base addresses; each may be a mirror with the layout of the original."""

    kubernetes: str = "https://dl.k8s.io/release"
    etcd: str = "https://github.com/etcd-io/etcd/releases/download"
    kwok: str = "https://github.com/kubernetes-sigs/kwok/releases/download"


@dataclass(frozen=True)
class Release:
    """One file to fetch, where its SHA-256 is published, and the member wanted when it is an archive."""

    part: str
    url: str
    checksum_url: str
    member: str | None = None

    @property
    def site(self) -> str:
        """Scheme and host."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def release(part: str, sites: Sites, pins: versions.Pins, platform: versions.Platform) -> Release:
    if part == versions.ETCD:
        stem = f"etcd-v{pins.etcd}-{platform}"
        base = f"{sites.etcd}/v{pins.etcd}"
        return Release(part, f"{base}/{stem}.tar.gz", f"{base}/SHA256SUMS", member=f"{stem}/etcd")
    if part == versions.KWOK:
        url = f"{sites.kwok}/v{pins.kwok}/kwok-{platform}"
        return Release(part, url, f"{url}.sha256")
    url = f"{sites.kubernetes}/v{pins.kubernetes}/bin/{platform.os}/{platform.architecture}/{part}"
    return Release(part, url, f"{url}.sha256")


def published(wanted: Sequence[Release]) -> dict[Release, str | DownloadError]:
    """The published SHA-256 of each file, or why there is none, all within PROBE_SECONDS.

    In threads: resolving a name has no timeout of its own and takes tens of seconds when no name
    server answers.
    """
    answers: dict[Release, str | DownloadError] = {}
    threads = [threading.Thread(target=_ask, args=(release, answers), daemon=True) for release in wanted]
    deadline = time.monotonic() + PROBE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {release: answers.get(release, _silent(release)) for release in wanted}


def fetch(wanted: Release, checksum: str, directory: Path, progress: Progress) -> Path:
    """Download into `directory/<part>`, executable.

    Raises:
        DownloadError: the site broke off again and again, or sent a file that is not the published
            one (which is then deleted).
    """
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{wanted.filename}.partial"
    with progress.step(f"{wanted.part} from {wanted.site}") as step:
        _transfer(wanted.url, partial, step)
        actual = _sha256(partial)
        if actual != checksum:
            partial.unlink()
            raise DownloadError(
                f"{wanted.url} has SHA-256 {actual}, published is {checksum}: "
                f"{wanted.part} was not installed and the file was deleted"
            )
        return _install(wanted, partial, directory / wanted.part)


def _silent(wanted: Release) -> DownloadError:
    return UnreachableError(wanted.site, f"no answer within {PROBE_SECONDS:g} s")


def _ask(wanted: Release, answers: dict[Release, str | DownloadError]) -> None:
    try:
        # Nobody waits for longer than PROBE_SECONDS; this only ends the thread some time.
        with urllib.request.urlopen(wanted.checksum_url, timeout=_READ_TIMEOUT) as response:  # noqa: S310 - http(s)
            answers[wanted] = _checksum(wanted, response.read(1 << 20).decode("ascii", "replace"))
    except DownloadError as error:
        answers[wanted] = error
    except urllib.error.HTTPError as error:
        answers[wanted] = DownloadError(f"{wanted.checksum_url}: {error.code} {error.reason}")
    except _FAILURES as error:
        answers[wanted] = UnreachableError(wanted.site, str(error))


def _checksum(wanted: Release, text: str) -> str:
    """The hexadecimal SHA-256 from a bare `.sha256` file or from a line of SHA256SUMS."""
    for line in text.splitlines():
        found = re.fullmatch(r"([0-9a-f]{64})(?:\s+\*?(\S+))?", line.strip())
        if found is not None and found.group(2) in (None, wanted.filename):
            return found.group(1)
    raise DownloadError(f"{wanted.checksum_url} holds no SHA-256 of {wanted.filename}")


def _transfer(url: str, partial: Path, step: Step) -> None:
    """Fetch into `partial`, going on where an earlier attempt (of any process) was cut."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _attempt(url, partial, step.update)
        except _FAILURES as error:
            if attempt == _ATTEMPTS:
                raise DownloadError(
                    f"{url}: {error} after {attempt} attempts; run again to resume"
                ) from error
            time.sleep(0.5 * attempt)
        else:
            return


def _attempt(url: str, partial: Path, show: Callable[[str, float | None], None]) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=_READ_TIMEOUT)  # noqa: S310 - http(s) bases of our own
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is missing; the checksum says whether it is the right file
        raise
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with partial.open("ab" if resumed else "wb") as out:
            while block := response.read1(_BLOCK):
                out.write(block)
                have += len(block)
                show(f"{size(have)} of {size(total) if total else '?'}", have / total if total else None)
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _install(wanted: Release, partial: Path, target: Path) -> Path:
    ready = target.with_name(f"{target.name}.ready")
    if wanted.member is None:
        partial.replace(ready)
    else:
        with tarfile.open(partial) as archive:
            try:
                member = archive.extractfile(wanted.member)
            except KeyError:
                member = None
            if member is None:
                raise DownloadError(
                    f"{wanted.url} holds no file {wanted.member}: {wanted.part} was not installed"
                )
            with ready.open("wb") as out:
                shutil.copyfileobj(member, out)
        partial.unlink()
    ready.chmod(0o755)
    ready.replace(target)
    return target
