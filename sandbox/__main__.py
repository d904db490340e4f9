"""`python -m sandbox up | down | status | binaries | node`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from sandbox import binaries, helm
from sandbox.audit import AuditEndpoint
from sandbox.cluster import Sandbox
from sandbox.errors import SandboxError
from sandbox.node import programs
from sandbox.node.availability import real_node_available
from sandbox.progress import clock

_DIRECTORY = Path(".stanch")


def up(directory: Path, nodes: int) -> int:
    began = time.monotonic()
    binaries.find()
    found = time.monotonic()
    endpoint = AuditEndpoint.reserve(directory)
    sandbox = Sandbox.start(directory, nodes=nodes, detached=True, audit_webhook=endpoint.webhook)
    took = time.monotonic()
    print(f"Kubernetes is up at {sandbox.server} in {clock(took - found)} (programs: {clock(found - began)})")
    print(f"  export KUBECONFIG={sandbox.admin_kubeconfig}")
    print(f"  {sandbox.kubectl} get nodes")
    return 0


def down(directory: Path) -> int:
    sandbox = Sandbox.attach(directory)
    if sandbox is None:
        print(f"no sandbox in {directory}: nothing to end")
        return 0
    sandbox.remove()
    print(f"the sandbox in {directory} has ended and its files are gone")
    return 0


def status(directory: Path) -> int:
    """Exit code 0 when every part answers, 1 otherwise."""
    sandbox = Sandbox.attach(directory)
    if sandbox is None:
        print(f"no sandbox in {directory}; start one with: python -m sandbox up --dir {directory}")
        return 1
    healthy = True
    for part in sandbox.parts:
        identity = part.identity
        answers = identity is not None and part.ready()
        healthy = healthy and answers
        said = (
            "ended" if identity is None else f"process {identity.pid}, {'ready' if answers else 'not ready'}"
        )
        print(f"{part.name:24} {said:28} log: {part.log}")
    print(f"{'kubeconfig':24} {sandbox.admin_kubeconfig}")
    return 0 if healthy else 1


def show_binaries() -> int:
    programs = binaries.find()
    for part, path in programs.paths.items():
        print(f"{part:24} {path}\n{'':24} {programs.origins[part]}")
    try:
        print(f"{helm.HELM:24} {helm.find()}")
    except SandboxError as error:
        print(f"{error}. Only tests of the chart need it", file=sys.stderr)
    return 0


def show_node() -> int:
    """Exit code 0 also where no real node can run: that is said, and tests that need one say it again."""
    available = real_node_available()
    if not available:
        print(available.reason)
        return 0
    for name, path in programs.find().paths.items():
        print(f"{name:24} {path}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A real Kubernetes control plane here."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, told in (
        ("up", "start it (or find it running) and leave it up"),
        ("down", "end it and delete its files"),
        ("status", "which parts run"),
    ):
        command = verbs.add_parser(verb, help=told)
        command.add_argument(
            "--dir", type=Path, default=_DIRECTORY, help="where it lives (default: %(default)s)"
        )
        if verb == "up":
            command.add_argument(
                "--nodes", type=int, default=2, help="nodes of a new one (default: %(default)s)"
            )
    verbs.add_parser("binaries", help="fetch or build the programs, and say where each is from")
    verbs.add_parser("node", help="build the programs of a real node, or say why none can run here")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.verb:
            case "up":
                return up(chosen.dir, chosen.nodes)
            case "down":
                return down(chosen.dir)
            case "status":
                return status(chosen.dir)
            case "node":
                return show_node()
            case _:
                return show_binaries()
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
