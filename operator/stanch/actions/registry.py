"""Every action there is, by the step member that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.actions.collect_evidence import CollectEvidence
from stanch.actions.isolate import Isolate
from stanch.actions.quarantine import Quarantine
from stanch.actions.revoke_service_account import RevokeServiceAccount
from stanch.actions.rollback import Rollback
from stanch.actions.scale_to_zero import ScaleToZero
from stanch.actions.suspend import Suspend

if TYPE_CHECKING:
    from stanch.actions.protocol import Action

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        CollectEvidence(),
        Isolate(),
        Quarantine(),
        RevokeServiceAccount(),
        Rollback(),
        ScaleToZero(),
        Suspend(),
    )
}
