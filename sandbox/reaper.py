"""Ends a sandbox when its last user is gone, however it went: run as a program, `reaper.py DIRECTORY`.

Every user holds the writing end of the FIFO `run/users` open. The kernel closes it when a user ends,
even by SIGKILL, and end-of-file here means that nobody is left.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sandbox import locks
from sandbox.node import cgroups
from sandbox.process import Identity, read_identity

GRACE = 1.0  # seconds between asking and making


def main(directory: Path) -> None:
    """Wait for the last user, then end the processes and delete the cluster's data (logs stay).

    Users come under the directory's lock, so that nobody comes between the last look and the end.
    """
    users = directory / "run" / "users"
    fifo = os.open(users, os.O_RDONLY)
    while True:
        _until_nobody(fifo)
        with locks.exclusive(directory / "lock"):
            if _somebody(fifo):
                continue
            if users.exists():  # else it was stopped on purpose, and somebody looks after it
                users.unlink()
                end(directory)
                for data in ("etcd", "node"):
                    shutil.rmtree(directory / data, ignore_errors=True)
            return


def end(directory: Path) -> None:
    """Ask every process of the directory to end, all at once; after GRACE seconds make them."""
    files = sorted((directory / "run").glob("*.pid"))
    left: list[Identity] = [identity for file in files if (identity := read_identity(file)) is not None]
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 10.0)):
        for identity in left:
            identity.send(number)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [identity for identity in left if identity.alive()]
    for file in files:
        file.unlink(missing_ok=True)
    if (directory / "node").exists():
        cgroups.remove_dead()


def _until_nobody(fifo: int) -> None:
    while os.read(fifo, 1):
        pass


def _somebody(fifo: int) -> bool:
    """Whether a writing end is open now: without one, the FIFO reports a hang-up."""
    poll = select.poll()
    poll.register(fifo, select.POLLIN)
    return not any(event & select.POLLHUP for _, event in poll.poll(0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
