"""What an incident of a signal is called, and the labels that it is found by. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from stanch.signals.intake.wording import in_utc

if TYPE_CHECKING:
    from datetime import datetime

    from stanch.policies.match import Policy, Workload

TARGET_LABEL = "stanch.dev/target"
POLICY_LABEL = "stanch.dev/policy"
TRIGGER_LABEL = "stanch.dev/trigger"

_NAME_DIGITS, _LABEL_DIGITS = 10, 16


def incident_name(
    trigger: str, policy_uid: str, workload: Workload, fingerprint: str, starts_at: datetime
) -> str:
    """The same for every report of one firing, so that the API server itself refuses a second incident of it.

    `trigger` is a DNS label of at most 63 characters; the name is one of at most 74.
    """
    firing = [policy_uid, workload.kind, workload.name, fingerprint, in_utc(starts_at).isoformat()]
    return f"{trigger}-{_digest(firing, _NAME_DIGITS)}"


def incident_labels(trigger: str, policy: Policy, workload: Workload) -> dict[str, str]:
    return {**pair_labels(policy, workload), TRIGGER_LABEL: trigger}


def pair_labels(policy: Policy, workload: Workload) -> dict[str, str]:
    """What all incidents of one workload by one policy share. Names are too long for labels."""
    return {
        TARGET_LABEL: _digest([workload.kind, workload.name], _LABEL_DIGITS),
        POLICY_LABEL: _digest([policy.kind, policy.metadata.name], _LABEL_DIGITS),
    }


def short(fingerprint: str, most: int) -> str:
    """The fingerprint, or a digest of it where there is no room for the whole."""
    plain = fingerprint.isascii() and fingerprint.isprintable() and 0 < len(fingerprint) <= most
    return fingerprint if plain else _digest([fingerprint], _LABEL_DIGITS)


def _digest(parts: list[str], digits: int) -> str:
    """Of the list as JSON, in which no two lists read the same."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:digits]
