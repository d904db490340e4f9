"""What the image has in it, without an engine: the Dockerfile's own steps, into an empty root."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sandbox import versions
from stanch import __version__
from tests.image.bases import DEBIAN, PYTHON
from tests.operator_process import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # the first one installs all packages

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
PREFIX = "/opt/stanch"
MOST_MIB = 240
AS_SOMEBODY = ["unshare", "--user", "--map-user=54321", "--map-group=54321"] if os.getuid() == 0 else []
"""A user that nobody knows and that has no rights, as OpenShift gives one to each namespace."""


@dataclass(frozen=True)
class Image:
    """`root` stands for /opt/stanch."""

    root: Path

    def command(self, *arguments: str) -> list[str]:
        """The entry point. The interpreter is the bare one: nothing of the tests' packages is seen."""
        (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)
        python, *rest = json.loads(entry)
        assert python == "python3"
        return [bare_python(), "-S", *rest, *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        (line,) = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
        variables = dict(one.split("=", 1) for one in line.split())
        return subprocess.Popen(
            [*AS_SOMEBODY, *self.command(*arguments)],
            env={name: value.replace(PREFIX, str(self.root)) for name, value in variables.items()},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def files(self) -> dict[str, int]:
        """Each one with when it was changed."""
        return {str(path): path.lstat().st_mtime_ns for path in self.root.rglob("*")}


def bare_python() -> str:
    return str(getattr(sys, "_base_executable", sys.executable))


def build(root: Path, work: Path) -> None:
    """COPY and RUN of the build stage."""
    stage = DOCKERFILE.split("\nFROM ")[1]
    work.mkdir()
    for instruction, what in re.findall(r"^(COPY|RUN) (.*)$", stage, re.MULTILINE):
        if instruction == "COPY":
            source, target = what.split()
            place = Path(target.replace(PREFIX, str(root)))
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")  # as .dockerignore does
                shutil.copytree(ROOT / source, place, ignore=ignored)
            else:
                shutil.copy(ROOT / source, work / place)
            continue
        command = re.sub(r"--mount=\S+ +", "", what.replace(PREFIX, str(root)))
        command = command.replace("python3 -m", f"{sys.executable} -m")
        done = subprocess.run(
            command,
            shell=True,
            cwd=work,
            env={**os.environ, "TARGETARCH": versions.Platform.here().architecture},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Below no directory of ours: somebody else has to get there."""
    if sys.platform != "linux":
        pytest.skip(f"the image has wheels for Linux, this is {sys.platform}")
    with tempfile.TemporaryDirectory(prefix="stanch-image-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        build(place / "root", place / "work")
        for path in (place / "root").rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222 | 0o444)
        yield Image(place / "root")


def test_it_has_the_operator_and_what_the_lock_says_and_nothing_to_develop_with(image: Image) -> None:
    lock = (ROOT / "requirements-runtime.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    there = {re.sub(r"[-_.]+", "-", one.name).lower() for one in distributions(path=[str(image.root)])}
    assert there <= locked
    assert {"kopf", "kubernetes", "pydantic", "structlog"} <= there
    assert not there & {"pip", "setuptools", "wheel", "pytest", "hypothesis", "mypy", "ruff"}
    tops = {path.name for path in image.root.iterdir()}
    assert not tops & {"tests", "sandbox", "bench", "bin"}
    assert not [path for path in (image.root / "stanch").rglob("*") if path.name.startswith("test_")]
    assert (image.root / "stanch" / "reports" / "templates" / "report.html.j2").is_file()


def test_it_is_small(image: Image) -> None:
    size = sum(path.lstat().st_size for path in image.root.rglob("*") if path.is_file()) / 2**20
    print(f"{size:.0f} MiB on top of the interpreter")  # noqa: T201 - shown by pytest -rP
    assert size < MOST_MIB


def test_everything_is_compiled_already(image: Image) -> None:
    def compiled(path: Path) -> bool:
        return (path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc").is_file()

    ours = [*(image.root / "stanch").rglob("*.py")]
    assert len(ours) > 200
    assert [path for path in ours if not compiled(path)] == []
    assert "--invalidation-mode=unchecked-hash" in DOCKERFILE


def test_somebody_without_a_home_can_ask_it_for_help_and_nothing_is_written(image: Image) -> None:
    before = image.files()
    process = image.start("--help")
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "run" in told
    assert image.files() == before


def test_it_starts_answers_its_probe_and_ends_when_asked_as_somebody(image: Image) -> None:
    """There is no cluster: it says so, and waits for one."""
    before = image.files()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as kubeconfig:
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "nowhere",
                "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [{"name": "nobody", "user": {"token": "none"}}],
                "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
            },
            kubeconfig,
        )
        kubeconfig.flush()
        Path(kubeconfig.name).chmod(0o644)
        process = image.start(
            "run", f"--kubeconfig={kubeconfig.name}", "--http-port=0", "--http-host=127.0.0.1"
        )
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if "probes and metrics are served" in line:
                    break
            assert lines, "it ended without a word"
            assert "probes and metrics are served" in lines[-1], "".join(lines)
            port = json.loads(lines[-1])["port"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
                assert answer.status == 200
            time.sleep(0.5)  # into the first tries to get the lease
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
    assert process.returncode == 0
    assert image.files() == before


def test_what_one_stage_compiles_the_other_loads() -> None:
    bases = dict(re.findall(r"^ARG (BUILD|RUNTIME)=(.*)$", DOCKERFILE, re.MULTILINE))
    assert re.search(r"/python:3\.13-slim-trixie", bases["BUILD"])
    assert re.search(r"/python3-debian13:nonroot", bases["RUNTIME"]), "Debian 13 is trixie, its Python 3.13"
    assert (DEBIAN, PYTHON) == ("trixie", "python3.13"), "as are those that tests/image builds from"


def test_it_says_which_version_it_is_and_runs_as_nobody() -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["65532:65532"]
    deployment, _ = yaml.safe_load_all((ROOT / "manifests" / "operator" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"stanch:{__version__}"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
