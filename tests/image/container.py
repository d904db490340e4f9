"""A container of an unpacked image, by runc: as its config says, on a file system that is read-only."""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.image.engine import Written

SOMEBODY = 54321
"""In no /etc/passwd, as OpenShift gives one to each namespace."""


@dataclass(frozen=True)
class Said:
    code: int
    text: str


@dataclass(frozen=True)
class Container:
    """No capabilities, no new privileges, no network, nothing mounted but what a runtime mounts."""

    image: Written
    root: Path
    place: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, entry: tuple[str, ...] = ()) -> Said:
        """The image's entry point, or another, with these arguments; until it ends."""
        config = self.image.config["config"]
        subprocess.run(["runc", "spec"], cwd=self.place, check=True)
        spec = json.loads((self.place / "config.json").read_text())
        spec["root"] = {"path": str(self.root), "readonly": True}
        spec["process"] |= {
            "terminal": False,
            "user": {"uid": SOMEBODY, "gid": 0},
            "args": [*(entry or config["Entrypoint"]), *arguments],
            "env": [*config["Env"], *(f"{name}={value}" for name, value in self.environment.items())],
            "cwd": config["WorkingDir"],
            "capabilities": {},
            "noNewPrivileges": True,
        }
        (self.place / "config.json").write_text(json.dumps(spec))
        name = f"stanch-image-{secrets.token_hex(4)}"
        done = subprocess.run(
            ["runc", "--root", str(self.place / "runc"), "run", name],
            cwd=self.place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=120,
        )  # fmt: skip
        (self.place / "config.json").unlink()
        return Said(done.returncode, done.stdout)
