"""CustomResourceDefinitions from the API types: pydantic's JSON Schema made structural.

A structural schema knows no `$ref`, no `anyOf` with types and no `null`
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stanch.api.v1alpha1.base import GROUP, VERSION
from stanch.api.v1alpha1.hold import ContainmentHold
from stanch.api.v1alpha1.incident import AIIncident
from stanch.api.v1alpha1.policy import ClusterContainmentPolicy, ContainmentPolicy

if TYPE_CHECKING:
    from stanch.api.resource import Column

Schema = dict[str, Any]


Kind = type[AIIncident | ContainmentPolicy | ClusterContainmentPolicy | ContainmentHold]
KINDS: tuple[Kind, ...] = (AIIncident, ContainmentPolicy, ClusterContainmentPolicy, ContainmentHold)

_FROM_THE_SERVER = ("apiVersion", "kind", "metadata")

UNSEEN = {"observedGeneration": -1}
"""Status of an object that nobody has looked at: kstatus takes one without any status for Current."""


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one kind."""
    resource = kind.resource
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": structural(kind)},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
    }
    if resource.status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "stanch"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(resource.short_names),
                "categories": ["stanch"],
            },
            "versions": [version],
        },
    }


def structural(kind: Kind) -> Schema:
    """The structural schema of one kind, from the object's root."""
    whole = kind.model_json_schema(by_alias=True)
    root = _structural(whole, whole.get("$defs", {}))
    for name in _FROM_THE_SERVER:
        root["properties"][name] = {"type": "object" if name == "metadata" else "string"}
    root["required"] = [name for name in root["required"] if name not in _FROM_THE_SERVER]
    if "status" in root["properties"]:
        _drop_defaults(root["properties"]["status"])
        root["properties"]["status"]["default"] = UNSEEN
    return root


def _structural(schema: Schema, definitions: Schema) -> Schema:
    schema = _collapsed(schema, definitions)
    for keyword in ("title", "$defs"):
        schema.pop(keyword, None)
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    # The server stores no empty ones: every apply would find a difference.
    schema = {
        key: value
        for key, value in schema.items()
        if key not in {"default", "properties"} or value not in (None, [], {})
    }
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(part, definitions) for name, part in schema["properties"].items()
        }
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            schema[keyword] = _structural(schema[keyword], definitions)
    if "type" not in schema and "x-kubernetes-int-or-string" not in schema:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _collapsed(schema: Schema, definitions: Schema) -> Schema:
    """`schema` with references inlined and `X or null` as X; what stands beside them wins."""
    schema = dict(schema)
    reference = schema.pop("$ref", None)
    if reference is not None:
        inlined: Schema = definitions[reference.removeprefix("#/$defs/")]
        return _collapsed(inlined | schema, definitions)
    alternatives = [part for part in schema.pop("anyOf", []) if part.get("type") != "null"]
    if not alternatives:
        return schema
    (only,) = alternatives
    return _collapsed(only | schema, definitions)


def _drop_defaults(schema: Schema) -> None:
    """The operator writes status whole; defaults there would only make it longer."""
    schema.pop("default", None)
    if "properties" in schema:
        for part in schema["properties"].values():
            _drop_defaults(part)
    for inside in ("items", "additionalProperties"):
        if isinstance(schema.get(inside), dict):
            _drop_defaults(schema[inside])


def _column(column: Column) -> Schema:
    entry: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    if column.wide:
        entry["priority"] = 1
    return entry
