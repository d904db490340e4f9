"""A model server that CI brought to a poisoned version, and rolling it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.operator_process import workload

if TYPE_CHECKING:
    from tests.operator_process import Json, Space

HUB = "registry.example.test/llm"
LAST_KNOWN_GOOD: Json = {"rollback": {"to": {"lastKnownGood": True}}}
PODS = 2  # one on each node, for the DaemonSet
LONG = 60.0  # seconds: a StatefulSet replaces its pods one by one


def llm(kind: str, version: str, name: str = "llm", **more: Any) -> Json:
    """A model server, its image and its model both of that version."""
    container = {
        "name": "server",
        "image": f"{HUB}:{version}",
        "args": ["--model=org/x", "--revision", f"r{version}"],
    }
    pod = {"containers": [container], **more.pop("pod", {})}
    return workload(kind, name, PODS, pod=pod, **more)


def deploy(space: Space, manifest: Json, *, rolled_out: bool = True) -> None:
    space("apply", "-f", "-", stdin=manifest)
    if rolled_out:
        what = f"{manifest['kind']}/{manifest['metadata']['name']}"
        space("rollout", "status", what, f"--timeout={LONG}s")


def poisoned(space: Space, kind: str, **more: Any) -> tuple[Json, Json]:
    """A workload of version 1 that CI brought to version 2: both as the server has them."""
    objects = []
    for version in ("1", "2"):
        deploy(space, llm(kind, version, **more))
        objects.append(space.get(kind, "llm"))
    return objects[0], objects[1]


def contain(space: Space, kind: str, **member: Any) -> Json:
    space.incident("toxic", f"{kind}/llm", steps=[{"rollback": member or LAST_KNOWN_GOOD["rollback"]}])
    space.wait_phase("toxic", "Contained", LONG)
    return space.wait_held("toxic")


def template(obj: Json) -> Json:
    found: Json = obj["spec"]["template"]
    return found


def running(space: Space) -> set[tuple[str, str]]:
    """Image and revision argument of the pods that are there."""
    specs = [pod["spec"]["containers"][0] for pod in space.pods()]
    return {(spec["image"].removeprefix(f"{HUB}:"), spec["args"][2]) for spec in specs}
