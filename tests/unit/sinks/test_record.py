"""All of the timeline is kept, entry by entry, and nobody alters it unnoticed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stanch.api.v1alpha1.status import DeliveryStatus
from stanch.cli import app
from stanch.evidence.model import Incident
from stanch.evidence.store import Store, StoreUnavailable, open_store
from stanch.evidence.timeline import RECORD, Claim, Kept, Seen, judge, name_of, start_of, verify
from stanch.evidence.verify import Fault, Finding
from stanch.settings import Settings
from stanch.sinks import worker as module
from stanch.sinks.deliver import Lane, as_told, taken
from stanch.sinks.model import Undelivered
from stanch.sinks.receivers import ConfiguredReceivers
from stanch.sinks.record import RecordSink
from stanch.sinks.worker import Worker
from tests.incident_server import api_server
from tests.unit.incidents.walk import NOW
from tests.unit.sinks.telling import All, entry, timeline, told, with_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.kube.client import Kube
    from stanch.queue import Key

LAST = 6


@dataclass
class Ground:
    """A store in a directory, and how far the incident's status says that it is."""

    directory: Path
    store: Store
    incident: AIIncident
    lane: Lane

    @property
    def folder(self) -> Path:
        meta = self.incident.metadata
        return self.directory / meta.namespace / f"{meta.name}-{meta.uid}" / "timeline"

    @property
    def who(self) -> Incident:
        meta = self.incident.metadata
        return Incident(namespace=meta.namespace, name=meta.name, uid=meta.uid)

    @property
    def claim(self) -> Claim:
        delivery = self.lane.delivery
        assert delivery.head is not None
        return Claim(self.who, delivery.head, delivery.through)

    def path(self, seq: int) -> Path:
        return self.folder / name_of(seq)

    async def keep(self, *seqs: int) -> None:
        for seq in seqs:
            link = await RecordSink(self.store).deliver(
                as_told(self.incident, self.lane.delivery), entry(seq)
            )
            self.lane = taken(self.lane, entry(seq), link)

    async def found(self) -> list[tuple[str, Fault]]:
        place = self.store.below(str(self.folder.relative_to(self.directory)))
        return [(one.name, one.fault) for one in await verify(place, self.claim)]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    directory = tmp_path / "evidence"
    store = open_store(f"file://{directory}", create=True)
    return Ground(directory, store, told(), Lane(DeliveryStatus(sink=RECORD)))


@pytest.fixture
async def kept(ground: Ground) -> Ground:
    await ground.keep(*range(1, LAST + 1))
    return ground


# What is stored


async def test_every_entry_is_an_object_that_names_the_digest_of_the_one_before(kept: Ground) -> None:
    assert sorted(path.name for path in kept.folder.iterdir()) == [f"00000{n}.json" for n in range(1, 7)]
    link = start_of(kept.who)
    for seq in range(1, LAST + 1):
        body = kept.path(seq).read_bytes()
        told_of: dict[str, Any] = json.loads(body)
        assert told_of == {
            "version": "stanch.dev/timeline/v1",
            "incident": kept.who.wire(),
            "entry": entry(seq).wire(),
            "previous": link,
        }
        assert body == json.dumps(told_of, sort_keys=True, separators=(",", ":")).encode()
        link = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (kept.lane.delivery.head, kept.lane.delivery.through) == (link, LAST)
    assert kept.lane.delivery.location == f"file://{kept.folder}"
    assert await kept.found() == []


async def test_an_entry_that_was_stored_and_not_recorded_before_a_crash_is_stored_once(kept: Ground) -> None:
    before, bodies = kept.lane, {path: path.read_bytes() for path in kept.folder.iterdir()}
    kept.lane = Lane(DeliveryStatus(sink=RECORD))

    await kept.keep(*range(1, LAST + 1))

    assert kept.lane == before
    assert {path: path.read_bytes() for path in kept.folder.iterdir()} == bodies


async def test_what_is_stored_and_not_recorded_yet_is_no_alteration(kept: Ground) -> None:
    settled = kept.lane
    await kept.keep(LAST + 1)
    kept.lane = settled
    assert await kept.found() == []


async def test_a_key_that_somebody_else_took_is_given_up_at_once_and_left_as_it_is(kept: Ground) -> None:
    kept.path(LAST + 1).write_bytes(b"mine")
    with pytest.raises(Undelivered, match="holds 4 other bytes already") as caught:
        await kept.keep(LAST + 1)
    assert caught.value.permanent
    assert kept.path(LAST + 1).read_bytes() == b"mine"


