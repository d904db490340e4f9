"""The few API calls the sandbox makes itself, as an administrator, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.pki import KeyPair

_TIMEOUT = 10.0  # seconds
_FAILURES = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < http.HTTPStatus.BAD_REQUEST


@dataclass(frozen=True)
class Api:
    """The server at 127.0.0.1:`port`, spoken to with a client certificate."""

    port: int
    ca_file: Path
    identity: KeyPair

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """One request on a connection of its own; OSError or HTTPException when there is no answer."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=_TIMEOUT, context=context)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def create(self, path: str, body: Any) -> Any:
        """POST; the created object, or None when it is there already.

        Raises:
            SandboxError: the server refused.
        """
        answer = self.call("POST", path, body)
        if answer.status == http.HTTPStatus.CONFLICT:
            return None
        if not answer.ok:
            said = answer.body.decode(errors="replace")
            raise SandboxError(f"POST {path} was answered {answer.status}: {said}")
        return json.loads(answer.body)

    def delete(self, path: str) -> None:
        """DELETE, unless it is gone already.

        Raises:
            SandboxError: the server refused.
        """
        answer = self.call("DELETE", path)
        if not answer.ok and answer.status != http.HTTPStatus.NOT_FOUND:
            raise SandboxError(
                f"DELETE {path} was answered {answer.status}: {answer.body.decode(errors='replace')}"
            )

    def answers(self, path: str) -> bool:
        """Whether GET `path` succeeds now."""
        try:
            return self.call("GET", path).ok
        except _FAILURES:
            return False


def plain_answers(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """Whether http://`host`:`port` answers GET `path` with success."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except _FAILURES:
        return False
    finally:
        connection.close()


def tls_answers(port: int, path: str) -> bool:
    """Likewise for https with a certificate the server made for itself; nothing is sent but the path."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < http.HTTPStatus.BAD_REQUEST
    except _FAILURES:
        return False
    finally:
        connection.close()
