"""`python -m tests.compatibility [minor …]`: the stories on each Kubernetes that is pinned, as they went."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sandbox import versions
from sandbox.errors import SandboxError
from tests.compatibility import results
from tests.compatibility.generate import run as generate
from tests.compatibility.programs import versions_here
from tests.compatibility.results import ROOT, Run, Told, went

_TESTS_FAILED = 1  # pytest's exit code: there are results all the same
_USUAL_WORKERS = "3"


def tell(minor: str) -> Run:
    """The stories on one Kubernetes.

    Raises:
        SandboxError: no program for it, or pytest did not get as far as results.
    """
    os.environ[versions.CHOICE] = minor  # the tests' processes take it from here
    programs = versions_here()
    print(f"Kubernetes {programs.kubernetes}")
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory) / "stories.json"
        workers = os.environ.get("WORKERS", _USUAL_WORKERS)
        options = ["-m", "compatibility", "-q", "-n", workers, "--dist", "loadfile", f"--stories={told}"]
        done = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=ROOT, check=False)
        if done.returncode not in (0, _TESTS_FAILED):
            raise SandboxError(
                f"pytest ended with {done.returncode}: nothing is known of Kubernetes {programs.kubernetes}"
            )
        stories = Told.model_validate_json(told.read_text(encoding="utf-8")).stories
    return Run(
        date=datetime.now(UTC).date().isoformat(),
        programs=programs,
        areas=went(stories),
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the newest was told and all that is not optional passed on it."""
    pinned = versions.modules()
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("minors", nargs="*", metavar="minor", help=f"of {', '.join(pinned)}; all by default")
    wanted = parser.parse_args(arguments).minors or list(pinned)
    if unknown := set(wanted) - set(pinned):
        parser.error(f"not pinned: {', '.join(sorted(unknown))}")
    found = results.read().only({(int(a), int(b)) for a, b in (minor.split(".") for minor in pinned)})
    for minor in wanted:
        try:
            found = found.with_run(tell(minor))
        except SandboxError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        results.write(found)
        generate([])
    bad = [run.programs.kubernetes for run in found.runs if not run.supported]
    if bad:
        print(f"not supported, as the page says: {', '.join(bad)}", file=sys.stderr)
    newest = found.runs[0]
    return 0 if newest.supported else 1


if __name__ == "__main__":
    sys.exit(main())
