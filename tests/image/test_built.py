"""The image that an engine builds of the Dockerfile: what is in it, what not, and the same again."""

from __future__ import annotations

import json
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from stanch import __version__
from tests.image.bases import PYTHON
from tests.image.container import Container

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.conftest import Images

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]  # whichever comes first waits for the builds

MOST_MIB = 100
OURS = "opt/stanch"
LOADS = """
import ctypes, os, sys
for each in sys.argv[1:]:
    ctypes.CDLL(each, mode=os.RTLD_NOW)
print(os.uname().machine)
"""


@pytest.fixture
def container(images: Images, tmp_path: Path) -> Container:
    return Container(images.first, images.root, tmp_path)


def test_built_again_it_is_the_same_image_bit_by_bit(images: Images) -> None:
    assert images.first.digest == images.second.digest
    assert images.first.manifest == images.second.manifest


def test_nothing_in_it_tells_how_packages_were_fetched(images: Images) -> None:
    told = json.dumps(images.first.config)
    assert "pip" not in told
    assert "PROXY" not in told.upper()
    assert not (images.root / "etc/pip.conf").exists()


def test_it_is_small(images: Images) -> None:
    print(f"{images.first.mib:.0f} MiB to pull, its base among them")  # noqa: T201 - shown by pytest -rP
    assert images.first.mib < MOST_MIB


def test_no_shell_no_installer_and_nothing_that_gives_rights_is_in_it(images: Images) -> None:
    found = [path for path in images.root.rglob("*") if not path.is_symlink()]
    names = {path.name for path in found if path.is_file()}
    assert not names & {
        "sh",
        "bash",
        "dash",
        "busybox",
        "env",
        "apt-get",
        "dpkg",
        "pip",
        "pip3",
        "curl",
        "wget",
    }
    assert not [path for path in (images.root / OURS).iterdir() if path.name in {"pip", "setuptools", "bin"}]
    assert not [
        path for path in found if path.is_file() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]
    for_all = [path for path in found if path.stat().st_mode & stat.S_IWOTH]
    assert [path.relative_to(images.root).as_posix() for path in for_all if path.is_file()] == []


def test_whoever_it_runs_as_can_read_it_and_nobody_can_write_it(images: Images) -> None:
    for path in (images.root / OURS).rglob("*"):
        status = path.lstat()
        assert status.st_uid == 0, path
        assert status.st_mode & stat.S_IROTH, path
        assert path.is_symlink() or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_its_config_says_who_it_runs_as_which_version_it_is_and_what_it_is_based_on(images: Images) -> None:
    config = images.first.config["config"]
    assert config["User"] == "65532:65532"
    assert config["WorkingDir"] == "/"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.base.name"] == "localhost/stand-in/runtime"


def test_somebody_asks_it_for_help(container: Container) -> None:
    said = container.run("--help")
    assert said.code == 0, said.text
    assert "doctor" in said.text


def test_without_a_cluster_it_says_so_and_what_to_do(container: Container) -> None:
    for command in ("run", "doctor"):
        said = container.run(command)
        assert said.code not in (0, 127), said.text
        assert "--kubeconfig" in said.text
        assert "Traceback" not in said.text


def test_nothing_can_be_run_in_it_but_python(container: Container) -> None:
    said = container.run(entry=("/bin/sh", "-c", "true"))
    assert said.code != 0
    assert "no such file" in said.text


def test_nothing_can_be_written_in_it(container: Container) -> None:
    said = container.run(entry=("python3", "-c", "open('/opt/stanch/x', 'w')"))
    assert said.code == 1
    assert "Read-only file system" in said.text


def test_on_arm64_everything_native_in_it_loads(images: Images) -> None:
    """Emulated, without an arm64 machine: the loader refuses what is of another one, or lacks a library."""
    root = images.arm64_root
    assert images.arm64.config["architecture"] == "arm64"
    assert images.first.config["architecture"] == "amd64"
    native = sorted(str(path) for path in (root / OURS).rglob("*.so"))
    assert len(native) > 10
    python = ["qemu-aarch64-static", "-L", str(root), str(root / "usr/bin" / PYTHON)]
    said = subprocess.run(
        [*python, "-I", "-c", LOADS, *native], env={}, capture_output=True, text=True, check=False
    )
    assert said.stdout == "aarch64\n", said.stderr


def test_it_has_the_same_files_on_both_architectures_but_for_what_is_native(images: Images) -> None:
    def portable(root: Path) -> set[str]:
        return {
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.suffix != ".so" and ".dist-info" not in path.as_posix()
        }

    assert portable(images.root / OURS) == portable(images.arm64_root / OURS)
