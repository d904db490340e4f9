"""The leader of two operators fails while incidents come: another goes on, and never do two write.

Both are whole operators under their own account, each reaches the API server through a proxy of its own, and
the audit log, in which the user agent names the process, is the witness.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cluster import kubectl_of
from tests.integration.audit_trail import POLICY, AuditTrail
from tests.integration.ha_ground import (
    LEASE_SECONDS,
    PATIENT,
    RENEW_SECONDS,
    RETRY_SECONDS,
    SLACK_SECONDS,
    Ground,
    Load,
    failover,
    had,
    now,
)
from tests.operator_process import Space, eventually, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import OwnSandbox
    from tests.integration.ha_ground import Pair, Replica

pytestmark = pytest.mark.long

WITHIN = 60.0  # seconds
SILENT = LEASE_SECONDS + RETRY_SECONDS + SLACK_SECONDS
"""The most until another works when the leader falls silent: it waits for the whole lease."""
RELEASED = RETRY_SECONDS + SLACK_SECONDS
"""The same when the lease is given back, after what was under way is finished."""


@pytest.fixture(scope="module")
def ground(own_sandbox: OwnSandbox, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    home = tmp_path_factory.mktemp("ha")
    policy = home / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    sandbox = own_sandbox(apiserver_flags=[f"--audit-policy-file={policy}"])
    kubectl = kubectl_of(sandbox, home)
    install(kubectl)
    return Ground(sandbox, kubectl, AuditTrail(sandbox.audit_log), home)


@pytest.fixture
def load(ground: Ground) -> Iterator[Load]:
    space = Space(f"chat-{secrets.token_hex(4)}", ground.kubectl, ground.sandbox)
    ground.kubectl("create", "namespace", space.name, check=True)
    load = Load(space, 12)
    load.serve()
    yield load
    ground.kubectl("-n", space.name, "delete", "aii", "--all", "--wait=false")
    ground.kubectl("delete", "namespace", space.name, "--wait=false", check=True)


def told(what: str, found: object) -> None:
    print(f"\n{what}: {found}")  # noqa: T201 - pytest -s shows it; docs/how-to/high-availability.md has it


def dies(leader: Replica) -> None:
    leader.process.kill()


def is_cut_off(leader: Replica) -> None:
    """Every packet is lost: it hears nothing, not even that it is not heard."""
    leader.proxy.swallow()


def is_refused(leader: Replica) -> None:
    leader.proxy.refuse()


def is_told_to_stop(leader: Replica) -> None:
    leader.process.stop()


def goes_on(ground: Ground, load: Load, old: Replica, new: Replica) -> None:
    """Whatever was under way ends as if nothing had happened: no step is lost, none is done twice."""
    eventually(lambda: ground.holder() == new.identity, "the other leads", WITHIN, new.process.tail)
    load.contained()
    had(1, ground, load, old)
    load.given_back()
    had(2, ground, load, old)
    assert not old.process.running or ground.holder() == new.identity


@pytest.mark.parametrize(
    ("fault", "most"),
    [
        (dies, SILENT),
        (is_told_to_stop, RELEASED),
        (is_cut_off, SILENT),
        (is_refused, SILENT),
    ],
)
def test_the_other_goes_on_when_the_leader(
    ground: Ground, load: Load, fault: Callable[[Replica], None], most: float
) -> None:
    with ground.pair() as pair:
        load.begin()
        began = now()
        fault(pair.leader)
        if pair.leader.process.running:  # cut off, it ends before its lease does
            assert pair.leader.process.ends(RENEW_SECONDS + SLACK_SECONDS) == 1
            assert "leadership lost" in pair.leader.process.tail()
            assert ground.trail.accepted_of(pair.standby.identity) == []
        goes_on(ground, load, pair.leader, pair.standby)
        found = failover(ground, began, pair.leader, pair.standby)
        told(fault.__name__, found)
        assert found.worked < most


def test_a_leader_that_was_stopped_for_longer_than_its_lease_writes_nothing_when_it_wakes(
    ground: Ground, load: Load
) -> None:
    with ground.pair() as pair:
        load.begin()
        began = now()
        pair.leader.process.pause()
        eventually(
            lambda: any(not each.of_the_lease for each in ground.trail.accepted_of(pair.standby.identity)),
            "the other works",
            WITHIN,
            pair.standby.process.tail,
        )
        pair.leader.process.resume()
        assert pair.leader.process.ends() == 1
        assert "leadership lost" in pair.leader.process.tail()
        goes_on(ground, load, pair.leader, pair.standby)
        found = failover(ground, began, pair.leader, pair.standby)
        told("stopped", found)
        assert found.worked < SILENT


class Clock:
    """The clocks of one process, which libfaketime sets as a file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    def jump(self, seconds: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+}s\n")
        fresh.rename(self._file)

    def environment(self, *, wall_only: bool) -> dict[str, str]:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": str(int(wall_only)),
        }


