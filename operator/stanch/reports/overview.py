"""The parts of a report that say what happened to what. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import GIVEN_BACK
from stanch.reports.document import (
    Block,
    Cell,
    Glance,
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
from stanch.reports.words import length, times, utc
from stanch.status import conditions

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.api.v1alpha1.record import AffectedModel, KnownGood
    from stanch.reports.model import Report, System, Written, WrittenLines

NOT_RECORDED = Cell("not recorded", tone="calm")
SEVERITY: dict[str, Tone] = {"Critical": "bad", "High": "bad", "Medium": "warn", "Low": "calm"}
PHASE: dict[str, Tone] = {
    "Contained": "good",
    "Released": "good",
    "Recovered": "good",
    "Closed": "good",
    "PartiallyContained": "warn",
    "ContainmentFailed": "bad",
    "Rejected": "bad",
}
_SHORT = 160  # characters of the root cause that are seen at one glance


def written(said: Written) -> Block:
    return ToWrite(said.field) if said.text is None else Prose(said.text)


def written_lines(said: WrittenLines) -> Block:
    return Items(said.lines) if said.lines else ToWrite(said.field)


def glance(report: Report) -> tuple[Glance, ...]:
    """What one who reads nothing else sees."""
    cause = report.words.root_cause
    contained = report.contained_in or "not contained"
    return (
        Glance("Severity", report.severity, report.category, SEVERITY.get(report.severity, "")),
        Glance("Phase", report.phase, _since(report), PHASE.get(report.phase, "warn")),
        Glance("Contained in", contained, "from detection" if report.contained_in else "", ""),
        _held(report),
        Glance("Root cause", _shortened(cause.text or "To be written"), "", "" if cause.text else "warn"),
    )


def _since(report: Report) -> str:
    return f"since {utc(report.phases[-1].begin):%Y-%m-%d %H:%M} UTC" if report.phases else ""


def _held(report: Report) -> Glance:
    """Whether what would undo the containment is denied, and how often that was tried."""
    said = conditions.find(report.conditions, conditions.HELD)
    count = report.contested.count if report.contested else 0
    tried = f"contested {times(count)}" if count else "no contest seen"
    if report.phase in GIVEN_BACK:
        at = report.timestamps
        if at.contained and at.released:
            return Glance("Held", length(at.released - at.contained), tried, "good")
        return Glance("Held", "given back", tried, "good")
    if said is None or said.status == "False":
        return Glance("Held", "No", said.reason if said else "", "bad" if report.timestamps.begun else "")
    return (
        Glance("Held", "Yes", tried, "good")
        if said.status == "True"
        else Glance("Held", "Not proven", tried, "warn")
    )


def _shortened(said: str) -> str:
    line = " ".join(said.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1].rstrip()}…"


def record(report: Report) -> Section:
    """What every record has: NIST AI 600-1, GV-4.3-002."""
    who, incident = report.roles, report.incident
    return Section(
        "record",
        "The incident",
        (
            facts(
                ("Title", text(report.title)),
                ("Incident", code(f"{incident.namespace}/{incident.name}")),
                ("UID", code(incident.uid)),
                ("Category", text(report.category)),
                ("Severity", chip(report.severity, SEVERITY.get(report.severity, ""))),
                ("Phase", chip(report.phase, PHASE.get(report.phase, "warn"))),
                (
                    "Determination",
                    text(
                        report.words.determination.text
                        or "To be written: " + report.words.determination.field
                    ),
                ),
                ("Reported by", text(report.reported_by) if report.reported_by else NOT_RECORDED),
                ("Date of incident", _at(report.timestamps.occurred)),
                ("Detected", _at(report.timestamps.detected)),
                ("Date reported", _at(incident.created_at)),
                ("Incident commander", text(who.incident_commander or "") if who else None),
                ("Operations lead", text(who.operations_lead or "") if who else None),
                ("Communications lead", text(who.communications_lead or "") if who else None),
                ("Scribe", text(who.scribe or "") if who else None),
                (
                    "Elsewhere",
                    tuple(linked(f"{ref.system} {ref.id}", ref.url) for ref in report.external_refs),
                ),
                ("Sharing", text(report.tlp or "no TLP label was set")),
            ),
        ),
    )


def _at(at: datetime | None) -> Cell:
    return time(at) if at else NOT_RECORDED


def summary(report: Report) -> Section:
    blocks: list[Block] = [written(report.words.summary)]
    if report.description:
        blocks.append(Prose(report.description))
    if report.standing:
        blocks.append(Note(f"As Stanch has it: {report.standing}"))
    return Section("summary", "Summary", tuple(blocks))


def affected(report: Report) -> Section:
    blocks: list[Block] = [
        table(
            "Affected workloads",
            ("Workload", "Namespace", "UID", "Condemned versions"),
            *(_system(report, each) for each in report.systems),
        )
    ]
    versions = [*_model(report.model), *_good(report.known_good)]
    blocks.append(facts(*versions) if versions else Note("No model or version was named in the incident."))
    return Section("affected", "Affected systems and versions", tuple(blocks))


def _system(report: Report, each: System) -> tuple[Cell | tuple[Cell, ...] | None, ...]:
    uid = code(each.uid) if each.uid else NOT_RECORDED
    condemned = tuple(map(code, each.condemned)) or text("none")
    return text(f"{each.kind} {each.name}"), text(report.incident.namespace), uid, condemned


def _model(model: AffectedModel | None) -> list[tuple[str, Cell | None]]:
    if model is None:
        return []
    return [
        ("Model", text(model.name or "")),
        ("Model version", text(model.version or "")),
        ("Model digest", code(model.digest or "")),
        ("Model address", linked(model.uri, model.uri) if model.uri else None),
    ]


def _good(good: KnownGood | None) -> list[tuple[str, Cell | tuple[Cell, ...] | None]]:
    if good is None:
        return []
    return [
        ("Known good version", text(good.model_version or "")),
        ("Known good images", tuple(map(code, good.images))),
    ]


def impact(report: Report) -> Section:
    known = {None: "not stated", True: "yes", False: "no"}[report.regulatory.personal_data]
    lasted = _lasted(report)
    return Section(
        "impact",
        "Impact",
        (
            written(report.words.impact),
            facts(
                ("Personal data affected", text(known)),
                ("Served while undetected", text(lasted["undetected"])),
                ("Served until contained", text(lasted["uncontained"])),
                ("Contained for", text(lasted["contained"])),
            ),
        ),
        ("RS.AN-08",),
    )


def _lasted(report: Report) -> dict[str, str]:
    at = report.timestamps
    back = at.released or at.recovered
    stopped = _between(at.contained, back or report.made_at)
    return {
        "undetected": _between(at.occurred, at.detected),
        "uncontained": _between(at.occurred or at.detected, at.contained),
        "contained": f"{stopped} so far" if stopped and not back else stopped,
    }


def _between(begin: datetime | None, end: datetime | None) -> str:
    return length(max(utc(end) - utc(begin), timedelta())) if begin and end else ""


def attacks(report: Report) -> Section:
    if not report.techniques:
        none = Note("No technique was named: spec.attacks and spec.owaspRefs are empty.")
        return Section("techniques", "Techniques", (none,), ("RS.AN-03",))
    rows = (
        (
            linked(each.id, each.url),
            text(each.catalogue),
            text(each.name or "not in this version's list: look it up in the catalogue"),
        )
        for each in report.techniques
    )
    return Section(
        "techniques",
        "Techniques",
        (table("Techniques and risks", ("Id", "Catalogue", "Name"), *rows),),
        ("RS.AN-03",),
    )
