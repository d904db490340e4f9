"""`stanch`: one file a command, each added to `app` here."""

from __future__ import annotations

import typer

from stanch.cli import approve, evidence, run

app = typer.Typer(
    name="stanch",
    help="Contains AI incidents on Kubernetes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("run")(run.run)
app.command("approve")(approve.approve)
app.add_typer(evidence.app, name="evidence")

__all__ = ["app"]
