"""TAB, in real shells: bash each time, all three on a terminal in the long tests."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.incident_server import api_server
from tests.installation import ROOT
from tests.terminal import terminal
from tests.unit.cli.made import raw

if TYPE_CHECKING:
    from pathlib import Path

TAB = """
source <(stanch completion bash)
_stanch_completion stanch
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the program on it."""
    program = tmp_path / "stanch"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m stanch "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def completed(path: str, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    line = " ".join(shlex.quote(word) for word in ("stanch", *words))
    typed = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}\n"
    done = subprocess.run(
        ["bash", "--norc", "-c", typed + TAB],
        env={"PATH": path, "PYTHONPATH": str(ROOT / "operator"), "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rel",), ["release"]),
        (("evidence", ""), ["verify", "list"]),
        (("contain", "deploy/x", "--seve"), ["--severity"]),
        (("contain", "deploy/x", "--severity", "C"), ["Critical"]),
        (("status", "-o", ""), ["table", "wide", "json", "yaml"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("release", "--kubeconfig", "/nowhere", ""), []),
    ],
)
def test_what_is_begun_is_completed(path: str, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(path, *words) == offered


def test_incidents_are_completed_by_name(path: str, tmp_path: Path) -> None:
    bodies = [raw(metadata={"name": name}) for name in ("leak-81d2e", "toxic-7f3c9", "toxic-91aa0")]
    with api_server(bodies, tmp_path) as kubeconfig:
        offered = completed(path, "release", "-n", "chat", "--kubeconfig", kubeconfig, "toxic")
    assert offered == ["toxic-7f3c9", "toxic-91aa0"]


def test_a_name_that_no_object_has_is_not_handed_to_a_shell(path: str, tmp_path: Path) -> None:
    bodies = [raw(metadata={"name": name}) for name in ("toxic-7f3c9", "toxic-$(touch x)", "toxic';'")]
    with api_server(bodies, tmp_path) as kubeconfig:
        offered = completed(path, "release", "-n", "chat", "--kubeconfig", kubeconfig, "toxic")
    assert offered == ["toxic-7f3c9"]


SHELLS = {
    "bash": (("--norc", "--noprofile", "-i"), "source <(stanch completion bash)"),
    "zsh": (("-f", "-i"), "autoload -Uz compinit; compinit -u -D; source <(stanch completion zsh)"),
    "fish": (("--no-config", "--interactive"), "stanch completion fish | source"),
}


def typed(shell: str, path: str, directory: Path, *lines: str) -> list[str]:
    """With what the program was called in the end, where these lines are typed and entered."""
    program = directory / "stanch"
    called = directory / "called"
    program.write_text(
        f"""#!/bin/sh
if [ -z "$_STANCH_COMPLETE" ] && [ "$1" != completion ]; then echo "$@" >> {called}; exit; fi
exec {sys.executable} -m stanch "$@"
"""
    )
    flags, source = SHELLS[shell]
    environment = {
        "PATH": path,
        "PYTHONPATH": str(ROOT / "operator"),
        "HOME": str(directory),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }
    with terminal([shell, *flags], environment, typing=True) as seen:
        seen.type(f"{source}; echo re''ady\n")
        seen.until(lambda _: "ready" in seen.sent)
        for number, line in enumerate(lines, 1):
            seen.type(f"{line}\n")
            seen.until(lambda _, wanted=number: len(_words(called)) == wanted)  # type: ignore[misc]  # of the loop
        seen.type("exit\n")
        seen.ends_with(0)
    return _words(called)


def _words(called: Path) -> list[str]:
    return called.read_text().splitlines() if called.exists() else []


@pytest.mark.long
@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(
            shell,
            marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"no {shell}: make shells"),
        )
        for shell in SHELLS
    ],
)
def test_whoever_presses_tab_in_a_shell_runs_what_they_began_to_type(
    path: str, tmp_path: Path, shell: str
) -> None:
    bodies = [raw(metadata={"name": name}) for name in ("leak-81d2e", "toxic-7f3c9")]
    with api_server(bodies, tmp_path) as kubeconfig:
        where = f"-n chat --kubeconfig {kubeconfig}"
        ran = typed(
            shell,
            path,
            tmp_path,
            "stanch rel\t",
            "stanch contain deploy/x --severity Cr\t",
            f"stanch release {where} tox\t",
            "stanch evidence ver\t",
        )
    assert [words.rstrip() for words in ran] == [
        "release",
        "contain deploy/x --severity Critical",
        f"release {where} toxic-7f3c9",
        "evidence verify",
    ]
