from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class TokenFile:
    """Bearer tokens, one a line: two are valid while one is replaced. Read again when the file changes."""

    path: Path
    _tokens: tuple[bytes, ...] = ()
    _version: tuple[int, int, int] = (0, 0, 0)

    def accepts(self, authorization: str) -> bool:
        """Whether this Authorization header carries one of the tokens. No readable file: nobody is let in."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        presented = token.strip().encode()
        return any(hmac.compare_digest(presented, known) for known in self._current())

    def _current(self) -> tuple[bytes, ...]:
        try:
            status = self.path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version != self._version:
                lines = self.path.read_bytes().split(b"\n")
                self._tokens = tuple(line.strip() for line in lines if line.strip())
                self._version = version
        except OSError as error:
            log.error("the receiver's token file cannot be read: every caller is refused", error=str(error))  # noqa: TRY400 - the path and errno say it all
            return ()
        return self._tokens
