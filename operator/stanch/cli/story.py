"""Incidents as a table, and one as its story: what is printed, from the models. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from stanch.api.v1alpha1.status import CheckOutcome, Phase, StepState
from stanch.cli.screen import cell, plain, table
from stanch.cli.standing import age, held, next_of, urgency
from stanch.status import conditions
from stanch.status.text import clock, contested_line, target_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.api.v1alpha1.status import CheckStatus, Condition, StepStatus, TimelineEntry

GOOD, BAD, BUSY, QUIET = "green", "bold red", "yellow", "dim"

_PHASES = {
    Phase.CONTAINED: GOOD,
    Phase.RELEASED: GOOD,
    Phase.RECOVERED: GOOD,
    Phase.CLOSED: QUIET,
    Phase.DUPLICATE: QUIET,
    Phase.CONTAINMENT_FAILED: BAD,
    Phase.PARTIALLY_CONTAINED: BAD,
    Phase.REJECTED: BAD,
    Phase.AWAITING_APPROVAL: BUSY,
    Phase.CONTAINING: BUSY,
    Phase.RELEASING: BUSY,
}
_MARKS = {
    StepState.EFFECTIVE: ("✓", GOOD),
    StepState.UNDONE: ("✓", QUIET),
    StepState.PASSED_ON: ("✓", QUIET),
    StepState.INEFFECTIVE: ("✗", BAD),
    StepState.REFUSED: ("✗", BAD),
    StepState.INCONCLUSIVE: ("?", BAD),
}
_ALWAYS = {conditions.CONTAINED, conditions.HELD, conditions.VERIFIED, conditions.RELEASED}
_NEVER = {conditions.READY, conditions.RECONCILING, conditions.CONTESTED}
"""What phase and the line about contests tell already."""
_USUAL = {"NothingToHold", "Released"}
"""Reasons that are no news where nothing is contained."""
_SHOWN = 30


def incidents_table(
    incidents: Iterable[AIIncident],
    now: datetime,
    *,
    all_namespaces: bool,
    wide: bool,
    most: int | None = None,
) -> Table:
    """What needs somebody first comes first, `most` of them."""
    heads = ["NAME", "SEVERITY", "TARGET", "PHASE", "HELD", "CONTAINED-IN", "AGE", "NEXT"]
    if all_namespaces:
        heads = ["NAMESPACE", *heads]
    if wide:
        heads += ["CATEGORY", "CONTESTED", "POLICY", "DUE", "SUMMARY"]
    rows = [
        _row(incident, now, all_namespaces=all_namespaces, wide=wide)
        for incident in sorted(incidents, key=urgency)[:most]
    ]
    return table(heads, rows)


def _row(incident: AIIncident, now: datetime, *, all_namespaces: bool, wide: bool) -> list[Text | str]:
    meta, spec, status = incident.metadata, incident.spec, incident.status
    stands = held(incident)
    row: list[Text | str] = [
        meta.name,
        spec.severity,
        target_line(spec.targets),
        cell(status.phase or "", _PHASES.get(status.phase, "") if status.phase else ""),
        cell(stands, GOOD if stands == "True" else BAD if status.phase is Phase.CONTAINED else ""),
        status.contained_in or "",
        age(now - meta.creation_timestamp) if meta.creation_timestamp else "",
        next_of(incident).word,
    ]
    if all_namespaces:
        row = [meta.namespace, *row]
    if wide:
        contested = str(status.contested.count) if status.contested else ""
        source = status.plan.source if status.plan else ""
        row += [spec.category, contested, source, status.clock or "", status.summary or ""]
    return row


def story(incident: AIIncident, now: datetime) -> Group:
    """The whole of one incident, the newest last."""
    return Group(*_parts(incident, now))


def _parts(incident: AIIncident, now: datetime) -> Iterator[RenderableType]:
    meta, spec, status = incident.metadata, incident.spec, incident.status
    since = f", {age(now - meta.creation_timestamp)} old" if meta.creation_timestamp else ""
    yield cell(f"{meta.namespace}/{meta.name}  {spec.severity} {spec.category}{since}", "bold")
    yield cell(spec.title)
    phase = status.phase or "not looked at yet"
    quick = f" in {status.contained_in}" if status.contained_in and status.phase is Phase.CONTAINED else ""
    yield cell(f"{phase}{quick}", _PHASES.get(status.phase, "") if status.phase else BUSY)
    if status.summary:
        yield cell(status.summary)
    if status.steps:
        yield from _titled(
            "Steps", table(("", "STEP", "TARGET", "STATE", "MESSAGE"), map(_step, status.steps))
        )
    said = [each for each in status.conditions if _matters(each)]
    if said:
        yield from _titled(
            "Conditions", table(("TYPE", "STATUS", "REASON", "MESSAGE"), map(_condition, said))
        )
    if status.contested is not None:
        yield Text()
        yield cell(f"Contested {contested_line(status.contested)}", BUSY)
    if status.verification is not None and status.verification.checks:
        yield from _titled(
            "Checks", table(("CHECK", "", "VALUE", "MESSAGE"), map(check, status.verification.checks))
        )
    if status.timeline:
        yield from _titled("Timeline", *(cell(line) for line in entries(status.timeline[-_SHOWN:])))
    left = next_of(incident).told
    if left:
        yield Text()
        yield cell(f"Next: {left}", "bold")


def _titled(title: str, *parts: RenderableType) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")
    yield from parts


def _step(step: StepStatus) -> Sequence[Text | str]:
    mark, style = _MARKS.get(step.state, ("●", BUSY))
    optional = " (optional)" if step.optional else ""
    return (
        Text(mark, style=style),
        step.action,
        f"{step.target.kind} {step.target.name}{optional}",
        cell(step.state, style),
        step.message or step.reason,
    )


def _matters(condition: Condition) -> bool:
    """Of what is neither always nor never told: what is not as it should be."""
    if condition.type in _NEVER or condition.reason in _USUAL:
        return False
    bad = "True" if condition.type == conditions.STALLED else "False"
    return condition.type in _ALWAYS or condition.status in {bad, "Unknown"}


def _condition(condition: Condition) -> Sequence[str]:
    return condition.type, condition.status, condition.reason, condition.message


def check(found: CheckStatus) -> Sequence[Text | str]:
    """One row: a tick for each time in a row that it passed, a cross for each that it did not."""
    style = {CheckOutcome.PASSED: GOOD, CheckOutcome.PASSING: GOOD, CheckOutcome.PENDING: ""}
    return (
        found.name,
        cell(ticks(found), style.get(found.outcome, BAD)),
        found.value or "",
        found.message or found.outcome,
    )


def ticks(found: CheckStatus) -> str:
    return "✓" * found.successes + "✗" * found.failures + "?" * found.inconclusive


def entries(timeline: Iterable[TimelineEntry]) -> Iterator[str]:
    """`03:12:04 UTC  Contained  contained: llm-chat replicas 3→0; held`, with who did it if not Stanch."""
    for entry in timeline:
        who = "" if entry.actor == "stanch" else f" [{plain(entry.actor)}]"
        yield plain(f"{clock(entry.at)}  {entry.type}{who}  {entry.message or entry.reason}")


def news(before: AIIncident | None, after: AIIncident) -> tuple[str, ...]:
    """What has happened between two looks, a line each: for where a screen cannot be drawn anew.

    One that has been made anew under the same name begins anew.
    """
    if before is not None and before.metadata.uid != after.metadata.uid:
        before = None
    seen = max((entry.seq for entry in before.status.timeline), default=0) if before else 0
    told = list(entries(entry for entry in after.status.timeline if entry.seq > seen))
    checks = _checks(after)
    if checks and (before is None or checks != _checks(before)):
        told.append(checks)
    return tuple(told)


def _checks(incident: AIIncident) -> str:
    """`checks: toxicity ✓✓  p99 ✓`, as long as there is something to tell."""
    found = incident.status.verification
    shown = [f"{each.name} {ticks(each)}" for each in found.checks if ticks(each)] if found else []
    return plain(f"{' ' * 14}checks  {'   '.join(shown)}") if shown else ""
