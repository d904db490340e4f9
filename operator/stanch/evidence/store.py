"""Where evidence is kept: a directory, S3 and what speaks its protocol, Google Cloud Storage, Azure.

Nothing stored is ever overwritten: a key is written once, with a condition that the store itself checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, from_url

from stanch.errors import Rejected, Retry, StanchError
from stanch.evidence.shapes import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config, S3Credential

    from stanch.settings import Settings

SCHEMES = frozenset({"abfs", "abfss", "az", "azure", "file", "gs", "s3", "s3a"})
_S3 = frozenset({"s3", "s3a"})
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_TRY_AGAIN_SECONDS = 5.0
_CREDENTIALS_SECONDS = 60  # how long files with credentials are not read again
_SAID = 300  # characters of the store's own words
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>(?:\s*<Message>([^<]{1,300})</Message>)?")
_STATUS = re.compile(r"status code: (\d{3}[^:\n]{0,60})")
_WRONG_ACCOUNT = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
    | {"XAdminUserNotFound"}  # Versity's word for an unknown access key
)
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})


class StoreUnavailable(Retry):
    """The store did not answer, or with an error of its own: whether something was stored is unknown."""


class StoreRefused(Rejected):
    """The store does not take or give this: credentials, bucket or address have to be put right."""


class DifferentContent(StoreRefused):
    """The key holds something else, which was left as it is."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """What the URL does not say. Credentials are never part of it: they come from files or the environment.

    `credentials` is a directory, such as a mounted Secret, with the files `access-key-id`,
    `secret-access-key` and, for temporary credentials, `session-token`. Without it the usual environment
    variables of the store are read, and workload identity is used where there is one.
    """

    endpoint: str | None = None
    region: str | None = None
    credentials: Path | None = None
    timeout: float = 10.0

    @classmethod
    def of(cls, settings: Settings) -> StoreOptions:
        return cls(
            endpoint=settings.evidence_endpoint,
            region=settings.evidence_region,
            credentials=settings.evidence_credentials_dir,
        )


@dataclass(frozen=True, slots=True)
class Store:
    """Objects below one URL. Methods raise StoreUnavailable or StoreRefused, and say what was not done."""

    url: str
    objects: ObjectStore

    def location(self, key: str) -> str:
        return f"{self.url}/{key}"

    def below(self, key: str) -> Collection:
        return Collection(self, key)

    async def put(self, key: str, body: bytes) -> None:
        """Store it under a key that is free, or that holds the same already.

        Raises DifferentContent: the key is taken.
        """
        try:
            await obstore.put_async(self.objects, key, body, mode="create")
        except AlreadyExistsError:
            await self._same(key, body)
        except (NotSupportedError, NotImplementedError):
            await self._put_unconditionally(key, body)
        except (BaseError, OSError) as error:
            await self._settle(error, key, body)

    async def get(self, key: str) -> bytes | None:
        """None if there is no such object. A missing bucket is an error, not an absence."""
        try:
            answer = await obstore.get_async(self.objects, key)
            return bytes(await answer.bytes_async())
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and _code(error) not in _NO_BUCKET | _WRONG_ACCOUNT:
                return None
            raise self._translated(error, key, "it was not read") from error

    async def list(self, prefix: str = "") -> tuple[str, ...]:
        """The keys of all objects below, sorted."""
        try:
            found = await obstore.list(self.objects, prefix or None).collect_async()
        except (BaseError, OSError) as error:
            raise self._translated(error, prefix, "its objects were not listed") from error
        return tuple(sorted(meta["path"] for meta in found))

    async def _same(self, key: str, body: bytes) -> None:
        """An attempt whose answer was lost may have stored it."""
        there = await self.get(key)
        if there is None:
            raise StoreUnavailable(
                "EvidenceStoreUnstable",
                f"{self.location(key)}: the store says that it exists and, asked for it, that it does not: "
                f"its {len(body)} bytes were not stored; it is tried again",
                _TRY_AGAIN_SECONDS,
            )
        if there != body:
            raise DifferentContent(
                "EvidenceExists",
                f"{self.location(key)} holds {len(there)} other bytes already, which were left as they are: "
                f"{len(body)} bytes were not stored. Find out who else writes there",
            )

    async def _settle(self, error: Exception, key: str, body: bytes) -> None:
        """Whether it is stored in spite of the error.

        A server that refuses a large body because the key is taken may hang up before it could be told so.
        """
        translated = self._translated(error, key, f"its {len(body)} bytes were not stored")
        if isinstance(translated, StoreRefused):
            raise translated from error
        try:
            there = await self.get(key)
        except StanchError:
            raise translated from error
        if there is None:
            raise translated from error
        await self._same(key, body)

    async def _put_unconditionally(self, key: str, body: bytes) -> None:
        """For stores without conditional writes (AWS_CONDITIONAL_PUT=disabled says so): look, then write.

        Collections have names of their own, so that nobody else writes between the two.
        """
        if await self.get(key) is not None:
            await self._same(key, body)
            return
        try:
            await obstore.put_async(self.objects, key, body, use_multipart=False)
        except (BaseError, OSError) as error:
            raise self._translated(error, key, f"its {len(body)} bytes were not stored") from error

    def _translated(self, error: Exception, key: str, not_done: str) -> StanchError:
        where, code, said = self.location(key), _code(error), _said(error)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or code in _WRONG_ACCOUNT:
            return StoreRefused(
                "EvidenceStoreDenied",
                f"{where}: the store refuses the credentials or what they may do ({said}): {not_done}. "
                "Check the credentials and that they may put, get and list there",
            )
        if code in _NO_BUCKET or (isinstance(error, FileNotFoundError) and not key):
            return StoreRefused(
                "EvidenceStoreMissing", f"{where}: there is no such bucket ({said}): {not_done}. Create it"
            )
        if isinstance(error, PermissionError | NotADirectoryError | IsADirectoryError):
            return StoreRefused("EvidenceStoreDenied", f"{where}: {said}: {not_done}. Check the directory")
        return StoreUnavailable(
            "EvidenceStoreUnavailable", f"{where}: {said}: {not_done}; it is tried again", _TRY_AGAIN_SECONDS
        )


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection of evidence in a store; keys are the names of its items."""

    store: Store
    prefix: str

    @property
    def location(self) -> str:
        return self.store.location(self.prefix) if self.prefix else self.store.url

    async def put(self, key: str, body: bytes) -> None:
        await self.store.put(self._key(key), body)

    async def get(self, key: str) -> bytes | None:
        return await self.store.get(self._key(key))

    async def list(self) -> tuple[str, ...]:
        keys = await self.store.list(self.prefix)
        start = len(self.prefix) + 1 if self.prefix else 0
        return tuple(key[start:] for key in keys)

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


