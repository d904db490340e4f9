"""Certificates for one machine: a certificate authority made by the openssl command, one file pair a name."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DAYS = "3650"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs client and server certificates; its own pair is `ca.crt` and `ca.key` of a directory."""

    directory: Path
    pair: KeyPair

    @classmethod
    def at(cls, directory: Path, name: str) -> Authority:
        """The authority of this directory, made when it is not there yet."""
        pair = KeyPair(directory / "ca.crt", directory / "ca.key")
        if not pair.certificate.exists():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
            _request(pair, _subject(name, ()), extensions, ())
        return cls(directory, pair)

    def client(self, file_name: str, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A certificate that the API server takes for `user` in `groups` (subject CN and O)."""
        extensions = ("basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth")
        return self._issue(file_name, _subject(user, groups), extensions)

    def server(self, file_name: str, names: Sequence[str], addresses: Sequence[str]) -> KeyPair:
        alternatives = ",".join(
            [*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses)]
        )
        extensions = (
            "basicConstraints=critical,CA:FALSE",
            "extendedKeyUsage=serverAuth",
            f"subjectAltName={alternatives}",
        )
        return self._issue(file_name, _subject(file_name, ()), extensions)

    def _issue(self, file_name: str, subject: str, extensions: Sequence[str]) -> KeyPair:
        pair = KeyPair(self.directory / f"{file_name}.crt", self.directory / f"{file_name}.key")
        signer = ("-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key))
        _request(pair, subject, extensions, signer)
        return pair


def signing_key(path: Path) -> Path:
    """A private key for signing service account tokens, made when it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path)])
        path.chmod(0o600)
    return path


def _request(pair: KeyPair, subject: str, extensions: Sequence[str], signer: Sequence[str]) -> None:
    added = [argument for extension in extensions for argument in ("-addext", extension)]
    arguments = ["req", "-x509", *_NEW_KEY, "-keyout", str(pair.key), "-out", str(pair.certificate)]
    # An empty configuration: the machine's own adds extensions that contradict ours.
    _openssl([*arguments, "-config", "/dev/null", "-days", _DAYS, "-utf8", "-subj", subject, *added, *signer])
    pair.key.chmod(0o600)


def _subject(name: str, organizations: Sequence[str]) -> str:
    fields = [*(("O", organization) for organization in organizations), ("CN", name)]
    return "".join(f"/{key}={_escaped(value)}" for key, value in fields)


def _escaped(value: str) -> str:
    """As `openssl req -subj` reads it: a backslash keeps /, + and itself from ending the field."""
    return "".join(f"\\{character}" if character in "\\/+" else character for character in value)


def _openssl(arguments: Sequence[str]) -> None:
    command = shutil.which("openssl")
    if command is None:
        raise SandboxError(
            "the openssl command is missing (3.0 or newer): install it, then start the sandbox again"
        )
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SandboxError(
            f"openssl {' '.join(arguments[:2])} failed (3.0 or newer is needed): {done.stderr.strip()}"
        )
