"""docs/how-to/triggers.md lists what the library has.

The table is compared, or written there when the environment has STANCH_WRITE_TRIGGERS.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from stanch.api.v1alpha1.policy import ApprovalRequired
from tests.installation import ROOT
from tests.triggers.library import FAMILIES, alert_of, family

if TYPE_CHECKING:
    from stanch.api.v1alpha1.policy import Trigger
    from stanch.policies.match import Policy
    from tests.triggers.library import Alert

PAGE = ROOT / "docs" / "how-to" / "triggers.md"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def steps(policy: Policy) -> str:
    """The plan, as a policy names it."""
    names = [
        next(key for key in step.wire() if key not in {"onFailure", "optional", "timeout"})
        for step in policy.spec.steps
    ]
    return ", ".join(f"`{name}`" for name in names)


def asks(policy: Policy, trigger: Trigger) -> str:
    """Whether a person is asked first."""
    rule = policy.spec.guardrails.approval if policy.spec.guardrails else None
    if rule is None or rule.required is ApprovalRequired.NEVER:
        return "no"
    return "yes" if rule.severity is None else f"from {rule.severity} on"


def row(policy: Policy, trigger: Trigger, alert: Alert) -> str:
    cells = (
        f"`{alert.alert}`",
        alert.annotations.description,
        ", ".join(f"`{name}`" for name in sorted(alert.metrics - {"up"})),
        ", ".join(part for part in (alert.window, f"for {alert.for_}" if alert.for_ else "") if part),
        f"{trigger.category}, {trigger.severity}",
        f"`{policy.metadata.name}`: {steps(policy)}",
        asks(policy, trigger),
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    lines = []
    for name in FAMILIES:
        lines += [f"**{name}**", ""]
        lines += [
            "| Alert | What it means | Metrics | Window | Incident | Plan | Asks |",
            "|---|---|---|---|---|---|---|",
        ]
        triggers = (
            (policy, trigger, family(name).alerts[alert_of(trigger)])
            for policy, trigger in family(name).triggers
        )
        lines += [row(*one) for one in triggers]
        lines.append("")
    return "\n".join(lines)


def test_the_page_lists_every_alert_with_its_metrics_window_and_plan() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert TABLE.search(page)
    written = TABLE.sub(lambda _: table(), page)
    if os.environ.get("STANCH_WRITE_TRIGGERS"):
        PAGE.write_text(written, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == written, (
        "the table says something else; STANCH_WRITE_TRIGGERS=1 pytest tests/triggers/test_docs.py writes it"
    )
