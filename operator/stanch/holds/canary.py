"""Held is proven, not assumed: somebody not exempt tries to scale up a workload that is always held."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

import structlog

from stanch.api.v1alpha1.hold import HeldEntry, Rule, hold_key
from stanch.errors import Forbidden, Rejected, Retry
from stanch.kube.resources import DEPLOYMENTS, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.holds.keeper import HoldKeeper
    from stanch.kube.client import Kube

log = structlog.get_logger(__name__)

NAME = "stanch-canary"
_DENIAL = f"held by AIIncident {NAME}"
_SOON_SECONDS = 2.0
_TOKEN_SECONDS = 600


class Proof(StrEnum):
    """Whether admission was seen to deny what a hold forbids."""

    PROVEN = "Proven"
    MISSING = "Missing"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class HoldProof:
    verdict: Proof = Proof.UNKNOWN
    message: str = "not tried yet"


@dataclass
class Canary:
    """Keeps the newest proof. Every attempt is a dry run: nothing is ever scaled."""

    kube: Kube
    keeper: HoldKeeper
    namespace: str
    every: float
    report: Callable[[float], None]
    proof: HoldProof = field(default_factory=HoldProof)

    async def run(self, changed: Callable[[], None]) -> NoReturn:
        """At once, then `every` so many seconds; soon again as long as it is not proven."""
        while True:
            before = self.proof
            self.proof = await self._try()
            proven = self.proof.verdict is Proof.PROVEN
            self.report(float(proven))
            if before.verdict is not self.proof.verdict:
                log.info("hold", verdict=self.proof.verdict, message=self.proof.message)
                changed()
            await asyncio.sleep(self.every if proven else min(self.every, _SOON_SECONDS))

    async def _try(self) -> HoldProof:
        try:
            return await self._break_it()
        except Retry as error:
            # An API server that does not answer says nothing about the hold: what was proven stays.
            return (
                self.proof
                if self.proof.verdict is Proof.PROVEN
                else HoldProof(Proof.UNKNOWN, f"it could not be tried: {error.message}")
            )
        except Rejected as error:
            return HoldProof(Proof.UNKNOWN, f"it could not be tried: {error.message}")

    async def _break_it(self) -> HoldProof:
        ref = ObjectRef(DEPLOYMENTS, self.namespace, NAME)
        canary = await self.kube.get(ref)
        if canary is None:
            return HoldProof(Proof.UNKNOWN, f"{ref} is missing; apply manifests/default again")
        entry = HeldEntry.of(NAME, "canary", datetime.now(UTC))
        await self.keeper.ensure(self.namespace, {hold_key(Rule.STOPPED, f"{DEPLOYMENTS.key}/{NAME}"): entry})
        token = await self.kube.create_token(self.namespace, NAME, expiration_seconds=_TOKEN_SECONDS)
        stranger = await self.kube.with_token(token)
        version = canary["metadata"]["resourceVersion"]
        scale_up = [{"op": "add", "path": "/spec/replicas", "value": 1}]
        try:
            await stranger.json_patch(
                ref, scale_up, resource_version=version, subresource="scale", dry_run=True
            )
        except Forbidden as error:
            if _DENIAL in error.message:
                return HoldProof(Proof.PROVEN, "an attempt to scale up a held canary was denied")
            return HoldProof(Proof.UNKNOWN, f"the attempt was refused for another reason: {error.message}")
        finally:
            await stranger.close()
        return HoldProof(Proof.MISSING, "an attempt to scale up a held canary went through")
