"""What is known of triggers until the status of their policies tells it: a cache, made anew at start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from stanch.api.v1alpha1.policy import TriggerState
    from stanch.kube.resources import ObjectRef
    from stanch.signals.model import TriggerRef


@dataclass(frozen=True, slots=True)
class News:
    """What is known of one trigger. None: nothing yet, so that what the status says stands."""

    state: TriggerState | None = None
    message: str = ""
    last_signal_at: datetime | None = None
    last_signal: str = ""


@dataclass(slots=True)
class Board:
    """`changed` is told which policy's status has something new to say."""

    changed: Callable[[ObjectRef], None]
    _news: dict[TriggerRef, News] = field(default_factory=dict)

    def stands(self, trigger: TriggerRef, state: TriggerState, message: str = "") -> None:
        self._set(trigger, replace(self._of(trigger), state=state, message=message))

    def signalled(self, trigger: TriggerRef, at: datetime, what: str) -> None:
        self._set(trigger, replace(self._of(trigger), last_signal_at=at, last_signal=what))

    def of(self, policy: ObjectRef) -> Mapping[str, News]:
        """By the trigger's name."""
        return {trigger.name: news for trigger, news in self._news.items() if trigger.policy == policy}

    def forget(self, policy: ObjectRef) -> None:
        for trigger in [one for one in self._news if one.policy == policy]:
            del self._news[trigger]

    def _of(self, trigger: TriggerRef) -> News:
        return self._news.get(trigger, News())

    def _set(self, trigger: TriggerRef, news: News) -> None:
        if self._of(trigger) != news:
            self._news[trigger] = news
            self.changed(trigger.policy)
