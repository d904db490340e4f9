"""The errors of Stanch. Only `stanch.kube` turns what Kubernetes or the network said into one of these.

`reason` is a CamelCase word fit for a condition's `reason`; `message` is what a person reads, with the
server's own words kept.
"""


class StanchError(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Retry(StanchError):
    """Can succeed later without anybody changing anything; `after` is the wait in seconds."""

    def __init__(self, reason: str, message: str, after: float) -> None:
        super().__init__(reason, message)
        self.after = after


class Rejected(StanchError):
    """Cannot succeed by itself: somebody has to change the object, the permissions or the cluster."""


class Conflict(Retry):
    """409. The decision was made on an outdated object: read again and decide again.

    `reason` is `Conflict` (stale resourceVersion or failed precondition) or `AlreadyExists`.
    """

    def __init__(self, reason: str, message: str, after: float = 0.05) -> None:
        super().__init__(reason, message, after)

    @property
    def already_exists(self) -> bool:
        return self.reason == "AlreadyExists"


class Unavailable(Retry):
    """Network error, timeout, 401 after fresh credentials, 429 or 5xx: whether a write arrived is unknown."""


class NotServed(Unavailable):
    """404 for the resource itself: a CRD is missing or not served yet. Never read as "absent"."""


class Gone(Retry):
    """410. A list token or watch position is too old."""


class Forbidden(Rejected):
    """403, from RBAC or from admission; the message is the server's."""


class Invalid(Rejected):
    """400, 413, 415 or 422: the server does not accept this object or patch."""


class NotFound(Rejected):
    """404 on a write: the object went away between the read and the write."""


class FenceLost(Exception):
    """The lease may be somebody else's by now. Nothing may be written any more; the process ends.

    No StanchError, so that nobody who handles those survives it.
    """
