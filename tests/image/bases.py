"""Stand-ins for the Dockerfile's two bases, where no registry is reached, from Debian's own packages.

They are not the bytes that a registry has. What is alike: RUNTIME is what distroless' python3-debian13 lists
in its python3, cc, base and static `config.bzl`, unpacked as there and never configured; BUILD has a shell
and pip besides, of the same Debian and so the same Python.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

DEBIAN = "trixie"
PYTHON = "python3.13"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_RUNTIME = f"""
    base-files netbase tzdata media-types ca-certificates
    libc6 libssl3t64 libzstd1 zlib1g
    libgomp1 libstdc++6 libgcc-s1 gcc-14-base
    libbz2-1.0 libdb5.3t64 libexpat1 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libcom-err2
    libcrypt1 libc-bin libgssapi-krb5-2 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libnsl2
    libreadline8t64 libtirpc3t64 libffi8 lib{PYTHON}-minimal lib{PYTHON}-stdlib {PYTHON}-minimal
""".split()
_BUILD = [
    "dash",
    "coreutils",
    "libacl1",
    "libattr1",
    "libgmp10",
    "libselinux1",
    "libpcre2-8-0",
    "python3-pip",
]
_PEOPLE = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"


@dataclass(frozen=True)
class Packages:
    """Debian's packages of the bases' release, in a directory of ours; this machine's are left alone."""

    directory: Path

    def update(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        (self.directory / "sources.list").write_text("".join(f"{line}\n" for line in _sources()))
        self._apt("amd64", "update")

    def unpack(self, architecture: str, root: Path, *, build: bool = False) -> None:
        """A base of that architecture below `root`."""
        names = [*_RUNTIME, *(_BUILD if build else [])]
        kept = self.directory / architecture
        kept.mkdir(exist_ok=True)
        self._apt(architecture, "download", *names, there=kept)
        root.mkdir()
        for name in names:
            (package,) = kept.glob(f"{name}_*.deb")
            _run("dpkg-deb", "--extract", str(package), str(root))
        for alias in ("python", "python3"):
            (root / "usr/bin" / alias).symlink_to(PYTHON)
        (root / "etc/passwd").write_text(_PEOPLE)
        home = root / "home/nonroot"
        home.mkdir(mode=0o700)
        os.chown(home, 65532, 65532)
        authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
        bundle = "".join(each.read_text() for each in authorities)
        (root / "etc/ssl/certs/ca-certificates.crt").write_text(bundle)

    def _apt(self, architecture: str, *arguments: str, there: Path | None = None) -> None:
        settings = {
            "Dir::Etc::SourceList": self.directory / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": self.directory / "state",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache": self.directory / "cache",
            "APT::Architecture": architecture,
            "APT::Sandbox::User": "root",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Languages": "none",
        }
        options = [f"--option={name}={value}" for name, value in settings.items()]
        both = [f"--option=APT::Architectures::={each}" for each in ("amd64", "arm64")]
        _run("apt-get", "--quiet", *options, *both, *arguments, there=there)


def _sources() -> list[str]:
    """Where this machine has its Debian from, for the bases' release."""
    own = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    targets = ["Created-By: Packages", "Origin: Debian", "Component: main"]
    listed = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", *targets).split("\n")
    found = [
        line.replace(f" {own[1]}", f" {DEBIAN}")
        for line in sorted({*listed} - {""})
        if own and own[1] in line
    ]
    assert found, "no source of Debian's packages is known here: apt-get update, and try again"
    return [f"deb [signed-by={_KEYS}] {place} main" for place in found]


def _run(*command: str, there: Path | None = None) -> str:
    done = subprocess.run(command, cwd=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
