"""What the operator is granted is declared once, in full, and each right says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from stanch.granted.core import AT_HOME, EVERYWHERE, RECEIVER_TLS
from stanch.granted.generate import drifted
from stanch.granted.manifests import manifests
from stanch.granted.model import Right, Switch
from stanch.granted.namespaced import in_each, of_the_cluster
from stanch.granted.reference import reference
from stanch.granted.switches import SWITCHES
from stanch.kube.resources import DEPLOYMENTS, PODS

ROOT = Path(__file__).resolve().parents[3]
OF_SWITCHES = [right for switch in SWITCHES for right in switch.rights]


def test_manifests_and_reference_are_what_the_code_says() -> None:
    assert drifted(ROOT) == []


@pytest.mark.parametrize("rights", [EVERYWHERE, AT_HOME], ids=["everywhere", "at home"])
def test_no_right_is_granted_twice(rights: tuple[Right, ...]) -> None:
    """Taking one away would take nothing away."""
    each = Counter(
        (right.plural(resource), resource.group, verb, right.names)
        for right in rights
        for resource in right.resources
        for verb in right.verbs
    )
    assert [right for right, times in each.items() if times > 1] == []


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.value)
def test_what_is_optional_is_not_granted_otherwise(switch: Switch) -> None:
    always = {(plural, verb) for right in EVERYWHERE for plural, verb in pairs(right)}
    assert not always & {pair for right in switch.rights for pair in pairs(right)}


def pairs(right: Right) -> set[tuple[str, str]]:
    return {(right.plural(resource), verb) for resource in right.resources for verb in right.verbs}


def test_bind_is_limited_to_names() -> None:
    """Without, the operator could give anybody anything."""
    assert [right.names for right in OF_SWITCHES if "bind" in right.verbs] != []
    assert all(right.names for right in (*EVERYWHERE, *OF_SWITCHES) if "bind" in right.verbs)


def test_nothing_is_granted_by_a_wildcard() -> None:
    for content in manifests().values():
        for document in yaml.safe_load_all(content):
            for rule in document.get("rules", []):
                assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}


def test_a_rule_is_about_one_group() -> None:
    with pytest.raises(ValueError, match="one API group"):
        Right("Mixed up.", ("get",), (PODS, DEPLOYMENTS))


def test_the_reference_has_every_right_and_every_reason() -> None:
    page = reference()
    for right in (*EVERYWHERE, *AT_HOME, *RECEIVER_TLS, *OF_SWITCHES):
        assert right.why in page
        assert all(f"`{right.plural(resource)}`" in page for resource in right.resources)


def test_in_some_namespaces_nothing_is_granted_that_the_whole_cluster_does_not_grant() -> None:
    left = (*in_each(), *of_the_cluster(("chat",), "stanch-system"))
    everywhere = {pair for right in EVERYWHERE for pair in pairs(right)}
    assert {pair for right in left for pair in pairs(right)} <= everywhere
    missing = everywhere - {pair for right in left for pair in pairs(right)}
    bindings = {(plural, verb) for plural in BINDINGS for verb in ("get", "patch")}
    assert missing == bindings | {("subjectaccessreviews", "create")}


BINDINGS = ("clusterrolebindings", "rolebindings")


def test_in_some_namespaces_the_cluster_s_own_objects_are_only_read_but_for_those_namespaces() -> None:
    for right in of_the_cluster(("chat",), "stanch-system"):
        assert not any(resource.namespaced for resource in right.resources)
        writes = set(right.verbs) - {"get", "list", "watch"}
        assert not writes or right.subresource == "status" or right.names == ("chat", "stanch-system")
    assert all(resource.namespaced for right in in_each() for resource in right.resources)
