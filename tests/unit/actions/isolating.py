"""One workload to isolate, what is asked, and what stands once that is planned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stanch.actions.isolate import Isolate
from stanch.actions.protocol import Ask, Judgement, Make, Refusal
from stanch.api.v1alpha1.hold import HELD_LABEL
from stanch.api.v1alpha1.incident import Target, TargetKind
from stanch.api.v1alpha1.steps import Isolate as Step
from tests.unit.actions.cluster_objects import ask as asked
from tests.unit.actions.isolated import NOW, pod_body, policy, reach, workload

if TYPE_CHECKING:
    from stanch.actions.isolation_seen import Reach
    from stanch.actions.objects import Obj

Json = dict[str, Any]
ISOLATE = Isolate()
LABELS = {"app": "llm"}
LLM = workload("llm", {"matchLabels": LABELS}, LABELS)
HELD = {HELD_LABEL: "true"}
IN = {"policyTypes": ["Ingress"], "ingress": [{}]}
RUNNING = pod_body("llm-1", LABELS, "uid-rs")


def ask(kind: str = "Deployment", name: str = "llm", **more: Any) -> Ask:
    step = Step.model_validate({key: more.pop(key) for key in list(more) if key in Step.model_fields})
    api = "batch/v1" if kind in {"Job", "CronJob"} else "apps/v1"
    uid = more.pop("uid", "uid-toxic")
    return replace(asked(Target(api_version=api, kind=TargetKind(kind), name=name), step, **more), uid=uid)


def planned(seen: Reach, what: Ask) -> tuple[Any, ...]:
    intents = ISOLATE.plan(seen, what)
    assert not isinstance(intents, Refusal), intents
    return intents


def ours(seen: Reach, what: Ask) -> Obj:
    """Our own policy as it stands once it is made."""
    make = planned(seen, what)[0]
    assert isinstance(make, Make)
    name = make.ref.name
    return policy(
        name, make.manifest["spec"], labels=HELD, annotations=make.manifest["metadata"]["annotations"],
        creationTimestamp=NOW.isoformat(), resourceVersion="9",
    )  # fmt: skip


def judged(*others: Obj, bodies: tuple[Json, ...] = (RUNNING,), **more: Any) -> Judgement:
    """With our own policy in place, beside others."""
    seen_more = {key: more.pop(key) for key in ("enforcers", "tiers", "labels") if key in more}
    target = more.pop("target", LLM)
    what = ask(**more)
    seen = reach(target, *others, bodies=bodies, **seen_more)
    own = ours(seen, what)
    return ISOLATE.judge(reach(target, *others, own, bodies=bodies, **seen_more), what)
