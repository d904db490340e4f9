"""The name of a plan: what is approved is this plan and no other."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.api.v1alpha1.plan import PlannedStep
    from stanch.api.v1alpha1.steps import Step

_LENGTH = 16
_COUNT = re.compile(r"\breplicas \w+ →")
"""An autoscaler moves the count while a person reads: that three or four replicas go is the same plan."""


def plan_hash(steps: Sequence[PlannedStep], policy: Sequence[Step] = ()) -> str:
    """Hex of the SHA-256 over the plan's canonical JSON, shortened to 64 bits.

    `policy`: the steps it was made from, when they are a policy's. Unlike an incident's own they may change.
    """
    whole = [step.wire() for step in (*steps, *policy)]
    canonical = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    canonical = _COUNT.sub("replicas →", canonical)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_LENGTH]
