"""Where the server is and who we are there, from `kubernetes.aio.config`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME
from pydantic import BaseModel, Field

from stanch.errors import Rejected

if TYPE_CHECKING:
    from stanch.settings import Settings

# What the library raises over a file that is no kubeconfig, beside its own ConfigException.
_MALFORMED = (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError)

_LARGEST = 1_000_000
"""Values in a kubeconfig. One of a cluster has some twenty."""

BEARER = "BearerToken"  # the key of kubernetes.aio's api_key dictionary


class _Context(BaseModel):
    namespace: str = ""


class _NamedContext(BaseModel):
    name: str
    context: _Context = _Context()


class _Kubeconfig(BaseModel):
    """The part that says which namespace is meant where none is named."""

    current: str = Field(default="", alias="current-context")
    contexts: tuple[_NamedContext, ...] = ()


class Credentials(Protocol):
    async def load(self) -> Configuration:
        """Read everything anew: files, exec plugins. Raises Rejected if there is nothing usable."""
        ...


@dataclass(frozen=True, slots=True)
class KubeconfigCredentials:
    path: str
    context: str | None

    async def load(self) -> Configuration:
        paths = _existing(self.path)
        if not paths:
            raise Rejected(
                "NoKubeconfig",
                f"{self.path} does not exist; give --kubeconfig, set KUBECONFIG, or run in a cluster",
            )
        configuration = Configuration()
        try:
            for path in paths:
                _refuse_expanding(path)
            await load_kube_config(
                config_file=os.pathsep.join(paths),
                context=self.context,
                client_configuration=configuration,
                persist_config=False,
            )
        except (ConfigException, OSError, *_MALFORMED) as error:
            raise Rejected("BadKubeconfig", f"kubeconfig {self.path} cannot be used: {error}") from error
        return _by_itself(configuration)


@dataclass(frozen=True, slots=True)
class InClusterCredentials:
    """The mounted ServiceAccount token; the library's hook reads it again every minute."""

    async def load(self) -> Configuration:
        configuration = Configuration()
        try:
            await asyncio.to_thread(load_incluster_config, configuration)
        except (ConfigException, OSError) as error:
            raise Rejected(
                "BadServiceAccount", f"the pod's ServiceAccount cannot be used: {error}"
            ) from error
        return _by_itself(configuration)


@dataclass(frozen=True, slots=True)
class TokenCredentials:
    """The server of `base` as somebody else: its address and CA, not its token or certificate."""

    base: Configuration
    token: str

    async def load(self) -> Configuration:
        configuration = Configuration(
            host=self.base.host,
            api_key={BEARER: f"Bearer {self.token}"},
            ssl_ca_cert=self.base.ssl_ca_cert,
            ca_cert_data=self.base.ca_cert_data,
            verify_ssl=self.base.verify_ssl,
            tls_server_name=self.base.tls_server_name,
            proxy=self.base.proxy,
        )
        configuration.disable_strict_ssl_verification = self.base.disable_strict_ssl_verification
        return _by_itself(configuration)


def _by_itself(configuration: Configuration) -> Configuration:
    """With the proxy that HTTPS_PROXY and NO_PROXY ask for, where the kubeconfig names none.

    Left to look at the environment, aiohttp sends two jobs to a thread before each request, and refuses to
    send a token to a server that `~/.netrc` names as well.
    """
    url = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(url.hostname or ""):
        configuration.proxy = getproxies().get(url.scheme)
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


def _existing(search_path: str) -> list[str]:
    """The files of a kubeconfig search path that exist."""
    candidates = [Path(part).expanduser() for part in search_path.split(os.pathsep) if part]
    return [str(path) for path in candidates if path.is_file()]


def find_credentials(settings: Settings) -> Credentials:
    """An explicit kubeconfig first, then the pod we run in, then the user's own kubeconfig."""
    if settings.kubeconfig is not None:
        return KubeconfigCredentials(str(settings.kubeconfig), settings.context)
    named = os.environ.get("KUBECONFIG", "")
    if not named and os.environ.get(SERVICE_HOST_ENV_NAME) and Path(SERVICE_TOKEN_FILENAME).exists():
        return InClusterCredentials()
    return KubeconfigCredentials(named or "~/.kube/config", settings.context)


def namespace_of_context(settings: Settings) -> str | None:
    """What kubectl would use without `-n`: the context's namespace, or the pod's own. None if none is named.

    Raises Rejected if the kubeconfig cannot be read.
    """
    credentials = find_credentials(settings)
    if not isinstance(credentials, KubeconfigCredentials):
        return settings.namespace
    try:
        for path in _existing(credentials.path):
            _refuse_expanding(path)
        files = [_Kubeconfig.model_validate(_yaml(path)) for path in _existing(credentials.path)]
    except (OSError, *_MALFORMED) as error:
        raise Rejected("BadKubeconfig", f"kubeconfig {credentials.path} cannot be used: {error}") from error
    # Of several files the first that says something counts, as for kubectl.
    current = credentials.context or next((file.current for file in files if file.current), "")
    named = (each.context.namespace for file in files for each in file.contexts if each.name == current)
    return next(named, "") or None


def _yaml(path: str) -> object:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}


def _refuse_expanding(path: str) -> None:
    """Raises ValueError for a file that YAML's aliases make endless, which its readers would copy."""
    text = Path(path).read_text(encoding="utf-8")
    if "&" in text and _size(yaml.safe_load(text), {}) > _LARGEST:
        raise ValueError("its aliases expand to more than anybody wrote")


def _size(part: object, known: dict[int, int]) -> int:
    """How many values it has, were its aliases written out."""
    inside = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    if id(part) not in known:
        known[id(part)] = _LARGEST + 1  # of what contains itself
        known[id(part)] = 1 + sum(_size(each, known) for each in inside)
    return known[id(part)]


def fingerprint(configuration: Configuration) -> tuple[object, ...]:
    """Everything but the token: what a connection pool is bound to. Reads the certificate files."""

    def content(path: str | None) -> bytes:
        return Path(path).read_bytes() if path else b""

    return (
        configuration.host,
        configuration.verify_ssl,
        configuration.tls_server_name,
        configuration.proxy,
        configuration.ca_cert_data,
        content(configuration.ssl_ca_cert),
        content(configuration.cert_file),
        content(configuration.key_file),
    )


def is_anonymous(configuration: Configuration) -> bool:
    return not configuration.api_key.get(BEARER) and not configuration.cert_file
