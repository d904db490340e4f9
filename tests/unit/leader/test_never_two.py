"""Whatever the network, the scheduler and people with kubectl do: never do two processes believe they lead.

Not the shell but its protocol over the pure decisions: look, write on what was seen, count the lease from
before the write. Between any two of these steps any time may pass, any message may be late or lost, and each
process has a clock of its own that runs up to a tenth too fast or too slow, from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stanch.leader.decision import (
    RELEASED_SECONDS,
    Acquire,
    Candidate,
    LeaseRecord,
    Lost,
    Renew,
    Timings,
    Wait,
    decide,
)

TIMINGS = Timings(lease=15, renew_deadline=10, retry=2)
NAMES = ("one", "two")
DRIFT = 0.1
WHO = st.sampled_from(NAMES)


@dataclass
class Process:
    """`asked`: a write on its way, the version it was decided on and when it was begun by our clock;
    `written`: the version that the server made of it.
    """

    candidate: Candidate
    rate: float
    offset: float
    version: int | None = None
    record: LeaseRecord | None = None
    changed: float | None = None
    asked: tuple[int | None, float] | None = None
    written: int | None = None
    ended: bool = False

    def now(self, time: float) -> float:
        return self.offset + self.rate * time

    def note(self, version: int | None, record: LeaseRecord | None, now: float) -> None:
        never = record is None and self.changed is None
        if not never and (version, record) != (self.version, self.record):
            self.changed = now
        self.version, self.record = version, record

    def leads(self, time: float) -> bool:
        return not self.ended and self.candidate.remaining(self.now(time)) > 0


class Election(RuleBasedStateMachine):
    """One Lease, of which the server takes a write only on the version that the writer saw."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.version = 0
        self.record: LeaseRecord | None = None
        self.deleted = False
        self.processes: dict[str, Process] = {}

    @initialize(
        clocks=st.lists(
            st.tuples(st.floats(1 - DRIFT, 1 + DRIFT), st.floats(-1e6, 1e6)), min_size=2, max_size=2
        )
    )
    def begin(self, clocks: list[tuple[float, float]]) -> None:
        """All have looked at a Lease that somebody had once: see `test_decision` for the very first."""
        self._store("long gone", 15)
        for name, (rate, offset) in zip(NAMES, clocks, strict=True):
            self.processes[name] = Process(Candidate(name, TIMINGS), rate, offset)
            self._look(self.processes[name])

    @rule(seconds=st.one_of(st.floats(0, 3), st.sampled_from([5.0, 9.0, 14.0, 20.0])))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(who=WHO)
    def all_goes_well(self, who: str) -> None:
        self.looks_and_decides(who)
        self.the_write_arrives(who, answered=True)
        self.the_answer_arrives(who)

    @rule(who=WHO)
    def looks_and_decides(self, who: str) -> None:
        process = self.processes[who]
        if process.ended or process.asked is not None:
            return
        began = process.now(self.time)
        self._look(process)
        match decide(process.record, process.changed, began, process.candidate):
            case Acquire() | Renew():
                process.asked = self._seen(process), began
            case Lost():
                process.ended = True
            case Wait():
                pass

    @rule(who=WHO)
    def renews_on_what_it_saw(self, who: str) -> None:
        """As a leader does, without a look."""
        process = self.processes[who]
        if process.leads(self.time) and process.asked is None:
            process.asked = self._seen(process), process.now(self.time)

    @rule(who=WHO, answered=st.booleans())
    def the_write_arrives(self, who: str, *, answered: bool) -> None:
        process = self.processes[who]
        if process.asked is None or process.written is not None:
            return
        version, _ = process.asked
        current = None if self.record is None else self.version
        if version != current:
            process.asked = None  # a conflict, or one that nobody hears of
            return
        self._store(who, 15)
        process.written = self.version if answered else None
        process.asked = process.asked if answered else None

    @rule(who=WHO)
    def the_answer_arrives(self, who: str) -> None:
        process = self.processes[who]
        if process.written is None or process.asked is None:
            return
        now, (_, began), version = process.now(self.time), process.asked, process.written
        process.asked = process.written = None
        if process.ended:
            return
        process.note(version, LeaseRecord(holderIdentity=who, leaseDurationSeconds=15), now)
        if now - began < TIMINGS.renew_deadline and (
            process.candidate.last_renewal is None or process.leads(self.time)
        ):
            process.candidate = replace(process.candidate, last_renewal=began)

    @rule(who=WHO)
    def is_started_anew(self, who: str) -> None:
        """As the kubelet does: another process, which knows nothing; it looks before anything else."""
        old = self.processes[who]
        if old.ended and self.record is not None:
            process = Process(Candidate(who, TIMINGS), old.rate, old.offset)
            self._look(process)
            self.processes[who] = process

    @rule(who=WHO)
    def releases(self, who: str) -> None:
        process = self.processes[who]
        if process.leads(self.time) and process.asked is None:
            process.ended = True
            if self.record is not None and process.version == self.version:
                self._store("", RELEASED_SECONDS)

    @precondition(lambda self: self.record is not None)
    @rule(holder=st.sampled_from(["", "thief", *NAMES]))
    def somebody_edits_the_holder(self, holder: str) -> None:
        assert self.record is not None
        if holder not in NAMES:
            self._store(holder, 15)

    @precondition(lambda self: self.record is not None and not self.deleted)
    @rule()
    def somebody_deletes_the_lease(self) -> None:
        """Once: deleted, taken and deleted again between two looks, it seems to have been away throughout."""
        self.deleted = True
        self.version += 1
        self.record = None

    @invariant()
    def never_two(self) -> None:
        leading = [name for name, process in self.processes.items() if process.leads(self.time)]
        assert len(leading) <= 1, leading

    def _store(self, holder: str, duration: int) -> None:
        self.version += 1
        self.record = LeaseRecord(holderIdentity=holder, leaseDurationSeconds=duration)

    def _look(self, process: Process) -> None:
        version = None if self.record is None else self.version
        process.note(version, self.record, process.now(self.time))

    def _seen(self, process: Process) -> int | None:
        return None if process.record is None else process.version


Election.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestElection = Election.TestCase
