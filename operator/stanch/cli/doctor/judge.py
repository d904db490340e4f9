"""What is in order with an installation, what is not, and what to do about it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.cli.doctor import installed, use

if TYPE_CHECKING:
    from stanch.cli.doctor.facts import Facts
    from stanch.cli.doctor.finding import Finding

_CHECKS = (
    installed.server,
    installed.clock,
    installed.crds,
    installed.admission,
    installed.denial,
    installed.leader,
    installed.replicas,
    use.rights,
    use.policies,
    use.prometheus,
    use.network,
    use.incidents,
    use.orphans,
)


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Every check, in the order in which one would look."""
    return tuple(check(facts) for check in _CHECKS)


def judge_uninstall(facts: Facts) -> tuple[Finding, ...]:
    """Only whether it may go."""
    return (use.contained(facts),)
