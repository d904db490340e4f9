"""Which namespace a command is about, and which role a refusal asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer
import yaml

from stanch.cli.ending import Exit
from stanch.cli.screen import lines, plain
from stanch.cli.session import Command, Where, told
from stanch.errors import Forbidden, Rejected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    contexts = [
        {"name": "chat", "context": {"cluster": "x", "user": "x", "namespace": "chat"}},
        {"name": "plain", "context": {"cluster": "x", "user": "x"}},
    ]
    file = tmp_path / "kubeconfig"
    file.write_text(
        yaml.safe_dump({"current-context": "chat", "contexts": contexts, "clusters": [], "users": []})
    )
    return file


@pytest.mark.parametrize(
    ("namespace", "context", "used"),
    [("rag", None, "rag"), (None, None, "chat"), (None, "plain", "default"), (None, "nobody", "default")],
)
def test_the_namespace_is_that_of_the_flag_then_of_the_context(
    kubeconfig: Path, namespace: str | None, context: str | None, used: str
) -> None:
    assert Where(namespace, kubeconfig, context).in_namespace() == used


def test_a_kubeconfig_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("just words")
    with pytest.raises(Rejected, match="cannot be used"):
        Where(None, file).in_namespace()


@pytest.mark.parametrize(
    ("message", "role"),
    [
        ('User "eve" cannot create resource "aiincidents" in API group "stanch.dev"', "stanch-reporter"),
        ('User "eve" cannot list resource "aiincidents" in API group "stanch.dev"', "stanch-viewer"),
        ('User "eve" cannot patch resource "aiincidents" in API group "stanch.dev"', "stanch-responder or"),
        ('User "eve" cannot delete resource "aiincidents" in API group "stanch.dev"', "stanch-responder"),
        ('User "eve" cannot get resource "deployments" in API group "apps"', None),
        ("you need the verb close on aiincidents.stanch.dev, …; ClusterRole stanch-responder has it", None),
    ],
)
def test_a_refusal_names_the_role_that_is_missing(message: str, role: str | None) -> None:
    said = told(Forbidden("Forbidden", message))
    assert said.startswith(f"Forbidden: {message}")
    assert (f"ClusterRole {role}" in said.removeprefix(f"Forbidden: {message}")) == (role is not None)


def test_what_a_server_says_in_lines_keeps_them_and_nothing_else() -> None:
    assert lines("a\n\x1b[31mb") == "a\n [31mb"
    assert plain("a\n\x1b[31mb\u202e") == "a  [31mb "


async def refused() -> Exit:
    raise Forbidden("Forbidden", 'cannot watch resource "aiincidents" in API group "stanch.dev"')


def test_who_may_not_look_at_what_they_asked_for_is_not_told_that_nothing_was_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = Command("contain", "nothing was contained", refused=Exit.NO)
    with pytest.raises(typer.Exit) as ended:
        command.end(lambda: command.after("AIIncident chat/toxic is created", "chat", "toxic", refused()))
    assert ended.value.exit_code == Exit.UNKNOWN
    assert capsys.readouterr().err == (
        "stanch contain: AIIncident chat/toxic is created; what came of it is not known: Forbidden: "
        'cannot watch resource "aiincidents" in API group "stanch.dev"; you need the verb watch on '
        "aiincidents: ClusterRole stanch-viewer has it; see: kubectl stanch status -n chat toxic\n"
    )
