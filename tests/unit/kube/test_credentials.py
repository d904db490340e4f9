from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stanch.errors import Rejected
from stanch.kube.client import Kube
from stanch.kube.credentials import (
    InClusterCredentials,
    KubeconfigCredentials,
    TokenCredentials,
    find_credentials,
)
from stanch.kube.resources import PODS
from stanch.settings import Settings
from tests.unit.kube.fake_api_server import fake_api_server

if TYPE_CHECKING:
    from pathlib import Path

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: c, cluster: {server: "http://127.0.0.1:1"}}
users:
- {name: u, user: {token: sesame}}
contexts:
- {name: one, context: {cluster: c, user: u}}
- {name: other, context: {cluster: missing, user: u}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


async def test_a_kubeconfig_says_where_and_who(kubeconfig: Path) -> None:
    configuration = await KubeconfigCredentials(str(kubeconfig), None).load()
    assert configuration.host == "http://127.0.0.1:1"
    assert configuration.api_key == {"BearerToken": "Bearer sesame"}


async def test_no_kubeconfig_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"does not exist; give --kubeconfig"):
        await Kube.connect(Settings(kubeconfig=tmp_path / "missing"))


@pytest.mark.parametrize("context", ["other", "nowhere"])
async def test_a_broken_context_is_told(kubeconfig: Path, context: str) -> None:
    with pytest.raises(Rejected, match="cannot be used"):
        await KubeconfigCredentials(str(kubeconfig), context).load()


@pytest.mark.parametrize("content", ["", "[]", "{{{", "apiVersion: v1"])
async def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(Rejected, match="cannot be used"):
        await KubeconfigCredentials(str(path), None).load()


@pytest.fixture
def kubeconfig_with_plugin(kubeconfig: Path) -> Path:
    plugin = kubeconfig.with_name("plugin")
    plugin.write_text(
        "#!/bin/sh\n"
        'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",'
        ' "status": {"token": "from-plugin"}}\'\n'
    )
    plugin.chmod(0o755)
    kubeconfig.write_text(
        KUBECONFIG.replace(
            "{token: sesame}",
            f"{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin}}}}}",
        )
    )
    return kubeconfig


async def test_an_exec_plugin_yields_the_token(kubeconfig_with_plugin: Path) -> None:
    configuration = await KubeconfigCredentials(str(kubeconfig_with_plugin), None).load()
    assert configuration.api_key == {"BearerToken": "Bearer from-plugin"}


def test_an_explicit_kubeconfig_wins_over_the_environment(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")
    assert find_credentials(Settings()) == KubeconfigCredentials("/elsewhere", None)
    explicit = Settings(kubeconfig=kubeconfig, context="one")
    assert find_credentials(explicit) == KubeconfigCredentials(str(kubeconfig), "one")


def test_in_a_pod_its_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setattr("stanch.kube.credentials.SERVICE_TOKEN_FILENAME", str(token))
    assert find_credentials(Settings()) == InClusterCredentials()


def _says(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("environment", "named", "used"),
    [
        ({"http_proxy": "http://proxy:3128"}, None, "http://proxy:3128"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "127.0.0.1"}, None, None),
        ({"http_proxy": "http://proxy:3128"}, "http://own:1", "http://own:1"),
        ({"https_proxy": "http://proxy:3128"}, None, None),
        ({}, None, None),
    ],
    ids=["of the environment", "not for this server", "the kubeconfig's own", "for another scheme", "none"],
)
async def test_a_proxy_is_found_when_credentials_are_read_and_told_to_whoever_has_them(
    kubeconfig: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    named: str | None,
    used: str | None,
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if named:
        _says(kubeconfig, KUBECONFIG.replace('1:1"}', f'1:1", proxy-url: "{named}"}}'))
    configuration = await KubeconfigCredentials(str(kubeconfig), None).load()
    assert configuration.proxy == used
    assert (await TokenCredentials(configuration, "other").load()).proxy == used


async def test_who_we_are_says_the_kubeconfig_whatever_a_netrc_says(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    _says(netrc, "default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with fake_api_server() as server:
        _says(kubeconfig, KUBECONFIG.replace("http://127.0.0.1:1", server.url))
        kube = await Kube.connect(Settings(kubeconfig=kubeconfig))
        try:
            await kube.list(PODS, "chat")
        finally:
            await kube.close()
        assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer sesame"]
