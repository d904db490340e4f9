"""`stanch`: one file a command, each added to `app` here."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from stanch.cli import (
    approve,
    close,
    completion,
    contain,
    doctor,
    evidence,
    plan,
    release,
    report,
    run,
    status,
)

app = typer.Typer(
    name=completion.PROGRAM,
    help="Contains AI incidents on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("status")(status.status)
app.add_typer(plan.app, name="plan")
app.command("contain")(contain.contain)
app.command("approve")(approve.approve)
app.command("release")(release.release)
app.command("close")(close.close)
app.command("report")(report.report)
app.add_typer(evidence.app, name="evidence")
app.command("doctor")(doctor.doctor)
app.command("completion")(completion.completion)
app.command("run")(run.run)


def main() -> NoReturn:
    """The program. It ends at once, with its exit code.

    No thread that hangs keeps it alive. None that is still at work when the interpreter is torn down takes it
    with it: threads of the evidence store made it SIGABRT (seen with obstore 0.12, Python 3.11).
    """
    code = 0
    try:
        if completion.ASKED in os.environ:
            completion.complete()
        app(prog_name=completion.PROGRAM)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


__all__ = ["app", "main"]
