"""Evidence kept in a directory and on a real S3 server: nothing is overwritten, and errors say what to do."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sandbox import s3
from sandbox.components import free_ports
from stanch.errors import Retry, StanchError
from stanch.evidence.store import (
    DifferentContent,
    Store,
    StoreOptions,
    StoreRefused,
    StoreUnavailable,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "chat/leak-81d2e/20260102T030405Z-3f9c1a/000-pod.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3]:
    with s3.running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@dataclass(frozen=True)
class Place:
    """A store, and where on this machine its objects are files."""

    store: Store
    files: Path


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        directory = tmp_path / "evidence"
        return Place(open_store(f"file://{directory}", create=True), directory)
    server: s3.S3 = request.getfixturevalue("server")
    bucket = f"evidence-{secrets.token_hex(4)}"
    files = server.bucket(bucket) / "stanch" / "prod"
    return Place(open_store(f"s3://{bucket}/stanch/prod", options(server, tmp_path)), files)


def options(
    server: s3.S3, directory: Path, *, secret: str | None = None, endpoint: str | None = None
) -> StoreOptions:
    """With the credentials in files, as a mounted Secret has them."""
    files = directory / "credentials"
    files.mkdir(exist_ok=True)
    (files / "access-key-id").write_text(f"{server.access_key_id}\n")
    (files / "secret-access-key").write_text(f"{secret or server.secret_access_key}\n")
    return StoreOptions(
        endpoint=endpoint or server.endpoint, region="us-east-1", credentials=files, timeout=2.0
    )


async def test_what_is_stored_is_read_and_listed(place: Place) -> None:
    body = os.urandom(300_000)
    await place.store.put(KEY, body)
    await place.store.put("other/001-log.log", b"")
    assert await place.store.get(KEY) == body
    assert await place.store.get("other/001-log.log") == b""
    assert await place.store.get("other/002-log.log") is None
    assert await place.store.list() == (KEY, "other/001-log.log")
    assert await place.store.list("other") == ("other/001-log.log",)
    assert await place.store.list("nobody") == ()
    assert (place.files / KEY).read_bytes() == body


async def test_something_larger_than_one_request_is_stored_whole(place: Place) -> None:
    body = os.urandom(12 * 1024 * 1024)
    await place.store.put(KEY, body)
    assert await place.store.get(KEY) == body
    with pytest.raises(DifferentContent):
        await place.store.put(KEY, body[1:])
    assert await place.store.get(KEY) == body


async def test_nothing_that_is_stored_is_overwritten(place: Place) -> None:
    await place.store.put(KEY, b"what was seen")
    with pytest.raises(
        DifferentContent, match=r"holds 13 other bytes already.*7 bytes were not stored"
    ) as caught:
        await place.store.put(KEY, b"forgery")
    assert KEY in caught.value.message
    assert await place.store.get(KEY) == b"what was seen"


async def test_storing_the_same_again_is_no_conflict(place: Place) -> None:
    """The answer to the first attempt may have been lost."""
    await place.store.put(KEY, b"what was seen")
    await place.store.put(KEY, b"what was seen")
    assert await place.store.list() == (KEY,)


async def test_of_many_writers_of_one_key_one_wins(place: Place) -> None:
    bodies = [f"writer {number}".encode() for number in range(16)]
    ends = await asyncio.gather(*(place.store.put(KEY, body) for body in bodies), return_exceptions=True)
    winners = [body for body, end in zip(bodies, ends, strict=True) if end is None]
    assert [await place.store.get(KEY)] == winners
    assert sum(isinstance(end, DifferentContent) for end in ends) == len(bodies) - 1


async def test_a_collection_sees_its_own_part_only(place: Place) -> None:
    one, two = place.store.below("chat/one"), place.store.below("chat/one-and-a-half")
    await one.put("000-pod.json", b"1")
    await two.put("000-pod.json", b"2")
    assert await one.list() == ("000-pod.json",)
    assert await one.get("000-pod.json") == b"1"
    assert one.location == f"{place.store.url}/chat/one"


async def test_a_store_without_conditional_writes_is_asked_before_it_is_written(
    server: s3.S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    server.bucket("unconditional")
    store = open_store("s3://unconditional", options(server, tmp_path))
    await store.put(KEY, b"what was seen")
    await store.put(KEY, b"what was seen")
    with pytest.raises(DifferentContent):
        await store.put(KEY, b"forgery")
    assert await store.get(KEY) == b"what was seen"


async def test_credentials_of_the_environment_are_used(
    server: s3.S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_access_key)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    server.bucket("environment")
    store = open_store("s3://environment", StoreOptions(endpoint=server.endpoint))
    await store.put(KEY, b"1")
    assert await store.list() == (KEY,)


async def test_credentials_that_were_replaced_are_read_again(
    server: s3.S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stanch.evidence.store._CREDENTIALS_SECONDS", 0)
    server.bucket("replaced")
    store = open_store("s3://replaced", options(server, tmp_path, secret="outdated"))
    with pytest.raises(StoreRefused):
        await store.put(KEY, b"1")
    options(server, tmp_path)
    await store.put(KEY, b"1")


# What goes wrong


async def test_wrong_credentials_are_told_and_not_shown(server: s3.S3, tmp_path: Path) -> None:
    server.bucket("locked")
    store = open_store("s3://locked/here", options(server, tmp_path, secret="wrong-and-very-private"))
    with pytest.raises(StoreRefused) as caught:
        await store.put(KEY, b"12345")
    error = caught.value
    assert error.reason == "EvidenceStoreDenied"
    assert f"s3://locked/here/{KEY}" in error.message
    assert "its 5 bytes were not stored. Check the credentials" in error.message
    for shown in (str(error), repr(store), repr(store.objects)):
        assert "wrong-and-very-private" not in shown
        assert server.access_key_id not in shown


async def test_missing_files_with_credentials_are_told(server: s3.S3, tmp_path: Path) -> None:
    store = open_store(
        "s3://locked", StoreOptions(endpoint=server.endpoint, credentials=tmp_path, timeout=1.0)
    )
    with pytest.raises(StoreRefused, match="access-key-id"):
        await store.put(KEY, b"1")


async def test_a_missing_bucket_is_an_error_not_an_absence(server: s3.S3, tmp_path: Path) -> None:
    store = open_store("s3://nowhere", options(server, tmp_path))
    for attempt in (store.put(KEY, b"1"), store.get(KEY), store.list()):
        with pytest.raises(StoreRefused, match=r"there is no such bucket.*Create it"):
            await attempt


async def test_a_server_that_is_away_may_be_tried_again(server: s3.S3, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    store = open_store("s3://away", options(server, tmp_path, endpoint=f"http://127.0.0.1:{port}"))
    with pytest.raises(StoreUnavailable, match=r"its 1 bytes were not stored; it is tried again") as caught:
        await store.put(KEY, b"1")
    assert isinstance(caught.value, Retry)
    assert "\n" not in caught.value.message


async def test_a_server_that_does_not_answer_is_not_waited_for_longer_than_allowed(
    server: s3.S3, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel connects, nobody answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_store("s3://silent", options(server, tmp_path, endpoint=endpoint))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await store.put(KEY, b"1")


async def test_a_file_in_the_way_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "chat").touch()
    store = open_store(f"file://{tmp_path}")
    with pytest.raises(StanchError, match="its 1 bytes were not stored"):
        await store.put(KEY, b"1")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/there",
        "s3://",
        "s3://bucket/a b",
        "s3://bucket/prefix?x=1",
        "https://bucket.example/prefix",
        "memory:///",
        "evidence",
        "file://host/directory",
        "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMIK7MDENG@bucket/prefix",
    ],
)
def test_a_url_that_is_none_is_refused_with_what_one_looks_like(url: str) -> None:
    with pytest.raises(StoreRefused, match="no evidence can be read or stored there") as caught:
        open_store(url)
    assert caught.value.reason == "InvalidEvidenceUrl"
    assert "wJalrXUtnFEMIK7MDENG" not in caught.value.message


def test_only_who_stores_makes_the_directory_and_only_for_itself(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/evidence"
    with pytest.raises(StoreRefused, match="Create the directory, or mount it"):
        open_store(url)
    open_store(url, create=True)
    assert (tmp_path / "evidence").stat().st_mode & 0o777 == 0o700
