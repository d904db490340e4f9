"""Which workload the labels of a signal name, and what is never taken for a name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.signals.intake.declined import Declined
from stanch.signals.intake.grading import fired
from stanch.signals.intake.placing import namespace_by_policy, told_namespace
from stanch.signals.intake.targets import NamedBy, Naming, namespace_of, naming_of
from stanch.signals.model import Speaker
from tests.unit.signals.made import ANYBODY, CHAT_ONLY, HOSTILE, armed_by, signal, trigger

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def read(labels: dict[str, str]) -> tuple[str | None, Naming]:
    return namespace_of(labels), naming_of(labels)


def refusal(labels: dict[str, str]) -> Declined:
    with pytest.raises(Declined) as caught:
        read(labels)
    return caught.value


@pytest.mark.parametrize(
    ("labels", "namespace"),
    [
        ({"namespace": "chat"}, "chat"),
        ({"stanch_namespace": "chat", "namespace": "monitoring"}, "chat"),
        ({"exported_namespace": "chat"}, "chat"),
        ({"namespace": "chat", "exported_namespace": "kube-system"}, "chat"),
        ({"k8s_ns_name": "chat"}, "chat"),
        ({"k8s_namespace_name": "chat"}, "chat"),
        ({"kubernetes_namespace": "chat"}, "chat"),
        ({"namespace": "", "exported_namespace": "chat"}, "chat"),
        ({"job": "chat", "service": "chat"}, None),
        ({}, None),
    ],
)
def test_the_namespace_is_what_was_discovered_before_what_a_process_says(
    labels: dict[str, str], namespace: str | None
) -> None:
    assert namespace_of(labels) == namespace


@pytest.mark.parametrize(
    "forged", ["Chat", "a.b", "a/b", "-a", "a" * 64, "chat\n", "../kube-system", "ch at"]
)
def test_what_cannot_be_a_namespace_is_refused(forged: str) -> None:
    assert refusal({"namespace": forged}).reason == "NamespaceInvalid"


def names(labels: dict[str, str]) -> list[str]:
    return [f"{one.kind}/{one.name}" for one in naming_of(labels).objects]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"deployment": "llm"}, ["Deployment/llm"]),
        ({"exported_deployment": "llm"}, ["Deployment/llm"]),
        ({"k8s_deployment_name": "llm"}, ["Deployment/llm"]),
        ({"statefulset": "llm"}, ["StatefulSet/llm"]),
        ({"daemonset": "llm"}, ["DaemonSet/llm"]),
        ({"cronjob": "nightly"}, ["CronJob/nightly"]),
        ({"job_name": "train"}, ["Job/train"]),
        ({"replicaset": "llm-abc"}, ["ReplicaSet/llm-abc"]),
        ({"workload": "llm", "workload_type": "deployment"}, ["Deployment/llm"]),
        ({"workload": "llm", "workload_type": "StatefulSet"}, ["StatefulSet/llm"]),
        ({"workload": "llm", "workload_type": "staticpod"}, []),
        ({"workload": "llm"}, []),
        ({"pod": "llm-0"}, ["Pod/llm-0"]),
        ({"exported_pod": "llm-0"}, ["Pod/llm-0"]),
        ({"k8s_pod_name": "llm-0"}, ["Pod/llm-0"]),
        ({"pod": "llm-0", "exported_pod": "other"}, ["Pod/llm-0"]),
        ({"stanch_kind": "Deployment", "stanch_name": "llm"}, ["Deployment/llm"]),
        ({"stanch_kind": "deployment", "stanch_name": "llm"}, ["Deployment/llm"]),
    ],
)
def test_the_field_s_labels_name_workloads(labels: dict[str, str], found: list[str]) -> None:
    assert names(labels) == found


@pytest.mark.parametrize(
    "label", ["job", "instance", "service", "container", "endpoint", "model_name", "app"]
)
def test_who_was_scraped_is_never_the_target(label: str) -> None:
    assert naming_of({label: "llm"}).by is NamedBy.NOTHING


def test_explicit_labels_beat_known_ones_and_those_beat_the_pod() -> None:
    everything = {
        "stanch_kind": "StatefulSet",
        "stanch_name": "chosen",
        "deployment": "llm",
        "pod": "kube-state-metrics-0",
    }
    assert names(everything) == ["StatefulSet/chosen"]
    del everything["stanch_kind"], everything["stanch_name"]
    assert names(everything) == ["Deployment/llm"]
    del everything["deployment"]
    assert naming_of(everything).by is NamedBy.POD


def test_several_labels_of_one_level_are_all_named_for_the_cluster_to_tell() -> None:
    assert names({"deployment": "a", "statefulset": "b", "workload": "c", "workload_type": "daemonset"}) == [
        "Deployment/a",
        "StatefulSet/b",
        "DaemonSet/c",
    ]


@pytest.mark.parametrize(
    "labels",
    [
        {"stanch_kind": "Deployment"},
        {"stanch_name": "llm"},
        {"stanch_kind": "Pod", "stanch_name": "llm-0"},
        {"stanch_kind": "Secret", "stanch_name": "token"},
        {"stanch_kind": "Deployment", "stanch_name": "../secrets/token"},
        {"deployment": "LLM"},
        {"deployment": "a" * 254},
        {"pod": "llm?x=1"},
        {"pod": "llm-0\n"},
    ],
)
def test_what_cannot_be_a_target_is_refused_and_not_passed_over(labels: dict[str, str]) -> None:
    """Passed over, a worse label would choose the target in its place."""
    assert refusal({**labels, "namespace": "chat"}).reason == "TargetInvalid"


def test_a_refusal_shows_what_was_there_without_letting_it_through() -> None:
    said = refusal({"deployment": "\x1b[2Jx\n" + "y" * 5000}).message

    assert "label deployment" in said
    assert len(said) < 300
    assert said.isprintable()


@given(
    st.dictionaries(
        st.sampled_from(
            ["namespace", "stanch_namespace", "exported_namespace", "deployment", "pod", "stanch_kind"]
        ),
        HOSTILE,
    )
)
def test_whatever_labels_say_only_names_come_out(labels: dict[str, str]) -> None:
    try:
        namespace, naming = read(labels)
    except Declined:
        assert refusal(labels).message.isprintable()
        return
    assert namespace is None or DNS_LABEL.fullmatch(namespace)
    assert all(DNS_SUBDOMAIN.fullmatch(one.name) for one in naming.objects)


def test_a_speaker_speaks_for_its_namespaces_alone() -> None:
    assert told_namespace(signal(), CHAT_ONLY) == "chat"
    with pytest.raises(Declined) as caught:
        told_namespace(signal(labels={"namespace": "bank"}), CHAT_ONLY)
    assert caught.value.reason == "NamespaceNotAllowed"
    assert "chat-team may not speak for namespace bank" in caught.value.message


def test_without_a_namespace_label_the_policy_s_own_is_meant() -> None:
    assert namespace_by_policy(armed_by(trigger()), CHAT_ONLY) == "chat"
    with pytest.raises(Declined, match="NamespaceNotAllowed"):
        namespace_by_policy(armed_by(trigger()), Speaker("bank", frozenset({"bank"})))


def test_policies_of_two_namespaces_leave_a_doubt() -> None:
    both = [*armed_by(trigger()), *armed_by(trigger(), metadata={"namespace": "bank", "uid": "other"})]

    with pytest.raises(Declined, match="TargetAmbiguous"):
        namespace_by_policy(both, ANYBODY)
    with pytest.raises(Declined, match="TargetUnknown"):
        namespace_by_policy([], ANYBODY)


@given(
    st.dictionaries(
        st.sampled_from(["namespace", "stanch_namespace", "exported_namespace", "k8s_ns_name", "job"]),
        st.one_of(HOSTILE, st.sampled_from(["chat", "bank", "kube-system"])),
    ),
    st.one_of(st.none(), st.frozensets(st.sampled_from(["chat", "bank"]))),
)
def test_the_namespace_is_always_one_that_the_speaker_may_speak_for(
    labels: dict[str, str], may: frozenset[str] | None
) -> None:
    speaker, forged = Speaker("somebody", may), signal(labels=labels)
    try:
        namespace = told_namespace(forged, speaker)
        if namespace is None:
            namespace = namespace_by_policy(fired(armed_by(trigger()), forged, None), speaker)
    except Declined:
        return
    assert speaker.may(namespace)
