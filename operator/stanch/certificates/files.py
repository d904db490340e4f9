"""The receiver's certificate, from files that change: cert-manager renews it, the kubelet swaps it."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Of the receiver. A client certificate is asked for, never demanded: the API server, which sends audit
    events to the same port, may have none. Who sends alerts needs one: that is for their credentials to say.

    Raises OSError, of which ssl.SSLError is one, if a file cannot be read or key and certificate differ.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password="")  # or a terminal is asked for one
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@dataclass(slots=True)
class CertificateFiles:
    """Raises OSError when made of files that cannot be used.

    Every change makes a new context. One that is in use and fails to load a pair is left with a certificate
    and no key, and offers a former one of another kind of key beside the new one.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """Whose client certificates are accepted; None: clients are asked for none."""
    clock: Callable[[], float] = time.monotonic
    ends: float = field(init=False)
    """When the certificate does, in Unix seconds; 0 where that cannot be told."""
    _made: ssl.SSLContext = field(init=False)
    _version: object = field(init=False)
    _looked_at: float = field(init=False)
    _trouble: str = ""

    def __post_init__(self) -> None:
        self._looked_at = self.clock()
        self._version = self._versions()
        self._load()

    def context(self) -> ssl.SSLContext:
        """For the next handshake: the files as of a second ago, or when they could be used last."""
        now = self.clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._made

    def _look(self) -> None:
        try:
            version = self._versions()  # before reading: what changes meanwhile is read again
            if version == self._version:
                return
            self._load()
        except OSError as error:
            self._complain(str(error))
        else:
            self._version = version
            self._trouble = ""
            log.info("the receiver's certificate was read again", file=str(self.certificate))

    def _load(self) -> None:
        self._made = server_context(self.certificate, self.key, self.client_ca)
        self.ends = _end_of(self.certificate)

    def _versions(self) -> object:
        found = (path.stat() for path in (self.certificate, self.key, self.client_ca) if path is not None)
        return tuple((status.st_mtime_ns, status.st_ino, status.st_size) for status in found)

    def _complain(self, trouble: str) -> None:
        """Once, not at every look."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.error(
                "the receiver's certificate changed and cannot be used: the former one is served on",
                certificate=str(self.certificate),
                key=str(self.key),
                client_ca=str(self.client_ca or ""),
                error=trouble,
            )


def _end_of(certificate: Path) -> float:
    try:
        first, *_ = x509.load_pem_x509_certificates(certificate.read_bytes())
        return first.not_valid_after_utc.timestamp()
    except (ValueError, x509.InvalidVersion):  # TLS takes some that this does not
        return 0.0
