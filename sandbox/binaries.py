"""Where the control plane's programs come from, best first; each part on its own, and always said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import download, gobuild, locks, versions
from sandbox.errors import BuildError, DownloadError, SandboxError, UnreachableError
from sandbox.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ORIGINS = "origins.json"  # beside the cached programs: part → where it came from
_OLDEST_ETCD = (3, 5)  # what Kubernetes 1.34 and later ask of etcd


def _cache_directory() -> Path:
    """STANCH_CACHE, else `stanch` in the user's cache directory (XDG base directory specification)."""
    own = os.environ.get("STANCH_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "stanch"


def _assets_directory() -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets).expanduser().absolute() if assets else None


def _sites() -> download.Sites:
    standard = download.Sites()
    return download.Sites(
        kubernetes=os.environ.get("STANCH_RELEASES_KUBERNETES", standard.kubernetes).rstrip("/"),
        etcd=os.environ.get("STANCH_RELEASES_ETCD", standard.etcd).rstrip("/"),
        kwok=os.environ.get("STANCH_RELEASES_KWOK", standard.kwok).rstrip("/"),
    )


@dataclass(frozen=True)
class Sources:
    """What may be used; by default what KUBEBUILDER_ASSETS, STANCH_CACHE and STANCH_RELEASES_* say."""

    assets: Path | None = field(default_factory=_assets_directory)
    cache: Path = field(default_factory=_cache_directory)
    sites: download.Sites = field(default_factory=_sites)
    build: bool = True


@dataclass(frozen=True)
class Binaries:
    """A program for every part, and where each is from."""

    paths: Mapping[str, Path]
    origins: Mapping[str, str]

    def __getitem__(self, part: str) -> Path:
        return self.paths[part]


class _Search:
    """The parts of one module found so far, in the order of the sources."""

    def __init__(self, sources: Sources, progress: Progress, module: Path, parts: Sequence[str]) -> None:
        self.sources = sources
        self.progress = progress
        self.parts = parts
        self.pins = versions.read(module)
        self.platform = versions.Platform.here()
        self.cached = sources.cache / "controlplane" / f"{self.pins.digest}-{self.platform}"
        self.paths: dict[str, Path] = {}
        self.origins: dict[str, str] = {}

    def missing(self) -> list[str]:
        return [part for part in self.parts if part not in self.paths]

    def take(self, parts: Iterable[tuple[str, Path]], origin: str) -> None:
        for part, path in parts:
            self.paths[part], self.origins[part] = path, origin

    def look_in_assets(self) -> None:
        directory = self.sources.assets
        if directory is None:
            return
        origin = f"KUBEBUILDER_ASSETS ({directory})"
        found = {part: directory / part for part in self.parts if os.access(directory / part, os.X_OK)}
        servers = [part for part in versions.KUBERNETES_SERVERS if part in found]
        other = {part: said for part in servers if (said := minor(found[part])) != self.pins.kubernetes_minor}
        if other and len(servers) < len(versions.KUBERNETES_SERVERS):
            said = ", ".join(f"{part} {version or 'of unknown version'}" for part, version in other.items())
            self.progress.say(
                f"{origin} holds {said} and not the other servers, which would be "
                f"{self.pins.kubernetes_minor} here: versions are not mixed, its servers are left aside"
            )
            found = {part: path for part, path in found.items() if part not in servers}
        self.take(found.items(), origin)

    def look_in_cache(self) -> None:
        for part, origin in self._record().items():
            if part in self.missing() and os.access(self.cached / part, os.X_OK):
                self.take([(part, self.cached / part)], origin)

    def download(self) -> None:
        wanted = [
            download.release(part, self.sources.sites, self.pins, self.platform) for part in self.missing()
        ]
        silent: set[str] = set()
        for release, checksum in download.published(wanted).items():
            try:
                if isinstance(checksum, DownloadError):
                    raise checksum
                path = download.fetch(release, checksum, self.cached, self.progress)
            except UnreachableError as error:
                silent.add(str(error))
            except DownloadError as error:
                self.progress.say(f"{release.part}: no release binary: {error}")
            else:
                self.take([(release.part, path)], f"release ({release.url})")
        for said in sorted(silent):
            self.progress.say(f"no release binaries: {said}")
        self.remember()

    def build(self) -> None:
        if not self.missing() or not self.sources.build:
            return
        try:
            built = gobuild.build(self.pins, self.missing(), self.cached, self.sources.cache, self.progress)
        except BuildError as error:
            self.progress.say(str(error))
            return
        self.take(built.items(), f"built from the modules of sandbox/{self.pins.module.name}/go.mod")
        self.remember()

    def look_on_path(self) -> None:
        """The next best real thing: what the machine has installed, when it is new enough.

        Not for an older Kubernetes, which was asked for by its version.
        """
        for part in self.missing() if self.pins.module == versions.MODULE_DIRECTORY else []:
            command = shutil.which(part)
            if command is None:
                continue
            if part == versions.ETCD and numbers(Path(command)) < _OLDEST_ETCD:
                self.progress.say(
                    f"{command} is older than etcd {'.'.join(map(str, _OLDEST_ETCD))}: not used"
                )
                continue
            self.progress.say(f"{part}: neither fetched nor built (see above), using {command}")
            self.take([(part, Path(command))], f"this machine ({command})")

    def remember(self) -> None:
        ours = {part: self.origins[part] for part, path in self.paths.items() if path.parent == self.cached}
        if ours:
            known = {**self._record(), **ours}
            (self.cached / _ORIGINS).write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")

    def _record(self) -> dict[str, str]:
        record = self.cached / _ORIGINS
        return dict(json.loads(record.read_text())) if record.exists() else {}


