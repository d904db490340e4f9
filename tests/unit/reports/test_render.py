"""The three forms of a report: what is in them, and in which order."""

from __future__ import annotations

import json
import re

import pytest

from stanch.reports.form import Form
from stanch.reports.render import document, render
from tests.unit.reports.incidents import altered, at, fresh, raw, report, unread

SECTIONS = [
    "Summary",
    "The incident",
    "Affected systems and versions",
    "Impact",
    "Timeline (UTC)",
    "Detection",
    "Actions",
    "Evidence",
    "Techniques",
    "Root cause",
    "Near misses",
    "Recovery",
    "Regulatory log",
    "Communications",
    "Lessons",
    "Follow-up actions",
    "About this report",
]


def html(*arguments: object) -> str:
    return render(report(*arguments), Form.HTML).decode()  # type: ignore[arg-type]  # as report takes them


def markdown(*arguments: object) -> str:
    return render(report(*arguments), Form.MARKDOWN).decode()  # type: ignore[arg-type]  # likewise


def test_every_form_has_every_section_in_the_same_order() -> None:
    for body in (raw(), fresh()):
        assert re.findall(r"^## (.+)$", markdown(body), re.MULTILINE) == SECTIONS
        assert re.findall(r'<h2 id="[a-z-]+-title">(.+?)</h2>', html(body)) == SECTIONS


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = html()
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    for never in ("<script", "<link", "<iframe", "<object", "@import", "url(", "src="):
        assert never not in page, never
    assert "</html>" in page


def test_one_glance_tells_how_it_stands() -> None:
    glance = {each.label: (each.value, each.detail) for each in document(report()).glance}
    assert glance["Severity"] == ("Critical", "OutputPolicyViolation")
    assert glance["Phase"] == ("Closed", "since 2026-01-05 11:11 UTC")
    assert glance["Contained in"] == ("900ms", "from detection")
    assert glance["Held"] == ("2 d 3 h", "contested 5 times")
    assert glance["Root cause"][0].startswith("Model 2.4.0 followed")


@pytest.mark.parametrize(("status", "value"), [("True", "Yes"), ("Unknown", "Not proven"), ("False", "No")])
def test_while_it_stands_the_glance_tells_whether_it_is_held(status: str, value: str) -> None:
    body = raw()
    body["status"]["phase"] = "Contained"
    body["status"]["conditions"][0]["status"] = status
    held = next(each for each in document(report(body)).glance if each.label == "Held")
    assert held.value == value


def test_a_long_root_cause_is_shortened_at_the_top_alone() -> None:
    body = raw()
    body["spec"]["resolution"]["rootCause"] = "because " * 100
    said = document(report(body))
    assert said.glance[-1].value.endswith("…")
    assert len(said.glance[-1].value) <= 160
    assert markdown(body).count("because") > 100


def test_what_is_still_to_be_written_is_marked_at_the_top_and_in_its_place() -> None:
    for text in (markdown(fresh()), html(fresh())):
        plain = re.sub(r"<[^>]+>", "", text)
        assert plain.count("spec.resolution.rootCause") == 2
        assert "To be written: spec.resolution.rootCause" in plain
    assert "11 parts" not in html(fresh())
    assert "10 parts are still to be written" in html(fresh())
    assert "1 part is still to be written" in html()


def test_evidence_says_in_words_what_it_is_now() -> None:
    assert "Unaltered: verified at 2026-01-06 03:11:48Z, 3 items" in markdown()
    told = markdown(raw(), altered())
    assert "ALTERED, found at 2026-01-06 03:11:48Z. First: 001-pod.json: altered" in told
    assert "**Altered**; it has 9 bytes, collected were 3" in told
    assert "Not verified: s3://evidence/prod" in markdown(raw(), unread())
    assert "No evidence was taken." in markdown(fresh())


def test_the_regulatory_log_has_who_decided_and_is_no_legal_advice() -> None:
    told = markdown()
    assert "Not legal advice." in told
    assert "NotReportable, by dpo@example.test" in told
    assert "No personal data was in the sampled answers." in told
    assert "To be written: spec.regulatory.decisions, for eu-ai-act-73-2" in told
    assert "that does not mean that none applies" in markdown(fresh())


def test_recovery_is_called_proven_only_where_it_was() -> None:
    assert "Recovered: the checks passed on probation and once more in full." in markdown()
    body = raw()
    del body["status"]["timestamps"]["recovered"]
    assert "Given back on a person's word: recovery was not proven." in markdown(body)
    assert "Not given back yet." in markdown(fresh())


def test_an_exercise_and_a_dry_run_cannot_be_taken_for_the_real_thing() -> None:
    assert "**Exercise**" in markdown(fresh(exercise=True))
    assert '<span class="banner">Exercise</span>' in html(fresh(exercise=True))
    assert "Dry run: nothing was changed" in html(fresh(mode="DryRun"))


def test_who_may_see_it_is_said_on_every_page() -> None:
    assert html().count('content: "TLP:AMBER"') == 2
    assert "not marked for sharing" in html(fresh())
    body = raw()
    body["spec"]["tlp"] = "TLP:AMBER+STRICT"
    assert 'content: "TLP:AMBER+STRICT"' in html(body)


def test_the_json_is_the_report_itself() -> None:
    made = report()
    wire = json.loads(render(made, Form.JSON))
    assert wire == made.wire()
    assert wire["words"]["rootCause"]["text"].startswith("Model 2.4.0")
    assert json.loads(render(report(fresh()), Form.JSON))["words"]["rootCause"] == {
        "field": "spec.resolution.rootCause"
    }


def test_the_same_report_is_rendered_to_the_same_bytes() -> None:
    for form in Form:
        assert render(report(), form) == render(report(), form)


def test_a_lone_contest_and_one_that_was_put_right_are_near_misses() -> None:
    body = raw()
    body["status"]["contested"] = {
        "count": 1,
        "lastBy": "hpa",
        "lastWhat": "scaled",
        "lastAt": at(seconds=20),
    }
    assert "Undoing the containment was tried once; last: hpa scaled" in markdown(body)
