"""Kubernetes objects and logs without the credentials in them. Pure.

The values of Secrets are never kept. Of other objects literal values that look like credentials are replaced,
see `names` and `shapes`; references stay, and so does everything else, byte by byte.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from stanch.evidence import names
from stanch.evidence.shapes import Redaction, distinctive, says_nothing

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

# Fields whose values are names, given by people or by Kubernetes, never credentials.
_IDENTITIES = frozenset(
    {
        "apiVersion",
        "containerID",
        "generateName",
        "image",
        "imageID",
        "kind",
        "name",
        "namespace",
        "nodeName",
        "uid",
    }
)
# Fields of custom resources that hold a credential. Not `secretName` and the like: those are references.
_CREDENTIALS = frozenset(
    {"accessKey", "apiKey", "authToken", "bearerToken", "clientSecret", "connectionString", "passphrase"}
    | {"passwd", "password", "privateKey", "secretAccessKey", "secretKey", "token"}
)
_COMMAND_LINES = frozenset({"args", "command"})
_FREE_PARAMETERS = frozenset({"options", "parameters", "volumeAttributes"})
_MAX_DEPTH = 64


def credentials_in(objects: Iterable[Json]) -> frozenset[str]:
    """Values that the objects call credentials and that are unlike anything else: to be found in logs."""
    redaction = Redaction()
    for body in objects:
        redact_object(body, redaction)
    return distinctive(redaction.named)


def redact_object(body: Json, redaction: Redaction) -> Json:
    """A copy of any JSON object as the API server gives it, Secrets, lists and custom resources included."""
    return _Objects(redaction).object(body, 0)


def redact_log(body: bytes, redaction: Redaction) -> bytes:
    """What is no UTF-8 stays as it is."""
    return redaction.text(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


class _Objects:
    def __init__(self, redaction: Redaction) -> None:
        self.redaction = redaction

    def object(self, body: Json, depth: int) -> Json:
        if body.get("kind") == "Secret" and body.get("apiVersion", "v1") == "v1":
            return self.secret(body, depth)
        if _is_literal(body):
            return {key: self.literal(body, key, value, depth) for key, value in body.items()}
        return {key: self.field(key, value, depth) for key, value in body.items()}

    def secret(self, body: Json, depth: int) -> Json:
        """Metadata, type, and of each value its name and its size in bytes, as `keys`."""
        kept = {
            key: self.field(key, value, depth)
            for key, value in body.items()
            if key in {"apiVersion", "kind", "metadata", "type", "immutable"}
        }
        sizes = {key: size for key, size in _members(body.get("keys")) if isinstance(size, int)}
        found = {
            key: _size(value, encoded=part == "data")
            for part in ("data", "stringData")
            for key, value in _members(body.get(part))
        }
        self.redaction.count += len(found)
        return {**kept, "keys": sizes | found}

    def literal(self, body: Json, key: str, value: Any, depth: int) -> Any:
        """`{name, value}`: a variable, an HTTP header, a parameter."""
        if key != "value" or not names.is_credential(body["name"], value):
            return self.field(key, value, depth)
        return self.redaction.named_value(value)

    def field(self, key: str, value: Any, depth: int) -> Any:
        if key in _IDENTITIES and isinstance(value, str):
            return value
        if key in _CREDENTIALS and isinstance(value, str):
            return self.redaction.named_value(value)
        if key in _COMMAND_LINES and isinstance(value, list):
            return self.command_line(value, depth)
        if key in _FREE_PARAMETERS and isinstance(value, dict):
            return self.settings(value, depth)
        return self.value(value, depth)

    def value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value, depth)
        if depth > _MAX_DEPTH:
            return self.redaction.named_value(json.dumps(value)) if isinstance(value, dict | list) else value
        if isinstance(value, dict):
            return self.object(value, depth + 1)
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        return value

    def text(self, text: str, depth: int) -> str:
        """JSON inside, such as kubectl's last-applied-configuration, is redacted as what it is."""
        if text.lstrip()[:1] not in {"{", "["}:
            return self.redaction.text(text)
        try:
            parsed = json.loads(text, object_pairs_hook=_unambiguous)
        except (ValueError, RecursionError):
            return self.redaction.text(text)
        before = self.redaction.count
        is_object = isinstance(parsed, dict) and "kind" in parsed
        redacted = self.value(parsed, depth + 1) if is_object else self.setting(parsed, depth + 1)
        if self.redaction.count == before:
            return text
        return json.dumps(redacted, separators=(",", ":"), ensure_ascii=False)

    def command_line(self, words: list[Any], depth: int) -> list[Any]:
        """`--api-key VALUE` and `--api-key=VALUE`, and the scripts of `sh -c`."""
        redacted: list[Any] = []
        flag, several = "", False
        for word in words:
            if not isinstance(word, str):
                redacted.append(self.value(word, depth + 1))
            elif word.startswith("-") or not flag:
                redacted.append(self.word(word, depth))
                flag = word if word.startswith("-") and "=" not in word and names.is_credential(word) else ""
                several = bool(flag) and names.takes_several_values(flag)
            else:
                credential = names.is_credential(flag, word)
                redacted.append(self.redaction.named_value(word) if credential else self.word(word, depth))
                flag = flag if several else ""
        return redacted

    def word(self, word: str, depth: int) -> str:
        name, given, value = word.partition("=")
        one_setting = given and not any(character.isspace() for character in name)
        if one_setting and names.is_credential(name, value) and not says_nothing(value):
            return f"{name}={self.redaction.named_value(value)}"
        return self.text(word, depth)

    def settings(self, members: Json, depth: int) -> Json:
        """Free-form configuration: a name and its value."""
        return {key: self.setting(value, depth + 1, key) for key, value in members.items()}

    def setting(self, value: Any, depth: int, name: str = "") -> Any:
        if isinstance(value, str):
            return (
                self.redaction.named_value(value)
                if names.is_credential(name, value)
                else self.text(value, depth)
            )
        if depth > _MAX_DEPTH or not isinstance(value, dict | list):
            return self.value(value, depth)
        if isinstance(value, dict):
            return self.object(value, depth) if _is_literal(value) else self.settings(value, depth)
        return [self.setting(item, depth + 1, name) for item in value]


def _unambiguous(pairs: list[tuple[str, Any]]) -> Json:
    """Of a name that is there twice JSON keeps the second value, and the text keeps both."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name is there twice")
    return members


def _is_literal(body: Json) -> bool:
    return isinstance(body.get("name"), str) and isinstance(body.get("value"), str)


def _members(part: Any) -> Iterable[tuple[str, Any]]:
    return part.items() if isinstance(part, dict) else ()


def _size(value: Any, *, encoded: bool) -> int:
    """Bytes of a Secret's value. 0 for what the API server would not have accepted."""
    if not isinstance(value, str):
        return 0
    if not encoded:
        return len(value.encode("utf-8", "surrogatepass"))
    try:
        return len(base64.b64decode(value, validate=True))
    except binascii.Error:
        return 0
