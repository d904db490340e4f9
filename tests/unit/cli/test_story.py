"""What a person sees of incidents: is it stopped, does it stay so, what is left to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from stanch.api.v1alpha1.incident import AIIncident
from stanch.cli import app
from stanch.cli.story import incidents_table, news, story
from tests.incident_server import api_server
from tests.unit.cli.made import HELD, NOW, incident, raw, said
from tests.unit.reports import hostile
from tests.unit.reports.incidents import raw as whole

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from tests.incident_server import Json

ESCAPES = "\x1b[2J\x1b]0;owned\x07 [bold red]calm[/] \u202eevil\u2028\x9b31m\nfake line"


def drawn(what: RenderableType, *, terminal: bool = False) -> str:
    console = Console(
        width=300, force_terminal=terminal, markup=False, highlight=False, no_color=not terminal
    )
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def rows(*incidents: AIIncident, **how: bool) -> list[list[str]]:
    shown = incidents_table(incidents, NOW, **({"all_namespaces": False, "wide": False} | how))
    return [line.split() for line in drawn(shown).splitlines()]


def entry(seq: int, type_: str, message: str, actor: str = "stanch") -> Json:
    return {
        "seq": seq,
        "at": f"2026-01-02T03:12:{seq:02}Z",
        "type": type_,
        "actor": actor,
        "message": message,
    }


def checks(**successes: int) -> Json:
    shown = [
        {"name": name, "outcome": "Passing", "successes": count, "message": "0.002 < 0.01", "value": "0.002"}
        for name, count in successes.items()
    ]
    return {"verification": {"outcome": "Passing", "checks": shown}}


def test_the_table_says_what_is_to_be_done() -> None:
    contained = incident(conditions=[HELD], containedIn="412ms")
    assert rows(contained) == [
        ["NAME", "SEVERITY", "TARGET", "PHASE", "HELD", "CONTAINED-IN", "AGE", "NEXT"],
        ["toxic-output", "Critical", "Deploy/llm-chat", "Contained", "True", "412ms", "3m", "release"],
    ]
    heads, row = rows(contained, all_namespaces=True, wide=True)
    assert (heads[0], row[0]) == ("NAMESPACE", "chat")
    assert heads[-5:] == ["CATEGORY", "CONTESTED", "POLICY", "DUE", "SUMMARY"]


def test_the_story_of_an_incident_has_all_that_happened() -> None:
    told = drawn(story(AIIncident.parse(whole()), NOW))
    for part in (
        "chat/toxic-output  Critical OutputPolicyViolation",
        "Toxic output above policy threshold",
        "✗   Isolate",
        "allow-monitoring still allows 9090/tcp",
        "GuardrailsPassed",
        "Contested 5 times; last: argocd-application-controller was denied",
        "✓✓✓   0.002   0.002 < 0.01",
        "03:12:04 UTC  Approved [bob@example.test]  plan 5be19a02c3d4e5f6",
    ):
        assert part in told
    assert "no longer denied by this incident" not in told


def test_conditions_that_are_as_they_should_be_are_no_news() -> None:
    told = drawn(
        story(
            incident(
                conditions=[
                    said("Accepted", "True", "PlanMade"),
                    said("Ready", "False", "Contained"),
                    said("Stalled", "False", "Contained"),
                    said("Attended", "False", "NobodyLooked", "for 25h"),
                    HELD,
                ]
            ),
            NOW,
        )
    )
    assert "DeniedAtAdmission" in told
    assert "NobodyLooked" in told
    assert "PlanMade" not in told
    assert "Stalled" not in told


def test_of_more_than_can_be_seen_those_are_listed_that_need_somebody_most() -> None:
    crowd = [incident(metadata={"name": f"crowd-{number}"}) for number in range(3)]
    crowd.append(incident("ContainmentFailed", metadata={"name": "failed"}))
    told = drawn(incidents_table(crowd, NOW, all_namespaces=False, wide=False, most=2))
    assert [line.split()[0] for line in told.splitlines()] == ["NAME", "failed", "crowd-0"]


def test_between_two_looks_only_what_is_new_is_told() -> None:
    first = incident(timeline=[entry(1, "Detected", "plan 5be1")])
    second = incident(
        timeline=[entry(1, "Detected", "plan 5be1"), entry(2, "Contained", "held", actor="bob")],
        **checks(toxicity=2),
    )
    assert news(None, first) == ("03:12:01 UTC  Detected  plan 5be1",)
    contained, checked = news(first, second)
    assert contained == "03:12:02 UTC  Contained [bob]  held"
    assert checked.split() == ["checks", "toxicity", "✓✓"]
    assert news(second, second) == ()
    anew = incident(metadata={"uid": "u2"}, timeline=[entry(1, "Detected", "plan 77aa")])
    assert news(second, anew) == ("03:12:01 UTC  Detected  plan 77aa",)


def test_a_hostile_incident_moves_no_cursor_and_draws_no_line_of_its_own() -> None:
    """Whatever others may write: control characters, markup, text that turns around."""
    bad = AIIncident.parse(hostile.incident(ESCAPES))
    shown = [drawn(story(bad, NOW)), drawn(incidents_table([bad], NOW, all_namespaces=True, wide=True))]
    shown += news(None, bad)
    for text in shown:
        assert all(each.isprintable() or each == "\n" for each in text)
        assert not any(line.startswith("fake line") for line in text.splitlines())
    assert "[bold red]calm[/]" in shown[0]


def test_the_program_prints_no_colours_but_on_a_terminal(tmp_path: Path) -> None:
    assert "\x1b[" in drawn(story(incident(), NOW), terminal=True)
    assert "\x1b" not in ask([raw()], tmp_path, "toxic-output", "-n", "chat").output


# The command


def ask(bodies: list[Json], directory: Path, *arguments: str) -> Result:
    with api_server(bodies, directory) as kubeconfig:
        command = ["status", "--kubeconfig", kubeconfig, *arguments]
        result = CliRunner().invoke(app, command, env={"COLUMNS": "40"})
    assert "Traceback" not in result.output
    return result


def test_what_is_piped_is_neither_wrapped_nor_cut(tmp_path: Path) -> None:
    body = raw(summary="x" * 500)
    result = ask([body], tmp_path, "-n", "chat", "-o", "wide")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert "x" * 500 in result.stdout


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_objects_are_printed_as_they_are_but_for_their_managed_fields(tmp_path: Path, form: str) -> None:
    body = raw(metadata={"managedFields": [{"manager": "x"}]}, summary=ESCAPES)
    one = ask([body], tmp_path, "toxic-output", "-n", "chat", "-o", form)
    all_of_them = ask([body], tmp_path, "-A", "-o", form)
    read: Any = json.loads if form == "json" else yaml.safe_load
    assert read(one.stdout)["status"]["summary"] == ESCAPES
    assert "managedFields" not in one.stdout + all_of_them.stdout
    assert "\x1b" not in one.stdout
    assert [each["metadata"]["name"] for each in read(all_of_them.stdout)["items"]] == ["toxic-output"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody", "-n", "chat"), "AIIncident chat/nobody does not exist; see kubectl get aii -A"),
        (("-w", "-o", "yaml"), "--watch is for people"),
        (("toxic-output", "-w", "-o", "json"), "--watch is for people"),
        (("toxic-output", "-A"), "leave NAME out"),
        (("--kubeconfig", "/nowhere"), "does not exist; give --kubeconfig"),
    ],
)
def test_what_cannot_be_shown_is_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    result = ask([raw()], tmp_path, *arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_no_incident_is_told_beside_the_table(tmp_path: Path) -> None:
    result = ask([], tmp_path, "-n", "chat")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no incident in namespace chat; -A looks in all of them" in result.stderr


def test_an_incident_of_another_version_is_no_traceback(tmp_path: Path) -> None:
    result = ask([raw(phase="Evaporated")], tmp_path, "toxic-output", "-n", "chat")
    assert result.exit_code == 2
    assert "stanch status: status.phase: Input should be" in result.output
