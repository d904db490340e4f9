"""The election against a server that fails in every way the field has seen."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from stanch.errors import FenceLost
from stanch.kube.resources import LEASES, ObjectRef
from stanch.leader.decision import Timings
from stanch.leader.election import Elector, boot_clock
from tests.unit.leader.fake_lease_server import FakeLeaseServer, fake_lease_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# A busy machine may keep a process from running for a second: the deadlines are no shorter than two.
FAST = Timings(lease=4.0, renew_deadline=2.0, retry=0.1)
PATIENCE = 30.0  # seconds
LEASE = ObjectRef(LEASES, "stanch-system", "stanch")


class Clock:
    """The real one, but it can be made to jump, as it does for a process that was stopped."""

    def __init__(self) -> None:
        self.jumped = 0.0

    def __call__(self) -> float:
        return boot_clock() + self.jumped


class Candidates:
    """Electors on one server, each with connections of its own."""

    def __init__(self, server: FakeLeaseServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    async def enter(self, name: str, timings: Timings = FAST, clock: Clock | None = None) -> Elector:
        kube = await self._stack.enter_async_context(self.server.client())
        return Elector(kube, LEASE, name, timings, clock=clock or Clock())


@pytest.fixture
async def server() -> AsyncIterator[FakeLeaseServer]:
    async with fake_lease_server() as server:
        yield server


@pytest.fixture
async def candidates(server: FakeLeaseServer) -> AsyncIterator[Candidates]:
    async with AsyncExitStack() as stack:
        yield Candidates(server, stack)


async def ends(elector: Elector, within: float = PATIENCE) -> str:
    """Hold until leadership is lost; why. The fence is shut by then."""
    async with asyncio.timeout(within):
        with pytest.raises(FenceLost) as caught:
            await elector.hold()
    with pytest.raises(FenceLost):
        elector.fence()
    return str(caught.value)


async def test_a_leader_may_write_and_nobody_else(candidates: Candidates) -> None:
    elector = await candidates.enter("one")
    with pytest.raises(FenceLost, match="does not lead"):
        elector.fence()
    await elector.acquire()
    elector.fence()
    assert elector.leading
    assert elector.holder == "one"


async def test_of_many_that_start_together_exactly_one_leads(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    electors = [await candidates.enter(f"c{number}") for number in range(8)]
    tasks = [asyncio.create_task(elector.acquire()) for elector in electors]
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(4 * FAST.retry)
    assert sum(elector.leading for elector in electors) == 1
    assert len(server.writes) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("code", [401, 403, 409, 429, 500, 503])
async def test_a_lease_that_cannot_be_created_is_tried_again(
    server: FakeLeaseServer, candidates: Candidates, code: int
) -> None:
    server.faults += [lambda request: code if request.method == "POST" else 0] * 4
    elector = await candidates.enter("one")
    async with asyncio.timeout(PATIENCE):
        await elector.acquire()
    assert server.writes == ["one"]


async def test_a_create_whose_answer_is_lost_still_leads_to_one_leader(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    server.lose_answers = 1
    elector = await candidates.enter("one")
    async with asyncio.timeout(PATIENCE):
        await elector.acquire()
    assert elector.leading
    assert server.writes == ["one", "one"]


async def test_renewals_keep_a_leader_a_leader_and_the_standby_waiting(candidates: Candidates) -> None:
    leader, standby = await candidates.enter("one"), await candidates.enter("two")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(FAST.lease + FAST.retry)
    assert leader.leading
    assert not standby.leading
    assert standby.sees_the_lease
    assert standby.holder == "one"
    for task in (holding, waiting):
        task.cancel()
    await asyncio.gather(holding, waiting, return_exceptions=True)


async def test_connection_errors_in_renewals_end_a_leader_before_another_can_lead(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader, standby = await candidates.enter("one"), await candidates.enter("two")
    await leader.acquire()
    standby_task = asyncio.create_task(standby.acquire())
    await asyncio.sleep(FAST.retry)

    def refuse_the_leader(_request: object) -> int:
        return 503 if leader.leading else 0

    server.faults += [refuse_the_leader] * 1000
    why = await ends(leader)
    assert "could not be renewed" in why
    assert not standby.leading
    async with asyncio.timeout(PATIENCE):
        await standby_task
    assert standby.leading


async def test_a_short_outage_does_not_end_a_leader(server: FakeLeaseServer, candidates: Candidates) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.faults += [lambda _request: 503] * 3
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(FAST.renew_deadline + 2 * FAST.retry)
    assert leader.leading
    holding.cancel()


async def test_a_renewal_that_hangs_ends_a_leader_at_its_deadline(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.hang = asyncio.Event()
    started = boot_clock()
    assert "could not be renewed" in await ends(leader)
    assert boot_clock() - started < FAST.lease


async def test_a_renewal_whose_answer_is_lost_is_found_to_be_ours(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.lose_answers = 1
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(FAST.renew_deadline + 2 * FAST.retry)
    assert leader.leading
    holding.cancel()


async def test_a_stolen_lease_ends_the_leader_at_its_next_renewal(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.steal("thief")
    assert "taken by thief" in await ends(leader)
    assert server.writes == ["one"]


async def test_somebody_labelling_the_lease_changes_nothing(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.touch()
    holding = asyncio.create_task(leader.hold())
    await asyncio.sleep(FAST.renew_deadline + 2 * FAST.retry)
    assert leader.leading
    holding.cancel()


async def test_a_deleted_lease_ends_the_leader(server: FakeLeaseServer, candidates: Candidates) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.lease = None
    assert "deleted" in await ends(leader)
    assert server.writes == ["one"]


async def test_a_standby_gives_the_leader_of_a_deleted_lease_time_to_notice(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    server.store({"holderIdentity": "old", "leaseDurationSeconds": 1})
    standby = await candidates.enter("new")
    started = boot_clock()
    waiting = asyncio.create_task(standby.acquire())
    async with asyncio.timeout(PATIENCE):
        while standby.holder != "old":  # noqa: ASYNC110 - an elector tells nobody what it sees
            await asyncio.sleep(FAST.retry)
    server.lease = None
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert boot_clock() - started >= FAST.lease


async def test_a_standby_that_could_not_look_for_long_gives_it_no_less_time(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    server.store({"holderIdentity": "old", "leaseDurationSeconds": 1})
    clock = Clock()
    standby = await candidates.enter("new", clock=clock)
    waiting = asyncio.create_task(standby.acquire())
    async with asyncio.timeout(PATIENCE):
        while standby.holder != "old":  # noqa: ASYNC110 - an elector tells nobody what it sees
            await asyncio.sleep(FAST.retry / 4)
    server.lease = None
    clock.jumped = 3600
    started = boot_clock()
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert boot_clock() - started >= FAST.lease


async def test_a_process_that_was_stopped_for_long_wakes_up_unable_to_write(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    clock = Clock()
    leader = await candidates.enter("one", clock=clock)
    await leader.acquire()
    leader.fence()
    clock.jumped = 3600
    with pytest.raises(FenceLost):
        leader.fence()
    assert "could not be renewed" in await ends(leader)
    assert server.writes == ["one"]


async def test_a_process_stopped_while_acquiring_does_not_believe_it_leads(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    clock = Clock()

    def stop_once(request: object) -> int:
        if getattr(request, "method", "") == "POST" and not clock.jumped:
            clock.jumped = 3600
        return 0

    server.faults += [stop_once] * 2
    elector = await candidates.enter("one", clock=clock)
    async with asyncio.timeout(PATIENCE):
        await elector.acquire()
    assert elector.leading
    assert server.writes == ["one", "one"]  # the first was too old to rely on


async def test_a_clean_stop_hands_over_in_well_under_the_lease(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    slow = Timings(lease=30, renew_deadline=20, retry=0.1)
    leader, standby = await candidates.enter("one", slow), await candidates.enter("two", slow)
    await leader.acquire()
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(0.2)
    await leader.release()
    with pytest.raises(FenceLost):
        leader.fence()
    async with asyncio.timeout(slow.lease / 2):
        await waiting
    assert standby.leading
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 1


async def test_a_release_that_a_renewal_overtook_is_written_all_the_same(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.touch()
    await leader.release()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""


async def test_a_release_never_takes_the_lease_from_another(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.steal("two")
    await leader.release()
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "two"


async def test_a_holder_edited_away_ends_the_leader_before_another_leads(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader, standby = await candidates.enter("one"), await candidates.enter("two")
    await leader.acquire()
    waiting = asyncio.create_task(standby.acquire())
    await asyncio.sleep(2 * FAST.retry)
    server.steal("")
    assert "taken by nobody" in await ends(leader)
    assert not standby.leading
    async with asyncio.timeout(PATIENCE):
        await waiting
    assert standby.leading


async def test_a_release_that_fails_or_hangs_does_not_hold_up_the_end(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    leader = await candidates.enter("one")
    await leader.acquire()
    server.hang = asyncio.Event()
    async with asyncio.timeout(4):  # the client would wait for 5 s
        await leader.release()
    assert not leader.leading


async def test_a_silent_holder_is_replaced_after_its_lease_and_not_before(
    server: FakeLeaseServer, candidates: Candidates
) -> None:
    server.store({"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2099-01-01T00:00:00Z"})
    elector = await candidates.enter("one")
    started = boot_clock()
    async with asyncio.timeout(PATIENCE):
        await elector.acquire()
    assert boot_clock() - started >= FAST.lease
