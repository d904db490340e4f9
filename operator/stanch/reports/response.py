"""The parts of a report that say what was seen and done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import GIVEN_BACK
from stanch.reports import words
from stanch.reports.document import (
    Block,
    Cell,
    Drawing,
    Note,
    Section,
    Tone,
    chip,
    code,
    facts,
    linked,
    table,
    text,
    time,
)
from stanch.reports.overview import NOT_RECORDED
from stanch.reports.picture import picture
from stanch.status import conditions

if TYPE_CHECKING:
    from stanch.api.v1alpha1.status import SignalsStatus
    from stanch.reports.model import (
        ActionTaken,
        CollectionChecked,
        ItemChecked,
        PhaseSpan,
        Report,
        TimelineChecked,
    )

_STATE: dict[str, Tone] = {
    "Effective": "good",
    "Undone": "good",
    "PassedOn": "calm",
    "Ineffective": "bad",
    "Refused": "bad",
    "Inconclusive": "warn",
}
_RESULT: dict[str, Tone] = {"Unaltered": "good", "NotVerified": "warn"}
_OUTCOME: dict[str, Tone] = {"Passed": "good", "Passing": "good", "Failed": "bad", "Error": "bad"}


def timeline(report: Report) -> Section:
    drawn = picture(report)
    blocks: list[Block] = []
    if drawn is not None:
        blocks.append(Drawing(drawn))
        spans = (_span(report, span) for span in report.phases)
        blocks.append(table("Phases", ("Phase", "From", "For"), *spans))
    if report.earlier:
        blocks.append(
            Note(
                f"{report.earlier} earlier entries are no longer in the incident's status, which is bounded; "
                f"{_kept(report)}.",
                "warn",
            )
        )
    entries = (
        (time(entry.at), text(entry.type), text(entry.actor), text(entry.message or entry.reason))
        for entry in report.timeline
    )
    if report.timeline:
        blocks.append(table("Timeline, all times UTC", ("When", "What", "Who", "Details"), *entries))
    else:
        blocks.append(Note("Nothing has happened yet."))
    return Section("timeline", "Timeline (UTC)", tuple(blocks), ("RS.AN-06",))


def _span(report: Report, span: PhaseSpan) -> tuple[Cell, ...]:
    if span.end == span.begin:
        return text(span.phase), time(span.begin), text("its end")
    lasted = words.length((span.end or words.utc(report.made_at)) - span.begin)
    return text(span.phase), time(span.begin), text(lasted if span.end else f"{lasted} so far")


def detection(report: Report) -> Section:
    seen, signals = report.detection, report.signals
    blocks: list[Block] = [
        facts(
            ("Method", text((seen and seen.method) or "not recorded")),
            ("Rule", linked(seen.rule_ref, seen.rule_ref) if seen and seen.rule_ref else None),
            ("Reports of alerts", text(_reports(signals)) if signals else None),
            ("Firing now", text(str(len(signals.firing))) if signals else None),
            ("Resolved", time(signals.resolved_at) if signals and signals.resolved_at else None),
        )
    ]
    if seen and seen.signals:
        rows = (
            (
                text(each.name),
                linked(each.source, each.source) if each.source else None,
                text(each.value or ""),
                time(each.observed_at) if each.observed_at else None,
                code(each.fingerprint) if each.fingerprint else None,
            )
            for each in seen.signals
        )
        columns = ("Signal", "Observed by", "Value", "Observed", "Fingerprint")
        blocks.append(table("Signals that led to the incident", columns, *rows))
    return Section("detection", "Detection", tuple(blocks), ("DE.AE-08", "RS.MA-02", "RS.MA-03"))


def _reports(signals: SignalsStatus) -> str:
    again = f", {words.times(signals.flaps)} again after it had resolved" if signals.flaps else ""
    return f"{signals.count}{again}"


def actions(report: Report) -> Section:
    plan, approval = report.plan, report.approval
    gate = conditions.find(report.conditions, conditions.GUARDRAILS_PASSED)
    blocks: list[Block] = [
        facts(
            ("Plan", code(plan.hash) if plan else text("none was made")),
            ("From", text(plan.source) if plan else None),
            ("Approved by", text(approval.by) if approval else text("no approval was recorded")),
            ("Approved", time(approval.at) if approval else None),
            ("Guardrails", text(f"{gate.reason}: {gate.message}") if gate else None),
        )
    ]
    if report.actions:
        columns = ("Step", "Change", "Outcome", "Given back")
        blocks.append(table("Steps and their outcomes", columns, *map(_action, report.actions)))
    else:
        blocks.append(Note("No step was carried out."))
    return Section("actions", "Actions", tuple(blocks), ("RS.MI-01", "RS.MI-02"))


def _action(step: ActionTaken) -> tuple[Cell | tuple[Cell, ...] | None, ...]:
    name = f"{step.action} of {step.target}{' (optional)' if step.optional else ''}"
    word = Cell(f"on the word of {step.on_the_word_of}", tone="calm")
    csf = (Cell(f"NIST CSF {', '.join(step.csf)}", tone="calm"),) if step.csf else ()
    kept = (f"left as others had changed it meanwhile: {', '.join(step.kept)}",) if step.kept else ()
    back = [line for line in (step.undo, *kept) if line]
    return (
        (text(name), word, *csf),
        tuple(map(text, step.changes)) or None,
        (chip(step.state, _STATE.get(step.state, "")), text(step.message or step.reason), *_effective(step)),
        (time(step.undone_at), *map(text, back)) if step.undone_at else None,
    )


def _effective(step: ActionTaken) -> tuple[Cell, ...]:
    """When its effect was seen, and how long that took."""
    if step.effective_at is None:
        return ()
    took = f", {words.length(step.effective_at - step.applied_at)} after the write" if step.applied_at else ""
    return (Cell(f"seen {words.moment(step.effective_at)}{took}", tone="calm"),)


def _kept(report: Report) -> str:
    stored = report.stored_timeline
    return f"they are stored at {stored.location}" if stored else "whoever was notified has them"


def evidence(report: Report) -> Section:
    csf = ("RS.AN-06", "RS.AN-07")
    said = conditions.find(report.conditions, conditions.EVIDENCE_COLLECTED)
    why = f"{said.reason}: {said.message}" if said else "No evidence was taken."
    blocks: list[Block] = [] if report.evidence else [Note(why, "warn")]
    for collection in report.evidence:
        blocks += _collection(report, collection)
    if report.stored_timeline is not None:
        blocks += _stored_timeline(report, report.stored_timeline)
    return Section("evidence", "Evidence", tuple(blocks), csf)


def _collection(report: Report, each: CollectionChecked) -> list[Block]:
    at = words.moment(report.made_at)
    verdict = {
        "Unaltered": Note(f"Unaltered: verified at {at}, {each.count} items chained to {each.head}.", "good"),
        "Altered": Note(f"ALTERED, found at {at}. First: {each.message}", "bad"),
        "NotVerified": Note(f"Not verified: {each.message}", "warn"),
    }[each.result]
    blocks: list[Block] = [
        verdict,
        facts(
            ("Collection", linked(each.location, each.location)),
            ("Chain ends in", code(each.head)),
            ("Size", text(f"{each.count} items, {words.size(each.size)}")),
            ("Collected", time(each.collected_at)),
            ("Collected by", text(each.tool)),
            ("Complete", text("yes" if each.complete else "no")),
            ("Missing", tuple(map(text, each.missing))),
        ),
    ]
    if each.items:
        columns = ("Item", "Copy of", "Collected", "SHA-256", "Now")
        blocks.append(table("Evidence, item by item", columns, *map(_item, each.items)))
    return blocks


def _stored_timeline(report: Report, stored: TimelineChecked) -> list[Block]:
    at = words.moment(report.made_at)
    whole = (
        f"Unaltered: verified at {at}, the timeline through entry {stored.through}, chained to {stored.head}."
    )
    verdict = {
        "Unaltered": Note(whole, "good"),
        "Altered": Note(f"ALTERED, found at {at}. First entry of the timeline: {stored.message}", "bad"),
        "NotVerified": Note(f"Not verified: {stored.message}", "warn"),
    }[stored.result]
    return [
        verdict,
        facts(("Timeline", linked(stored.location, stored.location)), ("Chain ends in", code(stored.head))),
    ]


def _item(item: ItemChecked) -> tuple[Cell | tuple[Cell, ...] | None, ...]:
    return (
        (code(item.name), *((Cell(words.size(item.size), tone="calm"),) if item.size is not None else ())),
        text(item.source) if item.source else None,
        (time(item.collected_at), Cell(item.collector, tone="calm")) if item.collected_at else None,
        code(item.sha256.removeprefix("sha256:")) if item.sha256 else None,
        (
            chip(item.result, _RESULT.get(item.result, "bad")),
            *((text(item.message),) if item.message else ()),
        ),
    )


def recovery(report: Report) -> Section:
    release, proof, times = report.recovery.release, report.recovery.verification, report.timestamps
    blocks: list[Block] = [
        Note(*_recovered(report)),
        facts(
            (
                "Asked for by",
                text(report.recovery.asked_by or (release and release.asked_by) or "not recorded"),
            ),
            ("Stage", text(f"{release.stage}, attempt {release.attempt}") if release else None),
            ("Stage began", time(release.since) if release else None),
            ("Stage's story", text(release.message) if release else None),
            ("Given back", time(times.released) if times.released else NOT_RECORDED),
            ("Recovered", time(times.recovered) if times.recovered else NOT_RECORDED),
            ("Checks", text(f"{proof.outcome}: {proof.message}".rstrip(": ")) if proof else text("none")),
        ),
    ]
    if proof and proof.checks:
        rows = (
            (
                text(check.name),
                chip(check.outcome, _OUTCOME.get(check.outcome, "warn")),
                text(check.value or ""),
                text(check.message or check.reason),
                time(check.looked_at) if check.looked_at else None,
            )
            for check in proof.checks
        )
        columns = ("Check", "Outcome", "Value", "Details", "Looked at")
        blocks.append(table("Checks of recovery", columns, *rows))
    return Section("recovery", "Recovery", tuple(blocks), ("RC.RP-05", "RC.RP-06"))


def _recovered(report: Report) -> tuple[str, Tone]:
    if report.timestamps.recovered is not None:
        return "Recovered: the checks passed on probation and once more in full.", "good"
    if report.phase in GIVEN_BACK:
        return "Given back on a person's word: recovery was not proven.", "warn"
    return "Not given back yet.", "calm"
