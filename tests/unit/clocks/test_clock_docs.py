"""docs/how-to/regulatory-clocks.md lists the clocks that there are.

The table is compared, or written there when the environment has STANCH_WRITE_CLOCKS.
"""

from __future__ import annotations

import os
import re

from stanch.settings import Settings
from tests.installation import ROOT
from tests.unit.clocks.duty_cases import DATA

PAGE = ROOT / "docs" / "how-to" / "regulatory-clocks.md"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def table() -> str:
    rows = [
        f"Version {DATA.version}:",
        "",
        "| Clock | Within | Of what, and where that is written |",
        "|---|---|---|",
    ]
    for clock in DATA.clocks:
        start = " or ".join(f"`{id_}`" for id_ in clock.after) or str(clock.runs_from).lower()
        if clock.after:
            start = f"the report of {start}"
        note = f"; {clock.note}" if clock.note else ""
        rows.append(f"| `{clock.id}` | {clock.within} from {start} | {clock.title}: {clock.source}{note} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_the_clocks_of_this_version() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("STANCH_WRITE_CLOCKS"):
        page = TABLE.sub(lambda _: table(), page)
        PAGE.write_text(page, encoding="utf-8")
    found = TABLE.search(page)
    assert found is not None
    assert found.group() == table(), "write it with STANCH_WRITE_CLOCKS=1"
    assert "Not legal advice" in page


def test_the_settings_are_as_a_person_writes_them() -> None:
    assert Settings().clocks == ()
    assert Settings(clocks="gdpr, nis2,").clocks == ("gdpr", "nis2")
