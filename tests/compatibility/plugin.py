"""Stories that decide whether Stanch works on a Kubernetes: a pytest plugin named in conftest.py.

`@pytest.mark.compatibility("helm")` says what they are about: see tests/compatibility/areas.py. How each of
them went is written to what `--stories` names: see `make compatibility`.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compatibility.areas import Area
from tests.compatibility.results import ROOT, Outcome, Story, Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

MARKER = "compatibility"
_LONGEST = 400  # characters of what a story that failed has to say


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stories", type=Path, help="write how the stories of compatibility went, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    target = config.getoption("stories")
    if target is not None and not hasattr(config, "workerinput"):  # workers of xdist report to the first
        config.pluginmanager.register(_Writer(target))


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker(MARKER)
        if marker is not None:
            (area,) = marker.args
            item.user_properties.append((MARKER, Area(area).value))


class _Writer:
    def __init__(self, target: Path) -> None:
        self._target = target
        self._told: dict[str, Story] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, the test and what follows: the first that does not pass is how it went."""
        area = dict(report.user_properties).get(MARKER)
        before = self._told.get(report.nodeid)
        if not isinstance(area, str) or (before is not None and before.outcome is not Outcome.PASSED):
            return
        said = "" if report.passed else _said(report)
        name = report.nodeid.rpartition("::")[2]
        self._told[report.nodeid] = Story(
            area=Area(area), test=name, outcome=Outcome(report.outcome), said=said
        )

    def pytest_sessionfinish(self) -> None:
        stories = tuple(story for _, story in sorted(self._told.items()))
        self._target.write_text(Told(stories=stories).model_dump_json(), encoding="utf-8")


def _said(report: pytest.TestReport) -> str:
    """In one line, and without the directories of this machine."""
    if isinstance(report.longrepr, tuple):
        text = report.longrepr[2]
    else:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash is not None else str(report.longrepr)
    text = text.replace(f"{ROOT}/", "").replace(str(ROOT), ".")
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/\S*", "…", text)
    return " ".join(text.split())[:_LONGEST]
