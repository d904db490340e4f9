"""`stanch close`: write down what was learnt."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.api.v1alpha1.record import Determination, FollowUp, Resolution
from stanch.api.v1alpha1.status import GIVEN_BACK
from stanch.cli.ending import Exit
from stanch.cli.release import change
from stanch.cli.session import Command, Context, Kubeconfig, Name, Namespace, Where, read_incident

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube

Json = dict[str, Any]
COMMAND = Command("close", "nothing was closed", refused=Exit.NO)

Lines = Annotated[list[str] | None, typer.Option(help="May be repeated.")]


def close(  # noqa: PLR0913 - one parameter a flag
    name: Name,
    *,
    namespace: Namespace = None,
    determination: Annotated[
        Determination | None, typer.Option(help="What it turned out to be; asked for on a terminal.")
    ] = None,
    root_cause: Annotated[str | None, typer.Option(help="Why it happened; asked for on a terminal.")] = None,
    summary: Annotated[str | None, typer.Option(help="For those who read only this.")] = None,
    impact: Annotated[str | None, typer.Option(help="Who was affected, and how.")] = None,
    communications: Annotated[str | None, typer.Option(help="Who was told what, when.")] = None,
    near_misses: Annotated[str | None, typer.Option(help="What nearly happened.")] = None,
    went_well: Lines = None,
    went_wrong: Lines = None,
    got_lucky: Lines = None,
    action: Annotated[
        list[str] | None,
        typer.Option(help="What is to be done: 'what; owner' or 'what; owner; 2026-01-16'. May be repeated."),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Close an incident with its determination and root cause. What was written before stays.

    An incident whose workload is not given back yet is closed as soon as it is.

    Ends with 0 if it is written down, with 1 if it was refused, and with 2 if that could not be asked.
    """
    given = {
        "determination": determination,
        "rootCause": root_cause,
        "summary": summary,
        "impact": impact,
        "communications": communications,
        "nearMisses": near_misses,
    }
    lessons = {"wentWell": went_well, "wentWrong": went_wrong, "gotLucky": got_lucky}

    async def work(kube: Kube, space: str) -> Exit:
        actions = [follow_up(each) for each in action or ()]
        incident = await read_incident(kube, space, name)
        said = with_said(incident.spec.resolution, given, lessons, actions)
        resolution = Resolution.model_validate(_asked(said))
        op = {"op": "add", "path": "/spec/resolution", "value": resolution.wire()}
        typer.echo(_told(await change(kube, space, name, lambda _: [op])))
        return Exit.YES

    COMMAND.run(Where(namespace, kubeconfig, context), work)


def with_said(before: Resolution | None, given: Json, lessons: Json, actions: list[FollowUp]) -> Json:
    """The resolution as it stands, with what is given put over it. It may lack what is required."""
    old = before.wire() if before is not None else {}
    said = old | {name: value for name, value in given.items() if value is not None}
    told = {name: value for name, value in lessons.items() if value}
    if told:
        learnt = before.lessons.wire() if before is not None and before.lessons is not None else {}
        said["lessons"] = learnt | told
    if actions:
        said["actions"] = [each.wire() for each in actions]
    return said


def _asked(said: Json) -> Json:
    """With what is required asked for, on a terminal. Raises ValueError elsewhere, naming the flags."""
    missing = [name for name in ("determination", "rootCause") if name not in said]
    if not missing:
        return said
    if not sys.stdin.isatty():
        flags = {"determination": "--determination", "rootCause": "--root-cause"}
        raise ValueError(f"give {' and '.join(flags[name] for name in missing)}")
    answers: Json = {}
    if "determination" in missing:
        choices = ", ".join(Determination)
        answers["determination"] = typer.prompt(
            f"What did it turn out to be ({choices})?", type=Determination
        )
    if "rootCause" in missing:
        answers["rootCause"] = typer.prompt("Why did it happen?")
    if "lessons" not in said:
        asked = {
            "wentWell": "What went well",
            "wentWrong": "What went wrong",
            "gotLucky": "Where were we lucky",
        }
        answers["lessons"] = {
            name: [line]
            for name, question in asked.items()
            if (line := typer.prompt(f"{question}? (Enter: nothing)", default="", show_default=False))
        }
    return said | answers


def follow_up(text: str) -> FollowUp:
    """`Test the filter; retrieval team; 2026-01-16`. Raises ValueError."""
    parts = [part.strip() for part in text.split(";")]
    try:
        what, owner = parts[:2]
        (due,) = parts[2:] or [""]
        return FollowUp(what=what, owner=owner, due=date.fromisoformat(due) if due else None)
    except ValueError as error:
        raise ValueError(
            f"--action {text!r}: it looks like 'what; owner' or 'what; owner; 2026-01-16'"
        ) from error


def _told(incident: AIIncident) -> str:
    which = f"AIIncident {incident.metadata.namespace}/{incident.metadata.name}"
    if incident.status.phase in GIVEN_BACK:
        report = f"kubectl stanch report -n {incident.metadata.namespace} {incident.metadata.name}"
        return f"{which} is closed; its report: {report}"
    phase = incident.status.phase or "not looked at yet"
    return f"written down; {which} is {phase}, and is closed once its workload is given back"
