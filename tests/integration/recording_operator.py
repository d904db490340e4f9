"""The operator's whole shell with an engine that only records: run as a program by the tests of the shell.

Prints one JSON line for everything the engine is told. With `--write`, every reconcile of an incident writes
a ConfigMap labelled with who wrote it, and wants to do so again at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from stanch.kube.resources import Resource
from stanch.main import Services, run
from stanch.observability.logging import configure_logging
from stanch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stanch.incidents.signalled import Note
    from stanch.observability.audit import Denied
    from stanch.queue import Key

CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
WRITE_EVERY_SECONDS = 0.05


class Recorder:
    def __init__(self, services: Services, *, watched: str, write: bool, slow_seconds: float) -> None:
        self._services = services
        self._watched = watched
        self._write = write
        self._slow_seconds = slow_seconds

    async def background(self) -> None:
        await asyncio.Event().wait()

    async def reconcile(self, key: Key) -> float | None:
        if key.namespace != self._watched:
            return None
        say(reconcile=key.name)
        await asyncio.sleep(self._slow_seconds)
        if not self._write:
            return None
        metadata = {"generateName": "write-", "labels": {"writer": self._services.settings.identity}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await self._services.kube.create(CONFIGMAPS, key.namespace, body)
        say(wrote=key.name)
        return WRITE_EVERY_SECONDS

    def workload_changed(self, resource: Resource, namespace: str, name: str) -> Iterable[Key]:
        if namespace == self._watched:
            say(workload=f"{resource.key}/{name}")
        return ()

    def denied(self, denied: Denied) -> Iterable[Key]:
        if denied.namespace == self._watched:
            say(denied=denied.message, by=denied.username, name=denied.name)
        return ()

    def signalled(self, key: Key, note: Note) -> None:
        if key.namespace == self._watched:
            say(signalled=key.name, by=note.name)


def say(**what: str) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--watched", required=True, help="the namespace whose incidents are recorded")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    options = parser.parse_args()
    settings = Settings()
    configure_logging(settings)

    def build(services: Services) -> Recorder:
        return Recorder(services, watched=options.watched, write=options.write, slow_seconds=options.slow)

    return asyncio.run(run(settings, build))


if __name__ == "__main__":
    sys.exit(main())
