from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import structlog

from stanch.errors import Forbidden, Gone, Unavailable
from stanch.kube.credentials import TokenCredentials, find_credentials
from stanch.kube.resources import SERVICEACCOUNTS, ObjectRef, Resource
from stanch.kube.scope import WHOLE_CLUSTER, Scope
from stanch.kube.transport import USER_AGENT, Json, Request, Timeouts, Transport, unfenced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from stanch.kube.scope import Place
    from stanch.kube.transport import Fence, Observed
    from stanch.settings import Settings

log = structlog.get_logger(__name__)

__all__ = ["FIELD_MANAGER", "Json", "Kube", "Objects"]

Objects = list[Json]

FIELD_MANAGER = "stanch"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
LIST_RESTARTS = 3

Propagation = Literal["Orphan", "Background", "Foreground"]


@dataclass(frozen=True, slots=True)
class Kube:
    """Kubernetes objects as JSON. Raises StanchError, and FenceLost from `fence` before a write.

    `fence` is asked directly before each request that stores something, and how long it may take. Of what is
    about a namespace outside of `scope` nothing is sent: that raises Forbidden.
    """

    transport: Transport
    fence: Fence = unfenced
    scope: Scope = WHOLE_CLUSTER

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        *,
        observe: Callable[[Observed], None] | None = None,
        user_agent: str = USER_AGENT,
    ) -> Self:
        """Find the cluster and read the credentials. Sends nothing. Raises Rejected if there are none."""
        transport = Transport(
            find_credentials(settings),
            Timeouts(settings.request_timeout, settings.connect_timeout),
            user_agent=user_agent,
        )
        if observe is not None:
            transport.observe = observe
        await transport.configuration()
        return cls(transport, scope=Scope.of(settings))

    def fenced(self, fence: Fence) -> Kube:
        """The same connections, but `fence` is asked before each write."""
        return replace(self, fence=fence)

    async def with_token(self, token: str) -> Kube:
        """The same server and CA as another user, over connections of its own: close it after use.

        The fence stays: who may not write may not write under another name either.
        """
        base = await self.transport.configuration()
        own = self.transport
        transport = Transport(TokenCredentials(base, token), own.timeouts, own.observe, own.user_agent)
        return replace(self, transport=transport)

    async def close(self) -> None:
        await self.transport.close()

    async def get(self, ref: ObjectRef) -> Json | None:
        """None if the object does not exist. Raises NotServed if the server does not know the resource."""
        what = f"get {ref}"
        return await self.transport.send(
            Request("get", ref.resource.key, what, "GET", self._path(what, ref), {}),
            before=unfenced,
            absent_is_none=True,
        )

    async def list(  # noqa: PLR0913 - the options of a list request
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page: int = 500,
        metadata_only: bool = False,
    ) -> Objects:
        """Every object, page by page; `apiVersion` and `kind` are filled in.

        A list token that expires between two pages restarts the list, so that the result is one state.
        With `metadata_only` nothing else leaves the API server: no Secret's data.

        Without a namespace: of all that are in scope. One that does not let the operator in is left out, and
        said in the log, as long as another does: who gives up a namespace ends nothing in the others.
        """
        accept = METADATA_ONLY if metadata_only else JSON
        places = self.scope.places(resource, namespace, field_selector)
        if len(places) == 1:
            return await self._list(resource, places[0], label_selector, page, accept)
        listed = await asyncio.gather(
            *(self._list(resource, place, label_selector, page, accept) for place in places),
            return_exceptions=True,
        )
        return _of_those_that_let_in(listed)

    async def _list(
        self, resource: Resource, place: Place, label_selector: str, page: int, accept: str
    ) -> Objects:
        selectors = {"labelSelector": label_selector, "fieldSelector": place.field_selector}
        query = {"limit": str(page)} | {name: value for name, value in selectors.items() if value}
        where = f" in {place.namespace}" if place.namespace else ""
        what = f"list {resource.key}{where}"
        self.scope.heed(what, resource, place.namespace, None)
        request = Request(
            "list", resource.key, what, "GET", resource.path(place.namespace), query, accept=accept
        )
        for _ in range(LIST_RESTARTS):
            try:
                return await self._pages(resource, request, query)
            except Gone:
                continue
        raise Unavailable(
            "Expired", f"{request.what}: the list expired {LIST_RESTARTS} times while reading it", 1.0
        )

    async def _pages(self, resource: Resource, request: Request, query: dict[str, str]) -> Objects:
        items: Objects = []
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        token = ""
        while True:
            paged = query | {"continue": token} if token else query
            answer = await self._read(replace(request, query=paged))
            # The items of a typed list do not say what they are, and those of metadata say something else.
            items += [head | item | head for item in answer.get("items") or []]
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    async def log(
        self, pod: ObjectRef, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> bytes:
        """The newest `tail_lines` of a container's log, each with its time, cut after `limit_bytes`.

        `previous`: of the instance before the last restart. Raises Invalid when there is no such instance or
        it has not started, Unavailable when the kubelet does not answer.
        """
        query = {
            "container": container,
            "previous": str(previous).lower(),
            "timestamps": "true",
            "tailLines": str(tail_lines),
            "limitBytes": str(limit_bytes),
        }
        what = f"get {'previous ' if previous else ''}log of container {container} of {pod}"
        request = Request("get", "pods/log", what, "GET", self._path(what, pod, "log"), query)
        return await self.transport.fetch(request, before=unfenced) or b""

    async def raw(self, path: str) -> Json:
        """A JSON document that is no object: `/version`, `/apis/apps/v1`."""
        return await self._read(Request("get", "nonresource", f"get {path}", "GET", path, {}))

    async def clock(self) -> datetime:
        """The API server's, in whole seconds. Raises StanchError."""
        return await self.transport.clock(
            Request("get", "nonresource", "get /version", "GET", "/version", {})
        )

    async def create(
        self, resource: Resource, namespace: str | None, body: Json, *, dry_run: bool = False
    ) -> Json:
        """Raises Conflict with reason AlreadyExists if the name is taken."""
        name = (body.get("metadata") or {}).get("name", "")
        where = f"{namespace}/{name}" if namespace else name
        what = f"create {resource.kind} {where}".rstrip()
        self.scope.heed(what, resource, namespace, name)
        return await self._write(
            Request(
                "create",
                resource.key,
                what,
                "POST",
                resource.path(namespace),
                _write_query(resource, dry_run=dry_run),
                body,
            ),
            dry_run=dry_run,
        )

    async def replace(self, ref: ObjectRef, body: Json, *, dry_run: bool = False) -> Json:
        """PUT. Raises Conflict if `body`'s resourceVersion is stale, ValueError if it has none.

        Of some kinds (Lease) an update creates an object that is gone, unless `body` has its uid.
        """
        return await self._put(ref, body, None, dry_run=dry_run)

    async def replace_status(self, ref: ObjectRef, body: Json) -> Json:
        """PUT of the status subresource. Raises Conflict if `body`'s resourceVersion is stale."""
        return await self._put(ref, body, "status", dry_run=False)

    async def _put(self, ref: ObjectRef, body: Json, subresource: str | None, *, dry_run: bool) -> Json:
        if not (body.get("metadata") or {}).get("resourceVersion"):
            raise ValueError(f"{ref}: an update without a resourceVersion would overwrite what others wrote")
        what = f"update {_named(ref, subresource)}"
        return await self._write(
            Request(
                "update",
                _resource_key(ref.resource, subresource),
                what,
                "PUT",
                self._path(what, ref, subresource),
                _write_query(ref.resource, dry_run=dry_run),
                body,
            ),
            dry_run=dry_run,
        )

    async def json_patch(
        self,
        ref: ObjectRef,
        ops: Sequence[Json],
        *,
        resource_version: str,
        dry_run: bool = False,
        subresource: str | None = None,
    ) -> Json:
        """RFC 6902 patch of exactly that `resource_version`. Raises Conflict if the object has moved on."""
        if not resource_version:
            raise ValueError(f"{ref}: a patch without a resourceVersion would overwrite what others wrote")
        # A written resourceVersion is a precondition for the server; `test` would answer 422 instead of 409.
        precondition = {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version}
        what = f"patch {_named(ref, subresource)}"
        return await self._write(
            Request(
                "patch",
                _resource_key(ref.resource, subresource),
                what,
                "PATCH",
                self._path(what, ref, subresource),
                _write_query(ref.resource, dry_run=dry_run),
                [precondition, *ops],
                JSON_PATCH,
            ),
            dry_run=dry_run,
        )

    async def delete(  # noqa: PLR0913 - the fields of metav1.DeleteOptions
        self,
        ref: ObjectRef,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
        dry_run: bool = False,
    ) -> None:
        """Already gone is fine. Raises Conflict if it is not the object of that uid or resource version."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {name: value for name, value in preconditions.items() if value is not None},
            "gracePeriodSeconds": grace_period_seconds,
            "propagationPolicy": propagation,
            # With a body the server ignores the query, so that dryRun must stand here.
            "dryRun": ["All"] if dry_run else None,
        }
        body = {name: value for name, value in options.items() if value not in (None, {})}
        what = f"delete {ref}"
        await self.transport.send(
            Request("delete", ref.resource.key, what, "DELETE", self._path(what, ref), {}, body),
            before=unfenced if dry_run else self.fence,
            absent_is_none=True,
        )

    async def create_token(self, namespace: str, service_account: str, *, expiration_seconds: int) -> str:
        """A bearer token of that ServiceAccount (TokenRequest). The server grants at least 600 seconds."""
        ref = ObjectRef(SERVICEACCOUNTS, namespace, service_account)
        what = f"create token of {ref}"
        answer = await self._write(
            Request(
                "create",
                "serviceaccounts/token",
                what,
                "POST",
                self._path(what, ref, "token"),
                {},
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": {"expirationSeconds": expiration_seconds},
                },
            ),
            dry_run=False,
        )
        token = (answer.get("status") or {}).get("token")
        if not isinstance(token, str) or not token:
            raise Unavailable("BadAnswer", f"{what}: the answer carries no token", 5.0)
        return token

    def _path(self, what: str, ref: ObjectRef, subresource: str | None = None) -> str:
        """Raises Forbidden for one out of scope."""
        self.scope.heed(what, ref.resource, ref.namespace, ref.name)
        return ref.path(subresource)

    async def _write(self, request: Request, *, dry_run: bool) -> Json:
        answer = await self.transport.send(request, before=unfenced if dry_run else self.fence)
        return answer or {}

    async def _read(self, request: Request) -> Json:
        return await self.transport.send(request, before=unfenced) or {}


def _of_those_that_let_in(listed: Sequence[Objects | BaseException]) -> Objects:
    """Raises what kept a list from being read, other than that it may not be; and that, when none may be."""
    lists = [one for one in listed if not isinstance(one, BaseException)]
    problems = [one for one in listed if isinstance(one, BaseException)]
    for problem in problems:
        if not isinstance(problem, Forbidden) or not lists:
            raise problem
        log.warning("a namespace is left out", reason=problem.reason, message=problem.message)
    return [item for items in lists for item in items]


def _write_query(resource: Resource, *, dry_run: bool) -> dict[str, str]:
    query = {"fieldManager": FIELD_MANAGER}
    if dry_run:
        query["dryRun"] = "All"
    if resource.group == "stanch.dev":
        # An older CRD would silently drop fields it does not know: a journal must fail loudly instead.
        query["fieldValidation"] = "Strict"
    return query


def _resource_key(resource: Resource, subresource: str | None) -> str:
    return f"{resource.key}/{subresource}" if subresource else resource.key


def _named(ref: ObjectRef, subresource: str | None) -> str:
    return f"{subresource} of {ref}" if subresource else str(ref)