async def test_a_store_that_is_down_is_asked_again() -> None:
    class Down:
        def below(self, _key: str) -> Down:
            return self

        async def put(self, key: str, _body: bytes) -> None:
            raise StoreUnavailable("EvidenceStoreUnavailable", f"{key}: HTTP 503", 5.0)

    with pytest.raises(Undelivered, match="HTTP 503") as caught:
        await RecordSink(cast("Store", Down())).deliver(told(), entry(1))
    assert not caught.value.permanent


async def test_the_chain_goes_on_from_the_status_and_not_from_what_the_store_has_become(kept: Ground) -> None:
    kept.path(LAST).write_bytes(kept.path(LAST).read_bytes().replace(b"StepApplied", b"StepIgnored"))
    await kept.keep(LAST + 1)
    assert await kept.found() == [(name_of(LAST), Fault.ALTERED)]


def test_it_is_there_where_evidence_is_kept_and_only_there(ground: Ground) -> None:
    kube = cast("Kube", None)
    receivers = ConfiguredReceivers.from_settings(Settings(), kube, ground.store)
    assert set(receivers.of(told())) == {RECORD}
    assert RECORD not in ConfiguredReceivers.from_settings(Settings(), kube).of(told())


# Whether it is still what it was


@pytest.mark.parametrize("seq", range(1, LAST + 1))
async def test_one_byte_is_flipped(kept: Ground, seq: int) -> None:
    body = kept.path(seq).read_bytes()
    for place in range(len(body)):
        kept.path(seq).write_bytes(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
        first = (await kept.found())[0]
        assert first in {(name_of(seq), Fault.ALTERED), (name_of(seq), Fault.REORDERED)}, place


@pytest.mark.parametrize("seq", range(1, LAST + 1))
async def test_one_is_dropped(kept: Ground, seq: int) -> None:
    kept.path(seq).unlink()
    assert await kept.found() == [(name_of(seq), Fault.MISSING)]


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 5), (3, 4), (1, 6), (5, 6)])
async def test_two_are_swapped(kept: Ground, one: int, other: int) -> None:
    first, second = kept.path(one).read_bytes(), kept.path(other).read_bytes()
    kept.path(one).write_bytes(second)
    kept.path(other).write_bytes(first)
    found = await kept.found()
    assert found[0] == (name_of(one), Fault.REORDERED)
    assert (name_of(other), Fault.REORDERED) in found


async def test_the_newest_are_cut_off(kept: Ground) -> None:
    for seq in (5, 6):
        kept.path(seq).unlink()
    assert await kept.found() == [(name_of(5), Fault.MISSING), (name_of(6), Fault.MISSING)]


async def test_all_of_it_is_written_anew(kept: Ground) -> None:
    """By somebody who knows how: only the head, which is not in the store, tells."""
    head = kept.claim
    for path in kept.folder.iterdir():
        path.unlink()
    kept.lane = Lane(DeliveryStatus(sink=RECORD))
    kept.incident = with_status(told(), timeline=())
    for seq in range(1, LAST + 1):
        forged = entry(seq, "Contained")
        link = await RecordSink(kept.store).deliver(as_told(kept.incident, kept.lane.delivery), forged)
        kept.lane = taken(kept.lane, forged, link)
    place = kept.store.below(str(kept.folder.relative_to(kept.directory)))
    assert [(one.name, one.fault) for one in await verify(place, head)] == [(name_of(LAST), Fault.ALTERED)]


async def test_another_file_is_named(kept: Ground) -> None:
    kept.folder.joinpath("000003-b.json").touch()
    kept.folder.joinpath("000000.json").touch()
    assert await kept.found() == [("000000.json", Fault.EXTRA), ("000003-b.json", Fault.EXTRA)]


async def test_the_timeline_of_another_incident_is_none_of_this_one(kept: Ground) -> None:
    other = Claim(kept.who.model_copy(update={"uid": "other"}), kept.claim.head, LAST)
    place = kept.store.below(str(kept.folder.relative_to(kept.directory)))
    (finding,) = await verify(place, other)
    assert str(finding) == "000001.json: altered: the chain does not begin with this incident"


