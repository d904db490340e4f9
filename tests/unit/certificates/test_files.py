"""A certificate is renewed while the receiver runs: senders notice nothing but a new one."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sandbox.pki import Authority, KeyPair
from stanch.certificates.files import LOOK_SECONDS, CertificateFiles
from stanch.observability.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


UNUSABLE = "the receiver's certificate changed and cannot be used: the former one is served on"


@dataclass
class Mounted:
    """What the kubelet mounts: names that lead through ..data to one generation of a Secret."""

    directory: Path

    def swap(self, certificate: bytes, key: bytes) -> None:
        """As the kubelet does it: a new directory, and one rename that leads to it."""
        generation = self.directory / f"..{len(list(self.directory.iterdir()))}"
        generation.mkdir(parents=True)
        (generation / "tls.crt").write_bytes(certificate)
        (generation / "tls.key").write_bytes(key)
        (self.directory / "..new").symlink_to(generation.name)
        (self.directory / "..new").rename(self.directory / "..data")
        for file in ("tls.crt", "tls.key"):
            if not (self.directory / file).is_symlink():
                (self.directory / file).symlink_to(f"..data/{file}")

    def swap_pair(self, pair: KeyPair) -> None:
        self.swap(pair.certificate.read_bytes(), pair.key.read_bytes())


@dataclass
class Serving:
    """A listener whose senders trust `authority`. Its clock goes on by itself for no test."""

    mounted: Mounted
    authority: Authority
    first: KeyPair
    listener: Listener
    now: list[float]

    def later(self) -> None:
        self.now[0] += LOOK_SECONDS

    async def served(self, client: KeyPair | None = None) -> str:
        """The fingerprint of what a real handshake presents. Raises SSLError if that is not trusted,
        ConnectionError if the client is not."""
        context = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        if client is not None:
            context.load_cert_chain(client.certificate, client.key)
        reader, writer = await asyncio.open_connection("localhost", self.listener.port, ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        # With TLS 1.3 the client is done before the server has seen the client's certificate.
        answered = await reader.read()
        presented: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        if not answered.startswith(b"HTTP/1.1 404"):
            raise ConnectionError(answered)
        return hashlib.sha256(presented).hexdigest()


def fingerprint(pair: KeyPair) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())).hexdigest()


def issued(authority: Authority, name: str) -> KeyPair:
    return authority.server(name, ("localhost",), ("127.0.0.1",))


def rsa_pair(directory: Path) -> KeyPair:
    """Signed by nobody whom a sender trusts."""
    pair = KeyPair(directory / "rsa.crt", directory / "rsa.key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-config", "/dev/null"]
    command += ["-subj", "/CN=localhost", "-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return pair


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    authority = Authority.at(tmp_path / "pki", "ours")
    first = issued(authority, "first")
    mounted = Mounted(tmp_path / "mount")
    mounted.directory.mkdir()
    mounted.swap_pair(first)
    shutil.copy(authority.pair.certificate, tmp_path / "clients.crt")
    now = [0.0]
    files = CertificateFiles(
        mounted.directory / "tls.crt",
        mounted.directory / "tls.key",
        tmp_path / "clients.crt",
        clock=lambda: now[0],
    )
    listener = Listener(web.Application(), files.context)
    await listener.start("127.0.0.1", 0)
    try:
        yield Serving(mounted, authority, first, listener, now)
    finally:
        await listener.stop()


async def test_a_renewed_certificate_is_served_without_a_restart(serving: Serving) -> None:
    assert await serving.served() == fingerprint(serving.first)
    second = issued(serving.authority, "second")
    serving.mounted.swap_pair(second)
    serving.later()
    with capture_logs() as logs:
        assert await serving.served() == fingerprint(second)
    assert [line["event"] for line in logs] == ["the receiver's certificate was read again"]


async def test_files_that_are_written_in_place_are_seen_as_well(serving: Serving) -> None:
    second = issued(serving.authority, "second")
    for source, name in ((second.certificate, "tls.crt"), (second.key, "tls.key")):
        (serving.mounted.directory / name).write_bytes(source.read_bytes())
    serving.later()
    assert await serving.served() == fingerprint(second)


@pytest.mark.parametrize("broken", ["of another key", "half written", "empty", "not there"])
async def test_what_cannot_be_used_is_not_served_and_said_once(serving: Serving, broken: str) -> None:
    """The certificate comes first, its key later: in between the former pair goes on."""
    second = issued(serving.authority, "second")
    certificate, key = second.certificate.read_bytes(), second.key.read_bytes()
    former = serving.first.key.read_bytes()
    serving.mounted.swap(certificate, {"of another key": former, "half written": key[:90]}.get(broken, b""))
    if broken == "not there":
        (serving.mounted.directory / "..data" / "tls.key").unlink()
    with capture_logs() as logs:
        for _ in range(3):
            serving.later()
            assert await serving.served() == fingerprint(serving.first)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [UNUSABLE]
    assert key.decode() not in str(logs)

    serving.mounted.swap(certificate, key)
    serving.later()
    assert await serving.served() == fingerprint(second)


async def test_a_certificate_of_another_kind_of_key_takes_the_place_of_the_former_one(
    serving: Serving, tmp_path: Path
) -> None:
    """Loaded into one context, both would be there, and the sender would choose."""
    serving.mounted.swap_pair(rsa_pair(tmp_path))
    serving.later()
    with pytest.raises(ssl.SSLCertVerificationError):
        await serving.served()


async def test_a_client_ca_that_is_replaced_counts_at_the_next_handshake(
    serving: Serving, tmp_path: Path
) -> None:
    client = serving.authority.client("alertmanager", "alertmanager")
    assert await serving.served(client)
    theirs = Authority.at(tmp_path / "theirs", "theirs")
    shutil.copy(theirs.pair.certificate, tmp_path / "clients.crt")
    serving.later()
    with pytest.raises(ConnectionError):
        await serving.served(client)


def test_when_the_served_certificate_ends_is_known(tmp_path: Path) -> None:
    pair = issued(Authority.at(tmp_path / "pki", "ours"), "first")
    files = CertificateFiles(pair.certificate, pair.key)
    said = ssl.cert_time_to_seconds(_not_after(pair))
    assert files.ends == said > 0


def _not_after(pair: KeyPair) -> str:
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(pair.certificate)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().partition("=")[2]


def test_at_the_start_files_have_to_be_usable(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
