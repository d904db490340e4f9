"""The parts of a report that say what was learnt, decided and told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.reports.document import (
    Block,
    Cell,
    Heading,
    Items,
    Note,
    Prose,
    Section,
    Tone,
    ToWrite,
    chip,
    code,
    facts,
    linked,
    table,
    text,
    time,
)
from stanch.reports.overview import written, written_lines
from stanch.reports.words import times

if TYPE_CHECKING:
    from stanch.api.v1alpha1.record import ClockDecision
    from stanch.api.v1alpha1.status import ClockStatus
    from stanch.reports.model import Report

NOT_LEGAL_ADVICE = (
    "Not legal advice. Stanch computes when duties that may apply would be due; whether one applies is "
    "decided by people, and Stanch never concludes that none does."
)
_FAILED = frozenset({"Ineffective", "Inconclusive", "Refused"})
_CLOCK: dict[str, Tone] = {"Overdue": "bad", "Reported": "good", "NotReportable": "calm"}
_LEARNT = ("ID.IM-03",)


def root_cause(report: Report) -> Section:
    return Section("root-cause", "Root cause", (written(report.words.root_cause),), ("RS.AN-03",))


def near_misses(report: Report) -> Section:
    """What people write, and what was seen: it could have gone wrong here, and may the next time."""
    seen = []
    if report.contested is not None and report.contested.count:
        last = report.contested
        seen.append(
            f"Undoing the containment was tried {times(last.count)}; last: "
            f"{last.last_by} {last.last_what}".rstrip()
        )
    seen += [
        f"{step.action} of {step.target} was {step.state}: {step.message or step.reason}"
        for step in report.actions
        if step.state in _FAILED
    ]
    seen += [f"Not collected: {line}" for each in report.evidence for line in each.missing]
    blocks: list[Block] = [written(report.words.near_misses)]
    if seen:
        blocks += [Heading("Seen by Stanch"), Items(tuple(seen))]
    return Section("near-misses", "Near misses", tuple(blocks), _LEARNT)


def regulatory(report: Report) -> Section:
    log = report.regulatory
    decisions = {decision.clock: decision for decision in log.decisions}
    blocks: list[Block] = [
        Note(NOT_LEGAL_ADVICE),
        facts(
            (
                "Aware since",
                time(log.aware_at) if log.aware_at else text("not stated: spec.regulatory.awareAt"),
            ),
            (
                "Personal data",
                text({None: "not stated", True: "affected", False: "not affected"}[log.personal_data]),
            ),
        ),
    ]
    if log.clocks:
        rows = (_clock(each, decisions.get(each.id)) for each in log.clocks)
        blocks.append(table("Reporting duties", ("Duty", "Source", "State", "Due", "Decided"), *rows))
    else:
        blocks.append(
            Note("No reporting duty is in the incident's status: that does not mean that none applies.")
        )
    if log.undecided:
        blocks.append(ToWrite(f"spec.regulatory.decisions, for {', '.join(log.undecided)}"))
    if log.decisions:
        columns = ("Duty", "Decision", "Rationale", "Reference")
        blocks.append(table("Decisions", columns, *map(_decision, log.decisions)))
    if log.notes:
        blocks += [Heading("Notes"), Prose(log.notes)]
    return Section("regulatory", "Regulatory log", tuple(blocks), ("RS.CO-02",))


def _clock(clock: ClockStatus, decision: ClockDecision | None) -> tuple[Cell | tuple[Cell, ...] | None, ...]:
    said = f"{decision.duty}, by {decision.decided_by}" if decision else "not yet"
    return (
        (text(clock.title), Cell(f"{clock.id}, data of {clock.version}", tone="calm")),
        text(clock.source),
        (
            chip(clock.state, _CLOCK.get(clock.state, "warn")),
            *((text(clock.message),) if clock.message else ()),
        ),
        time(clock.due_at) if clock.due_at else text("unknown"),
        text(said),
    )


def _decision(decision: ClockDecision) -> tuple[Cell | tuple[Cell, ...] | None, ...]:
    at = (time(decision.at),) if decision.at else ()
    return (
        code(decision.clock),
        (text(decision.duty), text(f"by {decision.decided_by}"), *at),
        text(decision.rationale or ""),
        linked(decision.reference, decision.reference) if decision.reference else None,
    )


def communications(report: Report) -> Section:
    said = (written(report.words.communications),)
    return Section("communications", "Communications", said, ("RS.CO-02", "RS.CO-03", "RC.CO-04"))


def lessons(report: Report) -> Section:
    said = report.words
    blocks = (
        Heading("What went well"),
        written_lines(said.went_well),
        Heading("What went wrong"),
        written_lines(said.went_wrong),
        Heading("Where we got lucky"),
        written_lines(said.got_lucky),
    )
    return Section("lessons", "Lessons", blocks, _LEARNT)


def follow_ups(report: Report) -> Section:
    said = report.words.follow_ups
    if said.missing:
        return Section("follow-ups", "Follow-up actions", (ToWrite(said.field),), _LEARNT)
    rows = (
        (text(each.what), text(each.owner), text(each.due.isoformat() if each.due else "no date"))
        for each in said.actions
    )
    columns = ("What", "Owner", "Due")
    return Section("follow-ups", "Follow-up actions", (table("Follow-up actions", columns, *rows),), _LEARNT)


def about(report: Report) -> Section:
    read = report.incident
    return Section(
        "about",
        "About this report",
        (
            facts(
                ("Made", time(report.made_at)),
                ("By", text(report.tool)),
                ("Digest", code(report.digest or "")),
                (
                    "Incident as of",
                    text(f"generation {read.generation}, resource version {read.resource_version}"),
                ),
            ),
            Prose(
                "The digest is SHA-256 over the report in JSON without it; stanch report --verify compares "
                "them. Whoever alters a report can compute another digest: what counts are those of the kept "
                "files in the incident's status.reports."
            ),
        ),
        ("RC.RP-06",),
    )
