"""`stanch doctor`: whether what Stanch promises can be kept here, and what to do where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stanch.cli.ending import Exit
from stanch.cli.screen import DataForm, cell, emit, progress, show, table
from stanch.cli.session import Command, Context, Kubeconfig, Namespace, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stanch.cli.doctor.finding import Finding
    from stanch.kube.client import Kube

COMMAND = Command("doctor", "")

_STYLES = {"OK": "green", "Warning": "yellow", "Failed": "bold red", "Unknown": "yellow"}


def doctor(  # noqa: PLR0913 - one parameter a flag
    *,
    namespace: Namespace = None,
    operator_namespace: Annotated[str, typer.Option(help="Where Stanch itself runs.")] = "stanch-system",
    before_uninstall: Annotated[
        bool, typer.Option("--before-uninstall", help="Only whether anything is still contained.")
    ] = False,
    try_prometheus: Annotated[
        bool,
        typer.Option(
            "--try-prometheus",
            help="Ask the operator's Prometheus from here, too, which a pod does anyway.",
        ),
    ] = False,
    output: Annotated[DataForm, typer.Option("--output", "-o", help="How it is printed.")] = DataForm.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Check the installation as the user of your kubeconfig: what stands, what is in force, what you may do.

    Nothing is changed. What could not be looked at is Unknown, never OK, and says why.

    Ends with 0 if nothing failed, with 1 if something did, and with 2 if it could not be looked at. With
    --before-uninstall it ends with 0 only if it is known that nothing is contained.
    """
    where = Where(namespace, kubeconfig, context)

    async def work(kube: Kube, space: str) -> Exit:
        # Imported late: `stanch --help` and the other commands need none of it.
        from stanch.cli.doctor.finding import State  # noqa: PLC0415
        from stanch.cli.doctor.gather import gather  # noqa: PLC0415
        from stanch.cli.doctor.judge import judge, judge_uninstall  # noqa: PLC0415

        ask = (try_prometheus or where.in_cluster()) and not before_uninstall
        with progress("looking"):
            facts = await gather(kube, space, operator_namespace, ask_prometheus=ask)
        findings = judge_uninstall(facts) if before_uninstall else judge(facts)
        _print(findings, output)
        if before_uninstall:
            return Exit.YES if all(one.state is State.OK for one in findings) else Exit.NO
        return Exit.NO if any(one.state is State.FAILED for one in findings) else Exit.YES

    COMMAND.run(where, work)


def _print(findings: Sequence[Finding], output: DataForm) -> None:
    if output.form.is_data:
        checks = [
            {"check": one.check, "state": one.state.value, "message": one.message, "todo": one.todo}
            for one in findings
        ]
        emit({"checks": checks}, output.form)
        return
    rows = [
        (
            one.check,
            cell(one.state, _STYLES[one.state]),
            f"{one.message}{f' → {one.todo}' if one.todo else ''}",
        )
        for one in findings
    ]
    show(table(("CHECK", "STATE", "WHAT, AND WHAT TO DO"), rows))


__all__ = ["doctor"]
