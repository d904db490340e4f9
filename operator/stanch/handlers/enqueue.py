from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stanch.kube.resources import ObjectRef, Resource
    from stanch.queue import Key


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Where events go. Called in Kopf's thread: all must be thread-safe and return at once."""

    incident: Callable[[Key], None]
    workload: Callable[[Resource, str, str], None]
    policy: Callable[[ObjectRef], None]
