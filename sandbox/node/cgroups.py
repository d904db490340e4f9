"""The one thing of a node that does not end with its namespaces: its cgroup, and its pods' below it."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError
from sandbox.process import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/sys/fs/cgroup")
_NAME = re.compile(r"stanch-node-(\d+)-(\d+)")
_PATIENCE = 10.0  # seconds


def make(machine: Identity) -> str:
    """A cgroup in every hierarchy, named for the process with which it ends; its path, for the kubelet."""
    name = f"stanch-node-{machine.pid}-{machine.started}"
    for root in _hierarchies():
        (root / name).mkdir(exist_ok=True)
    return f"/{name}"


def machines() -> dict[str, Identity]:
    """The cgroups of this machine's nodes, each with the process it is named for."""
    names = {path.name for root in _hierarchies() for path in root.glob("stanch-node-*")}
    found = {name: _NAME.fullmatch(name) for name in names}
    return {name: Identity(int(match[1]), match[2]) for name, match in found.items() if match}


def remove_dead() -> None:
    """Remove the cgroups of nodes that have ended.

    Raises:
        SandboxError: some process is still in one.
    """
    for name, machine in machines().items():
        if not machine.alive():
            for root in _hierarchies():
                _remove(root / name)


def processes(container_id: str) -> list[int]:
    """Ids, on this machine, of a container's processes, first to last; empty when it has none any more.

    `container_id` as the pod's status has it, with or without `containerd://`.
    """
    wanted = container_id.rpartition("/")[2]
    for root in _hierarchies():
        for name in machines():
            for path, _, _ in os.walk(root / name):  # which others end below it meanwhile
                if Path(path).name == wanted:
                    with contextlib.suppress(OSError):  # it has ended meanwhile
                        return sorted(int(line) for line in Path(path, "cgroup.procs").read_text().split())
    return []


def _remove(cgroup: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while cgroup.exists():
        for path in (*_below(cgroup), cgroup):
            with contextlib.suppress(OSError):  # a dead process leaves its cgroup a moment later
                path.rmdir()
        if time.monotonic() > deadline:
            raise SandboxError(f"{cgroup} still has processes: end those in the cgroup.procs below it")
        time.sleep(0.005)


def _hierarchies() -> list[Path]:
    """Version 2's one; or version 1's, one for each controller (some names are links to another's), and
    the one of version 2 beside them, without controllers, where runc makes its groups too.
    """
    if not _ROOT.is_dir():
        return []
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    places = (path for path in _ROOT.iterdir() if not path.is_symlink())
    return sorted(path for path in places if (path / "cgroup.procs").exists())


def _below(path: Path) -> Iterator[Path]:
    """Directories under `path`, the deepest first."""
    return (found for found in sorted(path.rglob("*"), key=lambda one: -len(one.parts)) if found.is_dir())
