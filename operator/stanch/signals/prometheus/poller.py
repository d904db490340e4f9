"""Prometheus, asked round by round about the triggers of all policies.

A round is one look at the policies, one set of queries under one deadline, and what follows from the answers.
All that it remembers is in memory: after a restart, `for` begins again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

import structlog
from pydantic import ValidationError

from stanch.actions.objects import Meta
from stanch.api.v1alpha1.policy import TriggerState
from stanch.errors import StanchError
from stanch.kube.resources import CLUSTERCONTAINMENTPOLICIES, CONTAINMENTPOLICIES
from stanch.policies.choose import parse, ref_of
from stanch.policies.match import serves
from stanch.prometheus.matchers import problem
from stanch.prometheus.samples import QueryFailed, Reason, timed_out
from stanch.signals.model import Speaker
from stanch.signals.prometheus import alerts, triggers
from stanch.signals.prometheus.declared import NAME, absent, alerts_heard, heard, questions, triggers_of
from stanch.signals.prometheus.outbox import Outbox
from stanch.signals.prometheus.triggers import Moment, Rule, Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from stanch.api.v1alpha1.policy import PrometheusTrigger
    from stanch.kube.client import Kube
    from stanch.kube.resources import ObjectRef
    from stanch.policies.match import Policy
    from stanch.prometheus.samples import Samples
    from stanch.signals.board import Board
    from stanch.signals.model import Intake, Signal, TriggerRef
    from stanch.signals.prometheus.declared import Answers, Declared

log = structlog.get_logger(__name__)

_UNCONFIGURED = Standing(TriggerState.ERROR, "no Prometheus is configured: set --prometheus-url")
_RESTING = Standing(TriggerState.INACTIVE, "the policy takes on no incidents: its triggers are not evaluated")


class Asks(Protocol):
    """`PromClient`, as the poller sees it."""

    async def query(self, expression: str, *, most: int) -> Samples:
        """Raises QueryFailed."""
        ...

    def graph(self, expression: str) -> str: ...


def _now() -> Moment:
    return Moment(datetime.now(UTC), time.monotonic())


class _Remembered(NamedTuple):
    """What a rule has come to; another rule under the same name starts from nothing."""

    uid: str
    spec: PrometheusTrigger
    watch: triggers.Watch


@dataclass(slots=True)
class Poller:
    kube: Kube
    intake: Intake
    board: Board
    client: Asks | None
    """None: no Prometheus is configured, which is what triggers with a query then say."""
    every: float
    """Seconds from the beginning of one round to that of the next."""
    within: float
    """Seconds until the queries of a round that have no answer are given up."""
    now: Callable[[], Moment] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _remembered: dict[TriggerRef, _Remembered] = field(default_factory=dict)
    _begun: alerts.Begun = field(default_factory=dict)
    _outbox: Outbox = field(default_factory=Outbox)
    _known: frozenset[ObjectRef] = frozenset()
    _unreadable: frozenset[ObjectRef] = frozenset()
    _late: frozenset[str] = frozenset()
    """Queries without an answer in the last round: they are asked last, so that they keep up no others."""

    async def run(self) -> NoReturn:
        """Round after round, until it is cancelled."""
        while True:
            began = self.now().seconds
            await self.round()
            await self.sleep(max(0.0, began + self.every - self.now().seconds))

    async def round(self) -> None:
        """One round. What cannot be read or handed in now is left to the next."""
        try:
            policies = await self._policies()
        except StanchError as error:
            log.warning(
                "policies cannot be listed: no trigger is evaluated in this round",
                reason=error.reason,
                message=error.message,
            )
            return
        declared = [
            one
            for ref, policy in policies.items()
            for one in triggers_of(ref, policy)
            if self._takes_part(policy, one)
        ]
        if self.client is not None:
            now = self.now()
            answers = await self._ask(self.client, questions(declared))
            self._evaluate_queries(self.client, declared, answers, now)
            self._evaluate_alerts(declared, answers, now)
        await self._hand_in()

    async def _policies(self) -> dict[ObjectRef, Policy]:
        """Raises StanchError."""
        readable: dict[ObjectRef, Policy] = {}
        unreadable: set[ObjectRef] = set()
        for resource in (CONTAINMENTPOLICIES, CLUSTERCONTAINMENTPOLICIES):
            for body in await self.kube.list(resource):
                meta = Meta.model_validate(body["metadata"])
                ref = ref_of(resource.kind, meta.namespace or "", meta.name)
                try:
                    readable[ref] = parse(body)
                except ValidationError:
                    unreadable.add(ref)
        for new in sorted(map(str, unreadable - self._unreadable)):
            log.warning(
                "a policy has something in it that this version does not know: its triggers are not "
                "evaluated; upgrade the operator",
                policy=new,
            )
        known = frozenset({*readable, *unreadable})
        for gone in self._known - known:
            self.board.forget(gone)
        self._known, self._unreadable = known, frozenset(unreadable)
        return readable

    def _takes_part(self, policy: Policy, one: Declared) -> bool:
        """Whether it is evaluated; what is not is told why."""
        if self.client is None:
            if one.trigger.prometheus is not None:
                self._tell(one.ref, _UNCONFIGURED)
            return False
        if not serves(policy):
            self._tell(one.ref, _RESTING)
        return serves(policy)

    async def _ask(self, client: Asks, asked: Mapping[str, int]) -> Answers:
        """An answer to every question, late ones being none."""
        answers: dict[str, Samples | QueryFailed] = {}

        async def ask(expression: str, most: int) -> None:
            try:
                answers[expression] = await client.query(expression, most=most)
            except QueryFailed as failed:
                answers[expression] = failed

        try:
            async with asyncio.timeout(self.within), asyncio.TaskGroup() as group:
                for expression in sorted(asked, key=self._late.__contains__):
                    group.create_task(ask(expression, asked[expression]))
        except TimeoutError:
            for expression in asked:
                answers.setdefault(expression, timed_out())
        self._late = frozenset(
            expression
            for expression, answer in answers.items()
            if isinstance(answer, QueryFailed) and answer.reason is Reason.TIMEOUT
        )
        return answers

    def _evaluate_queries(
        self, client: Asks, declared: Iterable[Declared], answers: Answers, now: Moment
    ) -> None:
        before, self._remembered = self._remembered, {}
        for one in declared:
            spec = one.trigger.prometheus
            if spec is None:
                continue
            was = before.get(one.ref)
            watch = (
                was.watch if was is not None and (was.uid, was.spec) == (one.uid, spec) else triggers.NOTHING
            )
            rule = Rule(one.ref, spec, client.graph(spec.query))
            answer = heard(spec.query, one.trigger.metrics, answers)
            # So long that a round may be missed, and not two.
            evaluated = triggers.evaluate(rule, watch, answer, now, 2 * self.every + self.within)
            self._remembered[one.ref] = _Remembered(one.uid, spec, evaluated.watch)
            self._tell(one.ref, evaluated.standing)
            self._owe(one.speaker, evaluated.signals, now)

    def _evaluate_alerts(self, declared: Sequence[Declared], answers: Answers, now: Moment) -> None:
        listening = [(one, one.trigger.alert) for one in declared if one.trigger.alert is not None]
        if not listening:
            self._begun = alerts.NONE
            return
        answer = alerts_heard(answers)
        for one, alert in listening:
            wrong = problem(one.trigger)
            self._tell(
                one.ref,
                Standing(TriggerState.ERROR, wrong)
                if wrong
                else alerts.standing(alert, answer, absent(one.trigger.metrics, answers)),
            )
        changed = alerts.evaluate(self._begun, answer, now)
        self._begun = changed.begun
        self._owe(Speaker(NAME, None), changed.signals, now)

    def _tell(self, trigger: TriggerRef, standing: Standing) -> None:
        self.board.stands(trigger, standing.state, standing.message)

    def _owe(self, speaker: Speaker, signals: Iterable[Signal], now: Moment) -> None:
        dropped = self._outbox.add(speaker, signals, now.seconds)
        if dropped:
            log.error(
                "signals are dropped: the oldest, of more than can be kept until they are taken",
                number=dropped,
            )

    async def _hand_in(self) -> None:
        for speaker, signals in self._outbox.batches().items():
            try:
                await self.intake.take(signals, speaker)
            except StanchError as error:
                log.warning(
                    "signals could not be handed in: they are in the next round",
                    number=len(signals),
                    reason=error.reason,
                    message=error.message,
                )
            else:
                self._outbox.taken(speaker, self.now().seconds)