def open_store(url: str, options: StoreOptions | None = None, *, create: bool = False) -> Store:
    """The store at `file:///directory`, `s3://bucket/prefix`, `gs://…` or `az://…`. Sends nothing.

    `create`: make a missing directory, readable by its owner only. Raises StoreRefused if the URL is none.
    """
    options = options or StoreOptions()
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or parts.query or parts.fragment or "@" in parts.netloc.partition(":")[0]:
        raise _refused_url(url, "it is not file:///directory, s3://bucket/prefix, gs://… or az://…")
    place = url.rstrip("/")
    if parts.scheme == "file":
        return Store(place, _directory(url, create=create))
    if not parts.netloc or not _PLACE.fullmatch(f"{parts.netloc}{parts.path}".rstrip("/")):
        raise _refused_url(url, "a bucket and a prefix are letters, digits, dots, dashes and slashes")
    try:
        return Store(place, _remote(place, parts.scheme, options))
    except (BaseError, ValueError, OSError) as error:
        raise _refused_url(url, _said(error)) from error


def _directory(url: str, *, create: bool) -> LocalStore:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in {"", "localhost"} or not path.is_absolute():
        raise _refused_url(url, "a directory is file:///an/absolute/path")
    try:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(path)
    except (BaseError, OSError) as error:
        raise StoreRefused(
            "EvidenceStoreMissing",
            f"{url}: {_said(error)}: no evidence is read or stored there. Create the directory, or mount it",
        ) from error


def _remote(url: str, scheme: str, options: StoreOptions) -> ObjectStore:
    client: ClientConfig = {
        "timeout": timedelta(seconds=options.timeout),
        "connect_timeout": timedelta(seconds=min(5.0, options.timeout)),
    }
    retry: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=options.timeout)}
    if scheme not in _S3:
        return from_url(url, client_options=client, retry_config=retry)
    config: S3Config = {}
    if options.endpoint is not None:
        config["endpoint"] = options.endpoint
        # Whoever writes http:// means it; without an endpoint there is only https.
        client["allow_http"] = options.endpoint.startswith("http://")
    if options.region is not None:
        config["region"] = options.region
    if options.credentials is None:
        return from_url(url, config=config, client_options=client, retry_config=retry)
    return from_url(
        url,
        config=config,
        client_options=client,
        retry_config=retry,
        credential_provider=_files(options.credentials),
    )


def _files(directory: Path) -> Callable[[], S3Credential]:
    """Reads the files when asked: the kubelet replaces those of a mounted Secret when the Secret changes."""

    def read() -> S3Credential:
        token = directory / "session-token"
        return {
            "access_key_id": (directory / "access-key-id").read_text().strip(),
            "secret_access_key": (directory / "secret-access-key").read_text().strip(),
            "token": token.read_text().strip() if token.exists() else None,
            "expires_at": datetime.now(UTC) + timedelta(seconds=_CREDENTIALS_SECONDS),
        }

    return read


def _refused_url(url: str, why: str) -> StoreRefused:
    shown = Redaction().text(url)
    return StoreRefused("InvalidEvidenceUrl", f"{shown}: {why}: no evidence can be read or stored there")


def _code(error: Exception) -> str:
    """S3's error code, `NoSuchBucket`, if it said one."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _said(error: Exception) -> str:
    """The store's words without the library's debugging output, and without anything like a credential."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    if code is not None:
        said = f"{code[1]}: {code[2]}" if code[2] else code[1]
    elif status is not None:
        said = f"HTTP {status[1]}"
    else:
        said = text.partition("\n")[0]
    return Redaction().text(said[:_SAID]).rstrip(". ")
