"""What the API server said, as one of our errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stanch.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotServed,
    Rejected,
    StanchError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_RETRY_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 60.0
SNIPPET = 300
# An API server with too much to do that looks up a ContainmentHold written just now: it has a second for it.
_NO_TIME = ("failed to configure binding", "context deadline exceeded")


class StatusCause(BaseModel):
    model_config = ConfigDict(frozen=True)

    message: str = ""


class StatusDetails(BaseModel):
    model_config = ConfigDict(frozen=True)

    causes: tuple[StatusCause, ...] = ()
    kind: str = ""
    name: str = ""
    retry_after_seconds: int = Field(default=0, alias="retryAfterSeconds")


class Status(BaseModel):
    """metav1.Status as far as it matters here."""

    model_config = ConfigDict(frozen=True)

    kind: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None

    @property
    def text(self) -> str:
        """The message, and the causes it leaves out."""
        causes = self.details.causes if self.details is not None else ()
        left_out = [cause.message for cause in causes if cause.message and cause.message not in self.message]
        return ": ".join(part for part in (self.message, "; ".join(left_out)) if part)

    @property
    def names_an_object(self) -> bool:
        """False for the router's "the server could not find the requested resource"."""
        return self.details is not None and bool(self.details.name)


def parse_status(body: bytes) -> Status:
    """A proxy or the router may answer with plain text: that becomes the message."""
    try:
        return Status.model_validate_json(body)
    except ValidationError:
        return Status(message=body[:SNIPPET].decode(errors="replace").strip())


def is_absent(code: int, body: bytes) -> bool:
    """True if the server knows the resource and says that this object does not exist."""
    return code == HTTPStatus.NOT_FOUND and parse_status(body).names_an_object


def _retry_after(status: Status, headers: Mapping[str, str]) -> float:
    header = headers.get("Retry-After", "")
    if header.isdecimal():
        seconds = float(header)
    elif status.details is not None:
        seconds = float(status.details.retry_after_seconds)
    else:
        seconds = 0.0
    return min(seconds, MAX_RETRY_AFTER_SECONDS) or DEFAULT_RETRY_SECONDS


def error_from(  # noqa: C901, PLR0911 - one line an HTTP status reads best
    what: str, code: int, headers: Mapping[str, str], body: bytes
) -> StanchError:
    """The error for a non-2xx answer to `what`, e.g. `patch Deployment chat/llm`."""
    status = parse_status(body)
    said = status.text or f"HTTP {code} without a message"
    message = f"{what}: {said}"
    match code:
        case HTTPStatus.UNPROCESSABLE_ENTITY if all(part in message for part in _NO_TIME):
            return Unavailable("AdmissionTimeout", message, _retry_after(status, headers))
        case HTTPStatus.UNAUTHORIZED:
            return Unavailable(
                "Unauthorized", f"{message}; the credentials were read again and refused again", 5.0
            )
        case HTTPStatus.FORBIDDEN:
            return Forbidden(status.reason or "Forbidden", message)
        case HTTPStatus.NOT_FOUND if status.names_an_object:
            return NotFound("NotFound", message)
        case HTTPStatus.NOT_FOUND:
            return NotServed(
                "NotServed", f"{message}; the server does not serve this resource: is the CRD installed?", 5.0
            )
        case HTTPStatus.CONFLICT:
            return Conflict(status.reason or "Conflict", message)
        case HTTPStatus.GONE:
            return Gone(status.reason or "Expired", message, DEFAULT_RETRY_SECONDS)
        case (
            HTTPStatus.BAD_REQUEST
            | HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            | HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            | HTTPStatus.UNPROCESSABLE_ENTITY
        ):
            return Invalid(status.reason or "Invalid", message)
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable(status.reason or "TooManyRequests", message, _retry_after(status, headers))
        case _ if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Unavailable(status.reason or "ServerError", message, _retry_after(status, headers))
        case _:
            return Rejected(status.reason or f"HTTP{code}", message)
