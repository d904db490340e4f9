"""A report is kept beside its evidence, once, and can be compared with what the incident says of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stanch.api.v1alpha1.incident import AIIncident
from stanch.errors import StanchError
from stanch.evidence.model import digest_of_bytes
from stanch.evidence.store import Store, open_store
from stanch.reports.digest import digest_in
from stanch.reports.keep import keep
from tests.unit.reports.incidents import NOW, raw, report

if TYPE_CHECKING:
    from stanch.api.v1alpha1.status import ReportRecord

INCIDENT = AIIncident.parse(raw())
FOLDER = "chat/toxic-output-0af1b2c3-4d5e-6f70-8192-a3b4c5d6e7f8"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store", create=True)


def files(tmp_path: Path) -> list[str]:
    place = tmp_path / "store"
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def stored(record: ReportRecord) -> bytes:
    return Path(record.location.removeprefix("file://")).read_bytes()


async def test_it_is_kept_in_three_forms_below_the_incidents_own_place(store: Store, tmp_path: Path) -> None:
    made = report()
    records = await keep(store, INCIDENT, made)
    digits = str(made.digest).removeprefix("sha256:")[:16]
    assert files(tmp_path) == sorted(
        f"{FOLDER}/report-{digits}.{suffix}" for suffix in ("html", "json", "md")
    )
    assert [record.location.rpartition(".")[2] for record in records] == ["json", "md", "html"]
    for record in records:
        body = stored(record)
        assert record.digest == digest_of_bytes(body)
        assert record.at == NOW
    assert digest_in(stored(records[0])) == made.digest


async def test_keeping_it_again_stores_nothing_and_says_the_same(store: Store, tmp_path: Path) -> None:
    first = await keep(store, INCIDENT, report())
    before = files(tmp_path)
    assert await keep(store, INCIDENT, report()) == first
    assert files(tmp_path) == before


async def test_another_report_is_kept_beside_the_first(store: Store, tmp_path: Path) -> None:
    await keep(store, INCIDENT, report())
    await keep(store, INCIDENT, report(now=NOW + timedelta(days=1)))
    assert len(files(tmp_path)) == 6


async def test_one_that_lost_its_digest_is_sealed_first(store: Store) -> None:
    made = report()
    assert await keep(store, INCIDENT, made.model_copy(update={"digest": None})) == await keep(
        store, INCIDENT, made
    )


async def test_a_store_that_takes_nothing_is_told(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store" / "chat").write_text("a file, where a directory would have to be made")
    with pytest.raises(StanchError, match="chat"):
        await keep(store, INCIDENT, report())
