"""The image, built by a real engine from stand-ins of its bases: twice, and once more for arm64."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox.locks import exclusive
from tests.image.bases import Packages
from tests.image.engine import Engine, Written, why_not
from tests.operator_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Images:
    directory: Path

    @property
    def first(self) -> Written:
        return Written.read(self.directory / "first.tar")

    @property
    def second(self) -> Written:
        """Of another checkout of the same sources, with nothing of the first build."""
        return Written.read(self.directory / "second.tar")

    @property
    def arm64(self) -> Written:
        return Written.read(self.directory / "arm64.tar")

    @property
    def root(self) -> Path:
        """What a container of `first` sees."""
        return self.directory / "root"

    @property
    def arm64_root(self) -> Path:
        return self.directory / "arm64-root"

    def build(self) -> None:
        packages = Packages(self.directory / "packages")
        packages.update()
        for name, architecture in (("build", "amd64"), ("runtime", "amd64"), ("arm64", "arm64")):
            packages.unpack(architecture, self.directory / name, build=name == "build")
        engine = Engine(self.directory)
        try:
            build = engine.base("build", self.directory / "build", "amd64", runtime=False)
            amd64 = engine.base("runtime", self.directory / "runtime", "amd64", runtime=True)
            arm64 = engine.base("arm64", self.directory / "arm64", "arm64", runtime=True)
            engine.make(ROOT, (build, amd64), "amd64", self.directory / "first.tar")
            engine.make(ROOT, (build, arm64), "arm64", self.directory / "arm64.tar")
            engine.make(self._somebody_elses(), (build, amd64), "amd64", self.directory / "second.tar")
        finally:
            engine.clear()
        self.first.unpack(self.root)
        self.arm64.unpack(self.arm64_root)

    def _somebody_elses(self) -> Path:
        """As somebody has it who has another umask, and checked out at another time."""
        checkout = self.directory / "checkout"
        checkout.mkdir()
        for name in (
            "Dockerfile",
            ".dockerignore",
            "Makefile",
            "pyproject.toml",
            "requirements-runtime.lock",
        ):
            shutil.copyfile(ROOT / name, checkout / name)
        shutil.copytree(ROOT / "operator", checkout / "operator", copy_function=shutil.copyfile)
        for path in checkout.rglob("*"):
            path.chmod(path.stat().st_mode | 0o020)
        return checkout


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Images:
    """Built by whichever worker comes first; skipped, saying why, where no engine can run."""
    if why_not():
        pytest.skip(why_not())
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "image"
    done = shared / "done"
    with exclusive(shared.with_suffix(".lock")):
        if not done.exists():
            shared.mkdir()  # a second worker, after a build that failed, fails here
            images = Images(shared)
            images.build()
            done.touch()
    return Images(shared)
