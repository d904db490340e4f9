"""What a run leaves that could not end its node: found by the cgroups, ended and removed by the next run."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sandbox import reaper
from sandbox.components import Layout
from sandbox.node import cgroups


def sweep() -> None:
    """End the sandboxes that have a node and nobody to use or end them; remove the cgroups of ended nodes."""
    for machine in cgroups.machines().values():
        directory = _directory(machine.pid) if machine.alive() else None
        if directory is not None and _abandoned(Layout(directory)):
            reaper.end(directory)
    cgroups.remove_dead()


def _directory(machine: int) -> Path | None:
    """The sandbox's, from the command line `node machine DIRECTORY/node`; None when the process has ended."""
    try:
        command = Path(f"/proc/{machine}/cmdline").read_bytes()
    except OSError:
        return None
    return Path(os.fsdecode(command.rstrip(b"\0").rpartition(b"\0")[2])).parent


def _abandoned(layout: Layout) -> bool:
    """Whether neither a person (`detached`) nor a reaper will end it: the reaper reads the users' FIFO."""
    if layout.state.exists() and json.loads(layout.state.read_text())["detached"]:
        return False
    try:
        os.close(os.open(layout.root / "run" / "users", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return True
    return False
