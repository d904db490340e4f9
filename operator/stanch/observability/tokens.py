from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SecretFile:
    """Secrets, one a line: two are valid while one is replaced. Read again when the file changes."""

    path: Path
    _secrets: tuple[bytes, ...] = ()
    _version: tuple[int, int, int] = (0, 0, 0)

    def secrets(self) -> tuple[bytes, ...]:
        """None, when the file cannot be read: then nobody can know one."""
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version != self._version:
                lines = self.path.read_bytes().split(b"\n")
                self._secrets = tuple(line.strip() for line in lines if line.strip())
                self._version = version
        except OSError as error:
            log.error("secrets cannot be read: whoever should know one is refused", error=str(error))  # noqa: TRY400 - the path and errno say it all
            return ()
        return self._secrets


class TokenFile(SecretFile):
    """Bearer tokens."""

    def accepts(self, authorization: str) -> bool:
        """Whether this Authorization header carries one of the tokens."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return False
        presented = token.strip().encode(errors="surrogateescape")  # as aiohttp decodes what is no UTF-8
        return any(hmac.compare_digest(presented, known) for known in self.secrets())
