"""Signals, speakers and policies as a test needs them, and the hostile text that any of them may carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from stanch.kube.resources import CONTAINMENTPOLICIES, ObjectRef
from stanch.settings import Settings
from stanch.signals.intake.grading import Armed, armed
from stanch.signals.model import Signal, Speaker, TriggerRef
from tests.unit.policies import made

Json = dict[str, Any]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=17)
ANYBODY = Speaker("alertmanager", None)
CHAT_ONLY = Speaker("chat-team", frozenset({"chat"}))
SETTINGS = Settings(namespace="stanch-system", identity="test")

HOSTILE = st.one_of(
    st.sampled_from(
        [
            '"} or vector(1) #',
            "a\nkind: Secret\n---\n",
            "{{ .Values }}",
            "../../namespaces/kube-system/secrets",
            "\u202eevil\u2066",
            "\ud800",
            "\x1b[2J\x00",
            "ﬃ" * 300,
            "x" * 70_000,
            "kube-system",
        ]
    ),
    st.text(st.characters(), max_size=400),
)
"""Quotes, newlines, terminal codes, lone surrogates, more than fits anywhere."""


def signal(name: str = "ToxicOutput", *, firing: bool = True, **more: Any) -> Signal:
    """About Deployment chat/llm; `labels` replace those."""
    labels = more.pop("labels", {"namespace": "chat", "deployment": "llm"})
    fields: Json = {"fingerprint": "f1", "starts_at": SINCE, **more}
    return Signal(name=name, firing=firing, labels={"alertname": name, **labels}, **fields)


def trigger(name: str = "toxic", *matchers: str, **more: Any) -> Json:
    alert = {"matchers": list(matchers) or ['alertname="ToxicOutput"']}
    for key in ("silenced",):
        if key in more:
            alert[key] = more.pop(key)
    return {"name": name, "category": "OutputPolicyViolation", "severity": "Critical", "alert": alert, **more}


def query(name: str = "drift", **more: Any) -> Json:
    asked = {"query": "drift", "operator": "gt", "value": "0.2"}
    return {"name": name, "category": "Drift", "severity": "Medium", "prometheus": asked, **more}


def policy_body(name: str = "chat", *triggers: Json, **spec: Any) -> Json:
    """A ContainmentPolicy as the API server has it."""
    return made.own(name, triggers=list(triggers) or [trigger()], **spec).wire()


def cluster_policy_body(name: str = "all", *triggers: Json, **spec: Any) -> Json:
    return made.cluster(name, triggers=list(triggers) or [trigger()], **spec).wire()


def armed_by(*triggers: Json, **spec: Any) -> list[Armed]:
    """Those of one policy of namespace chat."""
    ready, problems = armed([made.own(triggers=list(triggers), **spec)])
    assert not problems
    return ready


def ref(name: str = "toxic", policy: str = "chat") -> TriggerRef:
    return TriggerRef(ObjectRef(CONTAINMENTPOLICIES, "chat", policy), name)
