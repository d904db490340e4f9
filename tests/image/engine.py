"""buildah with a storage of its own, and images as it wrote them."""

from __future__ import annotations

import ast
import functools
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox import versions

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

_COMMANDS = {
    "buildah": "buildah",
    "runc": "runc",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "qemu-aarch64-static": "qemu-user-static",
}
_STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{0}/images"\nrunroot = "{0}/run"\n'
_BASE = """\
FROM scratch
COPY . /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
"""
_RUNTIME = _BASE + 'USER 65532\nWORKDIR /home/nonroot\nENTRYPOINT ["/usr/bin/python3.13"]\n'
_OF_AN_INDEX = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}
_CA_IN_THE_BUILD = "/etc/pip-ca.crt"


@functools.cache
def why_not() -> str:
    """Why no image can be built here; empty when one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building an image needs root on Linux here"
    missing = {package for command, package in _COMMANDS.items() if shutil.which(command) is None}
    if missing:
        return f"building an image needs the Debian packages {' '.join(sorted(missing))}: `make engine`"
    if versions.Platform.here().architecture != "amd64":
        return "the image's story is told on amd64: it builds arm64 from there"
    return ""


@dataclass(frozen=True)
class Written:
    """An image as an OCI layout (image-spec 1.0), in `archive`."""

    archive: Path
    digest: str
    manifest: Json
    config: Json

    @classmethod
    def read(cls, archive: Path) -> Written:
        with tarfile.open(archive) as layout:
            (described,) = _json(layout, "index.json")["manifests"]
            manifest = _json(layout, _blob(described))
            return cls(archive, described["digest"], manifest, _json(layout, _blob(manifest["config"])))

    @property
    def mib(self) -> float:
        """As a registry keeps it and a node pulls it."""
        return float(sum(layer["size"] for layer in self.manifest["layers"])) / 2**20

    def unpack(self, root: Path) -> None:
        """What a container of the image sees."""
        with tarfile.open(self.archive) as layout:
            for layer in self.manifest["layers"]:
                with tarfile.open(fileobj=layout.extractfile(_blob(layer))) as files:
                    files.extractall(root, filter="fully_trusted")


@dataclass(frozen=True)
class Engine:
    """The storage is below `directory`; `clear` unmounts and removes what is in it."""

    directory: Path

    def base(self, name: str, root: Path, architecture: str, *, runtime: bool) -> str:
        """An image with `root` in it; its name."""
        file = self.directory / f"{name}.Dockerfile"
        file.write_text(_RUNTIME if runtime else _BASE)
        tag = f"localhost/stand-in/{name}"
        platform = f"--platform=linux/{architecture}"
        self._run("build", "--quiet", "--timestamp=0", platform, f"--tag={tag}", f"--file={file}", str(root))
        return tag

    def make(self, checkout: Path, bases: tuple[str, str], architecture: str, archive: Path) -> None:
        """`make image` there, and what it made into an archive. Bases are those of BUILD and RUNTIME."""
        name = f"localhost/stanch:{archive.stem}"
        settings = {
            "ENGINE": "buildah",
            "IMAGE": name,
            "PLATFORM": f"linux/{architecture}",
            "BUILD": bases[0],
            "RUNTIME": bases[1],
            "EPOCH": "1700000000",
            **self._index(),
        }
        command = ["make", "--silent", "image", *(f"{key}={value}" for key, value in settings.items())]
        _run(command, self._environment, checkout)
        self._run("push", "--quiet", name, f"oci-archive:{archive}:{archive.stem}")

    def clear(self) -> None:
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")

    def _run(self, *arguments: str) -> None:
        _run(["buildah", *arguments], self._environment, self.directory)

    @property
    def _environment(self) -> dict[str, str]:
        storage = self.directory / "storage.conf"
        storage.write_text(_STORAGE.format(self.directory))
        ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        return {**ours, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}

    def _index(self) -> dict[str, str]:
        """Where pip has its packages from here, as secrets of the build: in no layer, in no history."""
        listed = _run([sys.executable, "-m", "pip", "config", "list"], {**os.environ}, self.directory)
        pairs = [line.partition("=") for line in listed.splitlines()]
        known = {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in pairs}
        secrets = {}
        lines = [
            f"{name.removeprefix('default-')} = {known[name]}" for name in sorted(_OF_AN_INDEX & {*known})
        ]
        if "cert" in known:
            secrets["PIP_CA"] = known["cert"]
            lines.append(f"cert = {_CA_IN_THE_BUILD}")
        file = self.directory / "pip.conf"
        file.touch(mode=0o600)
        file.write_text("\n".join(["[global]", *lines]) + "\n")
        return {"PIP_CONF": str(file), **secrets}


def _blob(described: Json) -> str:
    return f"blobs/{described['digest'].replace(':', '/')}"


def _json(layout: tarfile.TarFile, name: str) -> Json:
    file = layout.extractfile(name)
    assert file is not None
    content: Json = json.load(file)
    return content


def _run(command: list[str], environment: dict[str, str], there: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=there, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout
