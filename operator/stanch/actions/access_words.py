"""What RevokeServiceAccount says: why it does not begin, and lists that fit a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.access.accounts import DEFAULT_ACCOUNT
from stanch.access.models import ServiceAccount
from stanch.actions.protocol import Refusal
from stanch.actions.target import NOT_FOUND, staying
from stanch.api.v1alpha1.steps import Consent
from stanch.kube.scope import OUT_OF_SCOPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.actions.access_seen import AccessSeen
    from stanch.actions.objects import Obj
    from stanch.api.v1alpha1.steps import RevokeServiceAccount as RevokeStep

_SHOWN = 4


def unfit(seen: AccessSeen, step: RevokeStep) -> Refusal | None:
    """Why the step does not begin, whatever the method."""
    workload, account = seen.target, seen.account
    if workload is None or account is None:
        return NOT_FOUND
    if isinstance(refusal := staying(workload), Refusal):
        return refusal
    if seen.users and step.shared is Consent.REFUSE:
        return Refusal(
            "AccountShared",
            f"ServiceAccount {account.name} is also used by {some(seen.users)}, which would lose what it "
            "gives them; give the workload an account of its own, or say `shared: Accept`",
        )
    return None


def unseen(seen: AccessSeen) -> Refusal:
    """Why no right is taken where only some namespaces are looked at: no half of them is proof."""
    name = seen.account.name if seen.account else ""
    return Refusal(
        OUT_OF_SCOPE,
        f"the operator acts in some namespaces only (STANCH_NAMESPACES) and may not list rolebindings "
        f"in the others, so that nobody could say what ServiceAccount {name} may still do; use method "
        "DeleteAccount, or let the operator act in the whole cluster",
    )


def undeletable(obj: Obj, legacy: tuple[str, ...] | None, step: RevokeStep) -> Refusal | None:
    """Why the account is not deleted. `legacy` are its token Secrets, None when nobody could look."""
    name = obj.meta.name
    finalizers = ServiceAccount.model_validate(obj.json).metadata.finalizers
    if name == DEFAULT_ACCOUNT:
        return Refusal(
            "DefaultAccount",
            "it runs under the namespace's default ServiceAccount, without which no pod that names no other "
            "could be started; give it an account of its own, or use method DeleteBindings",
        )
    if obj.meta.deletion_timestamp is not None:
        return Refusal("AccountTerminating", f"ServiceAccount {name} is being deleted already")
    if finalizers:
        return Refusal(
            "AccountFinalized",
            f"ServiceAccount {name} would not go before its finalizers ({some(finalizers)}) are removed; "
            "use method DeleteBindings",
        )
    return None if step.irreversible is Consent.ACCEPT else _lost(name, legacy)


def _lost(name: str, legacy: tuple[str, ...] | None) -> Refusal | None:
    """Why deleting it could not be undone."""
    if legacy is None:
        return Refusal(
            "LegacyTokensUnknown",
            "the operator may not list Secrets and cannot tell whether some hold tokens of ServiceAccount "
            f"{name}, which would be lost with it; grant it `list` on secrets, use method DeleteBindings, or "
            "say `irreversible: Accept`",
        )
    if legacy:
        return Refusal(
            "LegacyTokens",
            f"Secrets {some(legacy)} hold tokens of ServiceAccount {name}: they are deleted with it, and no "
            "release could give them back; use method DeleteBindings, or say `irreversible: Accept`",
        )
    return None


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def line(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
