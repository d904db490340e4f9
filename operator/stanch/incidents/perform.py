"""Carrying out what was decided, one act at a time; what the server answers becomes the new facts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from stanch.actions.objects import Obj
from stanch.api.v1alpha1.incident import FINALIZER, AIIncident
from stanch.errors import Conflict, Forbidden, Rejected, Retry, StanchError
from stanch.incidents.acts import (
    Act,
    AddFinalizer,
    Create,
    Delete,
    DropHold,
    EndPods,
    EnsureHold,
    GiveBackHold,
    Measure,
    Patch,
    RemoveFinalizer,
    RunErrand,
    TryOut,
)
from stanch.incidents.facts import Facts, Preflight
from stanch.incidents.preflight import try_out
from stanch.kube.resources import AIINCIDENTS, PODS, ObjectRef
from stanch.queue import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stanch.actions.protocol import Observation, Tools
    from stanch.holds.keeper import HoldKeeper
    from stanch.kube.client import Json, Kube

log = structlog.get_logger(__name__)

_ASK_AGAIN_SECONDS = 1.0


class Performer:
    """`moved` says that what was read may be so no more: what comes next needs a fresh look."""

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        kube: Kube,
        keeper: HoldKeeper,
        facts: Facts,
        body: Json,
        *,
        doubt: Callable[[str], bool],
        tools: Tools,
    ) -> None:
        self.kube = kube
        self.keeper = keeper
        self.facts = facts
        self.body = body
        self.doubt = doubt
        self.tools = tools
        self.moved = False

    async def perform_all(self, acts: Sequence[Act]) -> None:
        """In order; errands last, and all at once, so that no target waits for the time of another's.

        A pod that cannot be ended keeps nothing else from being done: what stops the workload comes after it.
        """
        unended: StanchError | None = None
        for act in acts:
            if isinstance(act, EndPods):
                unended = await self._end_pods(act) or unended
            elif isinstance(act, Measure):
                self._measure(act)
            elif not isinstance(act, RunErrand):
                await self._perform(act)
        errands = [act for act in acts if isinstance(act, RunErrand)]
        answers = await asyncio.gather(
            *(act.errand.run(self.tools) for act in errands), return_exceptions=True
        )
        for act, answer in zip(errands, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            self.facts = replace(self.facts, errands={**self.facts.errands, act.step_id: answer})
        if unended is not None:
            raise unended

    async def _perform(self, act: Act) -> None:
        match act:
            case AddFinalizer():
                await self._finalizers([*self._finalizers_now(), FINALIZER])
            case RemoveFinalizer():
                await self._finalizers([name for name in self._finalizers_now() if name != FINALIZER])
            case TryOut():
                await self._try_out(act)
            case EnsureHold():
                standing = await self.keeper.ensure(self._namespace, act.entries)
                self.facts = replace(self.facts, holding=standing.holding, held=standing.held)
                # What was read before our hold stood may have been given back by another since.
                self.moved = True
            case GiveBackHold():
                held = await self.keeper.give_back(self._namespace, self.facts.name, act.ghosts, act.kept)
                self.facts = replace(self.facts, held=held)
            case DropHold():
                standing = await self.keeper.drop(self._namespace, self.facts.name)
                self.facts = replace(self.facts, holding=standing.holding, held=standing.held)
            case Patch():
                await self._patch(act)
            case Create():
                await self._create(act)
            case Delete():
                await self._delete(act)

    def _measure(self, act: Measure) -> None:
        """Begun, not waited for: however long Prometheus takes, what is contained is looked after."""
        self.tools.measurer.begin(Key(self._namespace, self.facts.name), act.subject, act.checks)
        names = frozenset(check.name for check in act.checks)
        self.facts = replace(self.facts, measuring=self.facts.measuring | names)

    @property
    def _namespace(self) -> str:
        return self.facts.incident.metadata.namespace

    def _finalizers_now(self) -> tuple[str, ...]:
        return self.facts.incident.metadata.finalizers

    async def _finalizers(self, names: list[str]) -> None:
        ref = ObjectRef(AIINCIDENTS, self._namespace, self.facts.name)
        op = {"op": "add", "path": "/metadata/finalizers", "value": names}
        self.body = await self.kube.json_patch(
            ref, [op], resource_version=self.facts.incident.metadata.resource_version
        )
        self.facts = replace(self.facts, incident=AIIncident.parse(self.body))

    async def _try_out(self, act: TryOut) -> None:
        """Dry-run the change, then its undo. What the server makes of the change is what the undo expects."""
        try:
            preflight = await try_out(self.kube, act, self._namespace)
        except Conflict as error:
            if error.reason != "AlreadyExists":
                raise
            preflight = Preflight(None, f"{error.message}; it is not Stanch's; nothing was changed")
        except Rejected as error:
            if isinstance(error, Forbidden) and self.doubt(error.message):
                # An API server that is just starting may refuse what it grants a moment later.
                raise Retry("ForbiddenAtFirst", error.message, _ASK_AGAIN_SECONDS) from error
            preflight = Preflight(
                None,
                f"the API server would refuse the change or its undo; nothing was changed: {error.message}",
            )
        tried = {**self.facts.preflights, (act.step_id, act.intent.id): preflight}
        self.facts = replace(self.facts, preflights=tried)

    async def _patch(self, act: Patch) -> None:
        body = await self.kube.json_patch(
            act.obj.ref, act.ops, resource_version=act.obj.meta.resource_version
        )
        # Values may be credentials: where they are is enough.
        log.info("changed", object=str(act.obj.ref), fields=sorted({op["path"] for op in act.ops}))
        self._see(lambda seen: _with(seen, Obj(act.obj.resource, body)))

    async def _create(self, act: Create) -> None:
        body = await self.kube.create(act.ref.resource, act.ref.namespace, act.manifest)
        made = Obj(act.ref.resource, body)
        log.info("created", object=str(act.ref))
        self._see(lambda seen: replace(seen, related=(*seen.related, made)))

    async def _delete(self, act: Delete) -> None:
        meta = act.obj.meta
        await self.kube.delete(act.obj.ref, uid=meta.uid, resource_version=meta.resource_version)
        log.info("deleted", object=str(act.obj.ref))
        self._see(lambda seen: _without(seen, act.obj))

    def _see(self, change: Callable[[Observation], Observation]) -> None:
        self.facts = replace(
            self.facts,
            observations={step: change(seen) for step, seen in self.facts.observations.items()},
        )

    async def _end_pods(self, act: EndPods) -> StanchError | None:
        """All at once: what is ended first is not replaced for long. Returns why one could not be ended."""
        answers = await asyncio.gather(
            *(
                self.kube.delete(
                    ObjectRef(PODS, self._namespace, pod.name),
                    uid=pod.uid,
                    grace_period_seconds=pod.grace_period_seconds,
                )
                for pod in act.doomed
            ),
            return_exceptions=True,
        )
        log.info("pods told to end", pods=[pod.name for pod in act.doomed])
        self.moved = True
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, StanchError):
                raise failure
        return next((failure for failure in failures if isinstance(failure, StanchError)), None)


def _with(seen: Observation, obj: Obj) -> Observation:
    """The observation with the newer version of one of its objects."""
    uid = obj.meta.uid
    if seen.target is not None and seen.target.meta.uid == uid:
        return replace(seen, target=obj)
    return replace(seen, related=tuple(obj if other.meta.uid == uid else other for other in seen.related))


def _without(seen: Observation, gone: Obj) -> Observation:
    uid = gone.meta.uid
    return replace(
        seen,
        target=None if seen.target is not None and seen.target.meta.uid == uid else seen.target,
        related=tuple(other for other in seen.related if other.meta.uid != uid),
    )
