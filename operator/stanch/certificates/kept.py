"""The receiver's certificate without anybody's help: a Secret of ours, renewed here, served from here."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import structlog
from pydantic import Base64Bytes, BaseModel, ConfigDict

from stanch.certificates.files import CertificateFiles
from stanch.certificates.keys import Keys, settle
from stanch.errors import Conflict, NotFound, StanchError
from stanch.kube.resources import SECRETS, ObjectRef

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from stanch.kube.client import Kube
    from stanch.settings import Settings

log = structlog.get_logger(__name__)

SERVICE = "stanch"
AGAIN_SECONDS = 5.0


class _Secret(BaseModel):
    model_config = ConfigDict(frozen=True)

    data: dict[str, Base64Bytes] | None = None


@dataclass(slots=True)
class KeptCertificate:
    """Every replica does this, whoever leads: all of them serve. Whoever writes second is refused for the
    resourceVersion, reads again, and finds nothing left to do. It is the API server's clock that counts, so
    that replicas whose own clocks differ agree on what is due.
    """

    kube: Kube
    secret: ObjectRef
    names: frozenset[str]
    every: float
    """Seconds between two looks at the Secret."""
    client_ca: Path | None = None
    clock: Callable[[], Awaitable[datetime]] | None = None
    """None: the API server's."""
    _files: CertificateFiles | None = None
    _pem: bytes = b""
    _descriptor: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings, kube: Kube) -> Self | None:
        """None: the certificate is in files that others renew."""
        if settings.receiver_port is None or settings.receiver_tls_secret is None:
            return None
        name = f"{SERVICE}.{settings.namespace}.svc"
        return cls(
            kube,
            ObjectRef(SECRETS, settings.namespace, settings.receiver_tls_secret),
            frozenset({name, f"{name}.cluster.local"}),
            settings.receiver_tls_seconds,
            settings.signal_client_ca_file,
        )

    def context(self) -> ssl.SSLContext | None:
        """For the next handshake. None: there is no certificate yet."""
        return None if self._files is None else self._files.context()

    @property
    def ends(self) -> float:
        """When what is served does, in Unix seconds; 0: nothing is."""
        return 0.0 if self._files is None else self._files.ends

    async def run(self) -> NoReturn:
        """Look at it again and again. What is served goes on while that fails. Cancelled in the end."""
        try:
            while True:
                pause = await self._looked()
                await asyncio.sleep(pause)
        finally:
            self._close()

    async def look(self) -> None:
        """Serve what the Secret has to say now, and write it there first. Raises StanchError, and OSError or
        ValueError when it cannot be served.
        """
        while True:
            body = await self.kube.get(self.secret)
            if body is None:
                raise NotFound(
                    "NoSecret",
                    f"{self.secret} does not exist, and the operator may not create it; apply the chart, or "
                    "manifests/receiver-self-signed, again",
                )
            now = await (self.clock or self.kube.clock)()
            data = _Secret.model_validate(body).data or {}
            keys, steps = settle(Keys.read(data), self.names, now)
            if steps:
                written = {name: b64encode(value).decode() for name, value in keys.wire().items()}
                try:
                    await self.kube.replace(self.secret, body | {"data": written})
                except Conflict:
                    continue  # another replica was faster: look what there is now
                log.info("certificates of the receiver were made", secret=str(self.secret), steps=steps)
            return self._serve(keys.served)

    async def _looked(self) -> float:
        """Seconds until the next look."""
        try:
            await self.look()
        except StanchError as error:
            log.error(  # noqa: TRY400 - reason and message say it all
                "the receiver's certificate cannot be looked after: what is served goes on until it ends",
                reason=error.reason,
                message=error.message,
            )
        except Exception:
            log.exception("the receiver's certificate cannot be served; what was before is")
        else:
            return self.every
        return min(self.every, AGAIN_SECONDS)

    def _serve(self, pem: bytes) -> None:
        if pem == self._pem:
            return
        descriptor = _in_memory(pem)
        path = Path(f"/proc/self/fd/{descriptor}")
        try:
            files = CertificateFiles(path, path, self.client_ca)
        except OSError:
            os.close(descriptor)
            raise
        self._close()
        self._files, self._pem, self._descriptor = files, pem, descriptor
        log.info("the receiver serves a certificate", secret=str(self.secret))

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _in_memory(content: bytes) -> int:
    """TLS contexts read files alone. This one is in memory: a key belongs on no disk, and a pod has none."""
    descriptor = os.memfd_create("stanch-receiver")
    os.write(descriptor, content)
    return descriptor
