"""`stanch completion`, and what completes `kubectl stanch`: kubectl asks another program for it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from typer.completion import get_completion_inspect_parameters

from stanch.errors import StanchError

if TYPE_CHECKING:
    from stanch.cli.session import Where

PROGRAM = "stanch"
ASKED = "_STANCH_COMPLETE"
"""The environment variable by which a shell's script asks Typer to complete."""

_NO_FILES = ":4"
"""Cobra's ShellCompDirectiveNoFileComp, as kubectl wants it: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/2379-kubectl-plugins#shell-completion-support."""
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""What an object may be called. Shells evaluate what they are given: nothing else comes to them."""
_PATIENCE = 2.0  # seconds; whoever presses TAB waits


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that completes `stanch` in a shell: source <(stanch completion bash).

    `kubectl stanch` is completed by kubectl's own script, which asks kubectl_complete-stanch on the PATH.
    """
    os.environ[ASKED] = f"source_{shell}"
    complete()


def complete() -> None:
    """What the environment asks for. Raises SystemExit."""
    from stanch.cli import app  # noqa: PLC0415 - which has this module's command

    # Typer knows its shells from here on. It would by itself with flags that write into a person's files.
    get_completion_inspect_parameters()
    app(prog_name=PROGRAM)


def main() -> None:
    """`kubectl_complete-stanch WORD… INCOMPLETE`: a completion a line, then how kubectl takes them."""
    words = sys.argv[1:]
    os.environ |= {
        ASKED: "complete_bash",
        "COMP_WORDS": shlex.join([PROGRAM, *words]),
        "COMP_CWORD": str(len(words)),
    }
    try:
        complete()
    except SystemExit:
        sys.stdout.write(f"{_NO_FILES}\n")


def names(context: typer.Context, incomplete: str) -> list[str]:
    """The incidents that may be meant; none where they cannot be listed: TAB tells no errors."""
    from stanch.cli.session import Where  # noqa: PLC0415 - which has the argument that this completes

    given = context.params
    where = Where(given.get("namespace"), given.get("kubeconfig"), given.get("context"))
    try:
        found = asyncio.run(_listed(where))
    except (StanchError, OSError, ValueError):
        return []
    return [name for name in found if name.startswith(incomplete) and _NAME.fullmatch(name)]


async def _listed(where: Where) -> list[str]:
    from stanch.kube.client import Kube  # noqa: PLC0415
    from stanch.kube.resources import AIINCIDENTS  # noqa: PLC0415

    kube = await Kube.connect(where.settings())
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await kube.list(AIINCIDENTS, where.in_namespace(), metadata_only=True)
    finally:
        await kube.close()
    return [body["metadata"]["name"] for body in found]
