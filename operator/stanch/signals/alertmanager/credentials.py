"""Who may send alerts, for which namespaces, and how that is proven.

Every file is read again when it has changed. A file that cannot be read lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import structlog
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from stanch.api.schema import Duration, seconds
from stanch.observability.tokens import SecretFile, TokenFile
from stanch.signals.model import Speaker

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

EVERYWHERE = "*"
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,128}$")]
Namespace = Annotated[str, Field(pattern=r"^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$")]
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class _Model(BaseModel):
    """A key that is not known is a mistake here: a condition that was meant would not be demanded."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class HmacRule(_Model):
    """HMAC-SHA256 in bare hex, of the body, or of `timestamp:body` with a timestamp in Unix seconds, which is
    how Grafana signs. Keys are one a line.
    """

    key_file: Path
    header: Header = "X-Grafana-Alerting-Signature"
    timestamp_header: Header | None = None
    tolerance: Duration = "5m"


class Credential(_Model):
    """All that it lists has to be shown."""

    name: str = Field(min_length=1, max_length=253)
    namespaces: tuple[Namespace, ...] = Field(min_length=1)
    token_file: Path | None = None
    hmac: HmacRule | None = None
    client_name: str | None = Field(default=None, min_length=1, max_length=253)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.token_file is None and self.hmac is None and self.client_name is None:
            raise ValueError("it needs a tokenFile, an hmac or a clientName")
        if EVERYWHERE in self.namespaces and len(self.namespaces) > 1:
            raise ValueError("namespaces are names, or '*' alone")
        return self

    @property
    def speaker(self) -> Speaker:
        everywhere = EVERYWHERE in self.namespaces
        return Speaker(self.name, None if everywhere else frozenset(self.namespaces))


class _Document(_Model):
    credentials: tuple[Credential, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [credential.name for credential in self.credentials]
        if len(set(names)) < len(names):
            raise ValueError("two credentials have the same name")
        return self


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request shows of its sender. `client_names` are those of its certificate; None: it has none."""

    headers: Mapping[str, str]
    """By name, whatever its case."""
    client_names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Introduced:
    """What the headers and the certificate prove. Of `candidates` nothing but the signature of the body can
    be missing; `missing` says what is for the other credentials, by name.
    """

    candidates: tuple[Credential, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the sender has shown a token or a name already: strangers are given less."""
        return any(one.token_file is not None or one.client_name is not None for one in self.candidates)


@dataclass(frozen=True, slots=True)
class Accepted:
    speaker: Speaker
    signature: tuple[str, str] | None = None
    """Of the request, where it cannot be used twice."""


class Credentials:
    """`introduce` before the body is read, `accept` after it. Of several that fit, the first one counts."""

    def __init__(self, path: Path, *, certificates: bool) -> None:
        """`certificates`: clients are asked for one, so every sender of alerts has to have one."""
        self._path = path
        self._certificates = certificates
        self._version: tuple[int, int, int] | None = None
        self._trouble = ""
        self._known: tuple[Credential, ...] = ()
        self._tokens: dict[Path, TokenFile] = {}
        self._keys: dict[Path, SecretFile] = {}
        self._used: dict[tuple[str, str], float] = {}

    def introduce(self, presented: Presented) -> Introduced:
        missing: dict[str, str] = {}
        candidates = []
        for credential in self._current():
            lacks = self._lacks(credential, presented)
            if lacks:
                missing[credential.name] = lacks
            else:
                candidates.append(credential)
        return Introduced(tuple(candidates), missing)

    def accept(
        self, introduced: Introduced, presented: Presented, body: bytes, now: float
    ) -> Accepted | None:
        """`now` in Unix seconds. None: nobody with a credential has sent this."""
        for credential in introduced.candidates:
            if credential.hmac is None:
                return Accepted(credential.speaker)
            signature = self._signature(credential.hmac, presented, body, now)
            if signature is None:
                continue
            if credential.hmac.timestamp_header is None:
                return Accepted(credential.speaker)
            use = (credential.name, signature)
            if self._use(use, now, keep=2 * seconds(credential.hmac.tolerance)):
                return Accepted(credential.speaker, use)
        return None

    def forget(self, accepted: Accepted) -> None:
        """The request came to nothing: its sender may send it again as it was."""
        if accepted.signature is not None:
            self._used.pop(accepted.signature, None)

    def _lacks(self, credential: Credential, presented: Presented) -> str:
        if self._certificates and presented.client_names is None:
            return "no client certificate"
        if credential.client_name is not None and credential.client_name not in (
            presented.client_names or frozenset()
        ):
            return f"the client certificate is not {credential.client_name}'s"
        if credential.token_file is not None:
            tokens = self._tokens.setdefault(credential.token_file, TokenFile(credential.token_file))
            if not tokens.accepts(presented.headers.get("Authorization", "")):
                return f"no bearer token of {credential.token_file}"
        if credential.hmac is not None and credential.hmac.header not in presented.headers:
            return f"no header {credential.hmac.header}"
        return ""

    def _signature(self, rule: HmacRule, presented: Presented, body: bytes, now: float) -> str | None:
        """The signature that was shown, in lower case; None if it is none by our keys, or not fresh."""
        shown = presented.headers.get(rule.header, "").lower()
        if not _SIGNATURE.fullmatch(shown):
            return None
        signed = body
        if rule.timestamp_header is not None:
            timestamp = presented.headers.get(rule.timestamp_header, "")
            if not _TIMESTAMP.fullmatch(timestamp) or abs(now - int(timestamp)) > seconds(rule.tolerance):
                return None
            signed = timestamp.encode() + b":" + body
        keys = self._keys.setdefault(rule.key_file, SecretFile(rule.key_file)).secrets()
        digests = [hmac.new(key, signed, hashlib.sha256).hexdigest() for key in keys]
        return shown if any(hmac.compare_digest(shown, digest) for digest in digests) else None

    def _use(self, signature: tuple[str, str], now: float, *, keep: float) -> bool:
        """Whether it is used for the first time. It is kept for as long as its timestamp can be within
        tolerance; only who has the key can add one.
        """
        self._used = {used: until for used, until in self._used.items() if until >= now}
        first = signature not in self._used
        self._used.setdefault(signature, now + keep)
        return first

    def _current(self) -> tuple[Credential, ...]:
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if version == self._version:
                return self._known
            self._known, self._version = (), version
            self._known = self._read()
        except OSError as error:
            self._known, self._version = (), None
            trouble = str(error)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            trouble = _problem(error)
        else:
            self._trouble = ""
            log.info("credentials of senders of alerts read", names=[one.name for one in self._known])
            return self._known
        # Not while the error is handled: a log that cannot be written prints it, with all that it expands to.
        self._complain(trouble)
        return self._known

    def _read(self) -> tuple[Credential, ...]:
        known = _Document.model_validate(yaml.safe_load(self._path.read_bytes())).credentials
        if not self._certificates:
            for credential in known:
                if credential.client_name is not None:
                    raise ValueError(
                        f"credential {credential.name} demands a clientName, but without "
                        "--signal-client-ca-file no client can show a certificate"
                    )
        return known

    def _complain(self, trouble: str) -> None:
        """Once, not at every request."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.error(
                "the credentials of senders of alerts cannot be read: all alerts are refused until they can",
                file=str(self._path),
                error=trouble,
            )


def _problem(error: Exception) -> str:
    """Without the input, which may be a secret in the wrong place."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    if isinstance(error, yaml.MarkedYAMLError):
        return f"{error.problem} {error.problem_mark.line + 1 if error.problem_mark else ''}"
    return str(error)