def find(sources: Sources | None = None, progress: Progress | None = None) -> Binaries:
    """A program for every part; fetched or built once, by one process at a time.

    Nothing of an older Kubernetes (STANCH_KUBERNETES) is taken from KUBEBUILDER_ASSETS, which has one.

    Raises:
        SandboxError: a part is to be had nowhere; the message names it and what was tried.
    """
    sources, progress, module = sources or Sources(), progress or Progress(), versions.chosen()
    if module == versions.MODULE_DIRECTORY:
        return _find(_Search(sources, progress, module, versions.PARTS))
    shared = [part for part in versions.PARTS if part not in versions.OF_KUBERNETES]
    ours = _find(_Search(sources, progress, versions.MODULE_DIRECTORY, shared))
    older = _find(_Search(replace(sources, assets=None), progress, module, versions.OF_KUBERNETES))
    return Binaries({**ours.paths, **older.paths}, {**ours.origins, **older.origins})


def _find(search: _Search) -> Binaries:
    search.look_in_assets()
    search.look_in_cache()
    if search.missing():
        lock = search.cached.with_name(f"{search.cached.name}.lock")
        with locks.exclusive(
            lock, on_wait=lambda: search.progress.say("waiting: another process builds the sandbox")
        ):
            search.look_in_cache()
            search.download()
            search.build()
    search.look_on_path()
    if search.missing():
        raise SandboxError(
            f"no {', '.join(search.missing())}: not in KUBEBUILDER_ASSETS, not fetched, not built, "
            "not installed. The lines above say why; set KUBEBUILDER_ASSETS to a directory that holds them, "
            "or install Go"
        )
    return Binaries(search.paths, search.origins)


def numbers(program: Path) -> tuple[int, ...]:
    """(3, 5, 21) as the program says with --version; () when it does not say."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", said.stdout)
    return tuple(int(number) for number in found.groups()) if found else ()


def minor(program: Path) -> str:
    """'1.37' for a Kubernetes server program; '' when it does not say."""
    return ".".join(map(str, numbers(program)[:2]))
