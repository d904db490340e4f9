"""What Isolate tells people, in bounded length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from stanch.kube.resources import JOBS
from stanch.network.models import Direction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.actions.isolation_seen import Enforcer, Reach, Tiers
    from stanch.actions.isolation_tiers import Denial
    from stanch.actions.objects import Pod
    from stanch.network.evaluate import Allowance
    from stanch.network.isolate import Isolation
    from stanch.network.parsing import Unreadable

_SHOWN = 3
_NAMED = 8
_LONGEST = 260


def bad_input(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return f"allow cannot be put into a NetworkPolicy: {_short(str(error))}"
    first = error.errors()[0]
    return f"allow cannot be put into a NetworkPolicy: {_short(first['msg'])} ({_short(str(first['input']))})"


def no_selector(kind: str) -> str:
    return f"this {kind} has no selector, and a NetworkPolicy without one would cut off the whole namespace"


def not_selectable(kind: str) -> str:
    return (
        f"the pods of a {kind} carry no labels of their own to select them by; name the Job that runs, and "
        f"suspend the {kind}"
    )


def isolated_otherwise(whose: str) -> str:
    return (
        f"another incident isolates {whose}, which shares pods with this workload, with other holes, and "
        "NetworkPolicies add up; release that one first, or allow exactly the same"
    )


def not_understood(unreadable: Sequence[Unreadable]) -> str:
    return some([_short(error.message) for error in unreadable], _SHOWN)


def host_network(pods: Sequence[str]) -> str:
    return (
        f"{some(pods)} share their node's network, to which NetworkPolicies do not apply; "
        "scale the workload to zero instead"
    )


def still_allowed(leaks: Sequence[Allowance], refused: Sequence[tuple[str, str]]) -> str:
    """In full for the first, by name for the rest."""
    names = list(dict.fromkeys(leak.policy for leak in leaks if leak.policy is not None))
    told = [_short(leak.text) for leak in leaks[:_SHOWN]]
    rest = [name for name in names if name not in {leak.policy for leak in leaks[:_SHOWN]}]
    parts = ["; ".join(told), f"and NetworkPolicies {some(rest)}" if rest else ""]
    leaking = set(names)
    parts += [f"{_short(name)} is left as it is: {why}" for name, why in refused if name in leaking][:_SHOWN]
    return f"still reachable: {'; '.join(filter(None, parts))}"


def not_readable(why: Sequence[str]) -> str:
    told = some(why, _SHOWN)
    return f"what is asked before NetworkPolicies is not known: {told}; grant it as manifests/rbac does"


def accepted(told: Sequence[str], ours: str) -> str:
    return "; ".join(filter(None, (f"still reachable: {some(told, _SHOWN)}", ours)))


def first(denial: Denial, tiers: Tiers) -> str:
    """What our own cluster-wide policy denies, what not, and why."""
    kind = denial.make.ref.resource.kind if denial.make else ""
    unused = [one for one in tiers.served if one != kind]
    parts = [
        f"{denial.make.diff}, where they are enforced" if denial.make else "",
        *denial.left,
        f"served and not used: {', '.join(unused)}" if unused else "",
        _short(tiers.refused),
    ]
    return "; ".join(filter(None, parts))


def from_before(old: Sequence[Pod]) -> str:
    return (
        f"{some([pod.metadata.name for pod in old])} ran before they were cut off and may have connections "
        "that are open; being ended"
    )


def isolated(
    seen: Reach, isolation: Isolation, *, terminated: bool, others: Sequence[Allowance], first: str
) -> str:
    cut = " or ".join(way.lower() for way in Direction if way in isolation.directions)
    holes = list(dict.fromkeys(hole.name for hole in isolation.holes))
    parts = [
        f"no {cut} is allowed" + (f" but {', '.join(holes)}" if holes else ""),
        enforcement(seen.enforcers),
        "" if terminated else "connections that were open may live on",
        f"other pods with its labels are cut off too: {some(seen.others)}" if seen.others else "",
        _next_job(seen),
        _possible(others),
        first,
    ]
    return "; ".join(filter(None, parts))


def enforcement(enforcers: Sequence[Enforcer]) -> str:
    """The API shows no enforcement; at most that a plugin which does enforce is ready on every node."""
    ready = [one for one in enforcers if one.nodes > 0 and one.ready >= one.nodes]
    if ready:
        return f"enforcement: Known ({', '.join(dict.fromkeys(one.name for one in ready))})"
    if enforcers:
        told = ", ".join(f"{one.name} is ready on {one.ready} of {one.nodes} nodes" for one in enforcers)
        return f"enforcement: Unknown ({told})"
    return "enforcement: Unknown (no network plugin is seen that is known to enforce NetworkPolicies)"


def some(names: Sequence[str], most: int = _NAMED) -> str:
    more = len(names) - most
    return ", ".join(_short(name) for name in names[:most]) + (f" and {more} more" if more > 0 else "")


def _next_job(seen: Reach) -> str:
    owner = seen.target.meta.controller if seen.target and seen.target.resource == JOBS else None
    return f"other Jobs of {owner.kind} {owner.name} are not isolated" if owner else ""


def _possible(others: Sequence[Allowance]) -> str:
    names = list(dict.fromkeys(leak.policy or "" for leak in others))
    return f"a pod with more labels would be let through by NetworkPolicies {some(names)}" if names else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
