"""The operator makes the certificate of its receiver itself and renews it: no restart, and no sender refused.

Time does not wait here: a Secret as it would stand there after months is put in the place of the one that is.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from base64 import b64decode, b64encode
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stanch.certificates.keys import Keys, settle
from stanch.certificates.rotation import LEAF_LIFE
from tests.alerting import Receiver
from tests.installation import ROOT
from tests.integration.shell_process import OperatorProcess
from tests.operator_process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.installation import Installed, User

FOLDER = ROOT / "manifests" / "receiver-self-signed"
NAMESPACE, SECRET = "stanch-system", "stanch-receiver-tls"
SERVICE = f"stanch.{NAMESPACE}.svc"
NAMES = frozenset({SERVICE, f"{SERVICE}.cluster.local"})
DAY = timedelta(days=1)


@dataclass
class Replica:
    port: int
    process: OperatorProcess

    def served(self, authorities: str) -> x509.Certificate:
        """What a sender meets who trusts these, and asks for the Service by its name. Raises OSError."""
        trust = ssl.create_default_context(cadata=authorities)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            trust.wrap_socket(plain, server_hostname=SERVICE) as secured,
        ):
            presented = secured.getpeercert(binary_form=True)
            connection = http.client.HTTPConnection(SERVICE)
            connection.sock = secured
            connection.request("POST", "/alerts", b"{}")
            assert connection.getresponse().status == 401
        assert presented is not None
        return x509.load_der_x509_certificate(presented)


@dataclass
class Ground:
    admin: User
    replicas: list[Replica]

    @property
    def authorities(self) -> str:
        return b64decode(self._data().get("ca.crt", "")).decode()

    def _data(self) -> dict[str, str]:
        found: dict[str, str] = self.admin.get("secret", SECRET, "-n", NAMESPACE).get("data", {})
        return found

    def put(self, keys: Keys) -> str:
        """As the Secret would be by now. The authorities in it, as a sender has read them."""
        data = {name: b64encode(value).decode() for name, value in keys.wire().items()}
        # `kubectl replace` would say that it was applied like this.
        all_of_it = json.dumps([{"op": "add", "path": "/data", "value": data}])
        self.admin("patch", "secret", SECRET, "-n", NAMESPACE, "--type=json", "-p", all_of_it)
        return keys.wire()["ca.crt"].decode()

    def both_serve(self, authorities: str, other_than: x509.Certificate | None = None) -> x509.Certificate:
        """One certificate, wherever the Service leads to, once both have looked at the Secret."""
        seen: list[object] = []

        def looked() -> bool:
            try:
                seen[:] = [replica.served(authorities) for replica in self.replicas]
            except OSError as error:  # before there is one, connections are closed
                seen[:] = [error]
                return False
            return len(set(seen)) == 1 and seen[0] != other_than

        eventually(looked, "both replicas serve one certificate that is trusted", seen=lambda: str(seen))
        (certificate,) = set(seen)
        assert isinstance(certificate, x509.Certificate)
        return certificate


@pytest.fixture(scope="module")
def ground(stanch_installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two replicas, with the rights that are shipped, and a Secret that is empty when they start.

    One acts in the whole cluster, the other in one namespace, and that is not the Secret's.
    """
    admin, directory = stanch_installed.admin, tmp_path_factory.mktemp("receiver")
    files = [f"--filename={FOLDER / name}" for name in ("rights.yaml", "secret.yaml")]
    admin("apply", *files)
    stanch_installed.operator.until_may("update", f"secrets/{SECRET}", NAMESPACE)
    kubeconfig = stanch_installed.cluster.kubeconfig_for_service_account(NAMESPACE, "stanch")
    replicas = []
    with ExitStack() as running:
        for identity, scope in (("one", {}), ("two", {"namespaces": "chat"})):
            reserved = Receiver.reserve(directory / identity)
            process = OperatorProcess(
                kubeconfig,
                NAMESPACE,
                directory / f"{identity}.log",
                identity=identity,
                settings={
                    "receiver_port": str(reserved.endpoint.port),
                    "receiver_tls_secret": SECRET,
                    "receiver_tls_seconds": "0.3",
                    "signal_credentials_file": str(reserved.credentials),
                    **scope,
                },
            )
            replicas.append(Replica(reserved.endpoint.port, running.enter_context(process)))
        yield Ground(admin, replicas)
    admin("delete", *files)


def made(ago: timedelta, *later: timedelta) -> Keys:
    """A Secret that was empty so long ago, looked at then and so much later."""
    begun = datetime.now(UTC).replace(microsecond=0) - ago
    keys, _ = settle(Keys(), NAMES, begun)
    for each in later:
        keys, _ = settle(keys, NAMES, begun + each)
    return keys


def test_from_an_empty_secret_on_senders_are_answered(ground: Ground) -> None:
    eventually(lambda: ground.authorities != "", "there is an authority to trust")
    certificate = ground.both_serve(ground.authorities)
    assert certificate.not_valid_after_utc - datetime.now(UTC) > LEAF_LIFE - DAY
    logged = "".join(replica.process.logged for replica in ground.replicas)
    assert logged.count("certificates of the receiver were made") == 1, "the second one found it made"
    assert "Forbidden" not in logged


def test_a_certificate_close_to_its_end_is_renewed_and_who_has_read_the_authority_still_connects(
    ground: Ground,
) -> None:
    before = made(65 * DAY)
    read_then = ground.put(before)
    certificate = ground.both_serve(read_then, other_than=before.certificate)
    assert certificate.not_valid_after_utc - datetime.now(UTC) > LEAF_LIFE - DAY
    assert ground.authorities == read_then


def test_the_next_authority_takes_over_and_who_knows_both_or_only_the_new_one_connects(
    ground: Ground,
) -> None:
    before = made(1015 * DAY, 740 * DAY, 960 * DAY)
    read_then = ground.put(before)
    certificate = ground.both_serve(read_then, other_than=before.certificate)
    _, following = x509.load_pem_x509_certificates(read_then.encode())
    assert certificate.issuer == following.subject
    assert ground.authorities == read_then, "what a replica that is late serves is trusted as well"
    ground.both_serve(following.public_bytes(Encoding.PEM).decode())


def test_applying_the_manifests_again_leaves_what_is_in_the_secret(ground: Ground) -> None:
    certificate = ground.both_serve(ground.authorities)
    read = ground.authorities
    ground.admin("apply", "-f", str(FOLDER / "secret.yaml"))
    assert ground.authorities == read
    assert ground.both_serve(read) == certificate


def test_without_the_secret_what_is_served_goes_on_and_the_log_says_what_to_do(
    ground: Ground,
) -> None:
    read = ground.authorities
    certificate = ground.both_serve(read)
    ground.admin("delete", "secret", SECRET, "-n", NAMESPACE)
    for replica in ground.replicas:
        replica.process.waits_for_log("does not exist, and the operator may not create it")
        assert replica.served(read) == certificate
    ground.admin("apply", "-f", str(FOLDER / "secret.yaml"))
    eventually(lambda: ground.authorities not in {"", read}, "there is another authority to trust")
    ground.both_serve(ground.authorities)