clocks = pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
    reason="the Debian package faketime is not installed: make clocks",
)


@clocks
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_leader_whose_wall_clock_jumps_leads_on(
    ground: Ground, load: Load, tmp_path: Path, seconds: int
) -> None:
    clock = Clock(tmp_path / "clock")
    with ground.pair(clock.environment(wall_only=True), PATIENT) as pair:
        load.begin()
        clock.jump(seconds)
        load.contained()
        load.given_back()
        had(2, ground, load)
        assert ground.holder() == pair.leader.identity, pair.leader.process.tail()
        assert ground.trail.accepted_of(pair.standby.identity) == []


@clocks
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_leader_that_cannot_know_how_much_time_has_passed_writes_no_more(
    ground: Ground, load: Load, tmp_path: Path, seconds: int
) -> None:
    """Its monotonic clocks jump too, as when a machine is suspended, or set back to a snapshot."""
    clock = Clock(tmp_path / "clock")
    with ground.pair(clock.environment(wall_only=False)) as pair:
        load.begin()
        began = now()
        clock.jump(seconds)
        goes_on(ground, load, pair.leader, pair.standby)
        found = failover(ground, began, pair.leader, pair.standby)
        told(f"all clocks jump by {seconds} s", found)
        assert found.worked < SILENT


@pytest.mark.parametrize("holder", ["thief", ""])
def test_a_holder_that_somebody_edits_in_or_out_ends_the_leader_and_the_other_waits_its_time(
    ground: Ground, load: Load, holder: str
) -> None:
    with ground.pair() as pair:
        load.begin()
        began = now()
        ground.lease("patch", "--type=merge", "-p", f'{{"spec":{{"holderIdentity":"{holder}"}}}}')
        _ended_by_hand(ground, pair)
        goes_on(ground, load, pair.leader, pair.standby)
        found = failover(ground, began, pair.leader, pair.standby)
        told(f"holder edited to {holder!r}", found)
        assert found.led > LEASE_SECONDS - RETRY_SECONDS
        assert found.worked < SILENT


def test_a_deleted_lease_ends_the_leader_and_of_two_that_want_it_then_one_leads(
    ground: Ground, load: Load
) -> None:
    with ground.pair() as pair, ground.operator() as third:
        load.begin()
        began = now()
        ground.lease("delete")
        _ended_by_hand(ground, pair)
        eventually(
            lambda: (
                ground.trail.accepted_of(pair.standby.identity) != []
                or ground.trail.accepted_of(third.identity) != []
            ),
            "somebody leads",
            WITHIN,
        )
        new, other = pair.standby, third
        if ground.trail.accepted_of(third.identity):
            new, other = other, new
        goes_on(ground, load, pair.leader, new)
        told("lease deleted", failover(ground, began, pair.leader, new))
        assert ground.trail.accepted_of(other.identity) == []


def _ended_by_hand(ground: Ground, pair: Pair) -> None:
    """It notices at its next renewal, long before anybody else may lead."""
    assert pair.leader.process.ends(RENEW_SECONDS) == 1
    assert "leadership lost" in pair.leader.process.tail()
    assert ground.trail.accepted_of(pair.standby.identity) == []