@pytest.mark.parametrize("given_up", [{1}, {3}, {3, 4}, {1, 2, 5}, {LAST}])
async def test_an_entry_that_was_given_up_is_passed_over_by_the_chain(
    ground: Ground, given_up: set[int]
) -> None:
    await ground.keep(*(seq for seq in range(1, LAST + 1) if seq not in given_up))
    ground.lane = Lane(ground.lane.delivery.model_copy(update={"through": LAST}))
    assert await ground.found() == []

    kept = [seq for seq in range(1, LAST + 1) if seq not in given_up]
    ground.path(kept[1]).unlink()
    assert (name_of(kept[1]), Fault.MISSING) in await ground.found()


def chain(last: int) -> tuple[Claim, dict[int, bytes]]:
    who = Incident(namespace="chat", name="toxic", uid="u1")
    link, bodies = start_of(who), {}
    for seq in range(1, last + 1):
        bodies[seq] = Kept(incident=who, entry=entry(seq), previous=link).render()
        link = Seen.of(bodies[seq]).link
    return Claim(who, link, last), bodies


def judged(claim: Claim, bodies: dict[int, bytes]) -> tuple[Finding, ...]:
    seen = {seq: Seen.of(body) for seq, body in bodies.items()}
    return judge(claim, seen, map(name_of, bodies))


@given(last=st.integers(1, 12), data=st.data())
def test_whatever_else_stands_there_is_never_called_unaltered(last: int, data: st.DataObject) -> None:
    claim, bodies = chain(last)
    assert judged(claim, bodies) == ()
    seqs = st.integers(1, last)
    contents = st.one_of(st.none(), st.binary(max_size=9), seqs.map(bodies.__getitem__))
    changes = data.draw(st.dictionaries(seqs, contents, max_size=4))
    changed = bodies | {seq: body for seq, body in changes.items() if body is not None}
    for seq in [seq for seq, body in changes.items() if body is None]:
        del changed[seq]
    assert bool(judged(claim, changed)) == (changed != bodies)


# As the operator runs it


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def folded(worker: Worker, incident: AIIncident) -> AIIncident:
    """With what the worker has to say of its deliveries by now."""
    status = worker.folded(incident.status, incident.status, incident)
    return incident.model_copy(update={"status": status})


async def test_the_worker_chains_a_burst_and_goes_on_after_a_restart(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.02)
    incident = told(*timeline(1, 4))
    for last in (4, 9):
        asked: list[Key] = []
        worker = Worker(All({RECORD: RecordSink(ground.store)}), asked.append, clock=lambda: NOW)
        incident = with_status(incident, timeline=timeline(1, last))
        async with running(worker), asyncio.timeout(30):
            incident = folded(worker, incident)
            worker.offer(incident)
            while incident.status.deliveries[0].through < last:
                await asyncio.sleep(0.005)
                incident = folded(worker, incident)
        assert asked
        (delivery,) = incident.status.deliveries
        assert (delivery.through, delivery.dropped) == (last, 0)
        ground.lane = Lane(delivery)
        assert await ground.found() == []
    assert len(list(ground.folder.iterdir())) == 9


# stanch evidence verify


def said(ground: Ground, tmp_path: Path) -> tuple[int, str]:
    meta = ground.incident.metadata
    body = {
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
        "status": {"deliveries": [{"sink": "ocsf", "through": 3}, ground.lane.delivery.wire()]},
    }
    with api_server([body], tmp_path) as kubeconfig:
        arguments = ["evidence", "verify", meta.name, "-n", meta.namespace, "--kubeconfig", str(kubeconfig)]
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert "Traceback" not in result.output
    return result.exit_code, result.output


async def test_the_command_says_that_the_timeline_is_unaltered(kept: Ground, tmp_path: Path) -> None:
    code, output = await asyncio.to_thread(said, kept, tmp_path)
    assert code == 0, output
    assert f"unaltered: the timeline through entry 6, chained to {kept.claim.head}" in output


async def test_the_command_names_the_first_altered_entry(kept: Ground, tmp_path: Path) -> None:
    kept.path(3).write_bytes(b"{}")
    kept.path(5).unlink()
    code, output = await asyncio.to_thread(said, kept, tmp_path)
    assert code == 1
    assert "ALTERED: the first altered entry of the timeline is 000003.json: altered" in output


async def test_a_timeline_that_cannot_be_read_is_neither(kept: Ground, tmp_path: Path) -> None:
    kept.folder.rename(tmp_path / "elsewhere")
    code, output = await asyncio.to_thread(said, kept, tmp_path)
    assert code == 2
    assert "stanch evidence verify: " in output


def test_without_a_head_there_is_nothing_to_verify(ground: Ground, tmp_path: Path) -> None:
    code, output = said(ground, tmp_path)
    assert code == 2
    assert "has no stored evidence" in output
