from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import kopf
from kubernetes.aio.client import Configuration

from stanch.handlers.enqueue import Enqueue
from stanch.handlers.login import EXPIRATION, Pace, connection, session
from stanch.handlers.watches import kopf_settings, register
from stanch.sweep import open_keys

if TYPE_CHECKING:
    from stanch.kube.resources import ObjectRef, Resource
    from stanch.queue import Key


class Nowhere:
    async def load(self) -> Configuration:
        return Configuration(host="http://127.0.0.1:1")


def ignore_incident(_key: Key) -> None: ...


def ignore_workload(_resource: Resource, _namespace: str, _name: str) -> None: ...


def ignore_policy(_policy: ObjectRef) -> None: ...


def test_handlers_only_listen() -> None:
    """No change handlers, daemons or timers: Kopf never writes a finalizer or an annotation."""
    registry = kopf.OperatorRegistry()
    register(registry, Nowhere(), Enqueue(ignore_incident, ignore_workload, ignore_policy))
    assert sorted(handler.id for handler in registry._watching.get_all_handlers()) == [
        "aiincident-seen",
        "clustercontainmentpolicies-seen",
        "containmentpolicies-seen",
        "held-cronjobs-seen",
        "held-daemonsets-seen",
        "held-deployments-seen",
        "held-jobs-seen",
        "held-networkpolicies-seen",
        "held-pods-seen",
        "held-replicasets-seen",
        "held-statefulsets-seen",
        "hold-seen",
    ]
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()


def test_the_api_server_filters_workloads_for_us() -> None:
    settings = kopf_settings(request_timeout=30, connect_timeout=5)
    selectors = settings.watching.label_selectors
    assert selectors["apps", "v1", "deployments"] == "stanch.dev/held=true"
    assert len(selectors) == 7
    assert not settings.posting.enabled
    assert settings.peering.standalone


def test_kopf_logs_in_as_we_do() -> None:
    configuration = Configuration(
        host="https://10.96.0.1:443",
        api_key={"BearerToken": "bearer sesame\n"},
        ssl_ca_cert="/ca.crt",
        cert_file="/tls.crt",
        key_file="/tls.key",
    )
    info = connection(configuration)
    assert info.as_http_headers() == {"Authorization": "bearer sesame"}
    assert (info.server, info.ca_path, info.certificate_path, info.private_key_path, info.insecure) == (
        "https://10.96.0.1:443",
        "/ca.crt",
        "/tls.crt",
        "/tls.key",
        False,
    )
    assert connection(Configuration(host="http://127.0.0.1:1")).as_http_headers() == {}


async def test_the_login_expires_before_a_token_does() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    made = session(connection(Configuration(host="http://127.0.0.1:1")), Pace(), now)
    await made.aiohttp_session.close()
    assert made.expiration == now + EXPIRATION
    assert made.server == "http://127.0.0.1:1"


def test_the_sweep_leaves_out_only_what_is_closed_for_good_and_what_nobody_has_seen_comes_first() -> None:
    def incident(name: str, generation: int = 1, **status: object) -> dict[str, dict[str, object]]:
        meta: dict[str, object] = {"namespace": "chat", "name": name, "generation": generation}
        return {"metadata": meta} | ({"status": status} if status else {})

    deleted = {
        "metadata": {"namespace": "chat", "name": "deleted", "deletionTimestamp": "2026-03-01T12:00:00Z"},
        "status": {"phase": "Closed"},
    }
    found = open_keys(
        [
            incident("new"),
            incident("contained", phase="Contained", observedGeneration=1),
            incident("edited", 2, phase="Contained", observedGeneration=1),
            incident("closed", phase="Closed", observedGeneration=1),
            deleted,
        ]
    )
    assert [key.name for key in found.at_once] == ["new", "edited", "deleted"]
    assert [key.name for key in found.by_the_way] == ["contained"]
