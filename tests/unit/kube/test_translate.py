"""What the server said reaches the person who has to act, as the error that tells whether waiting helps."""

from __future__ import annotations

import json

import pytest

from stanch.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotServed,
    Rejected,
    Retry,
    StanchError,
    Unavailable,
)
from stanch.kube.translate import error_from, is_absent


def status(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", **fields}).encode()


@pytest.mark.parametrize(
    ("code", "expected", "waiting_helps"),
    [
        (400, Invalid, False),
        (401, Unavailable, True),
        (403, Forbidden, False),
        (405, Rejected, False),
        (408, Unavailable, True),
        (409, Conflict, True),
        (410, Gone, True),
        (413, Invalid, False),
        (422, Invalid, False),
        (429, Unavailable, True),
        (500, Unavailable, True),
        (503, Unavailable, True),
        (504, Unavailable, True),
    ],
)
def test_each_status_says_whether_waiting_helps(
    code: int, expected: type[StanchError], *, waiting_helps: bool
) -> None:
    error = error_from("patch Deployment chat/llm", code, {}, status(message="no", reason="Because"))
    assert type(error) is expected
    assert isinstance(error, Retry) is waiting_helps
    assert isinstance(error, Rejected) is not waiting_helps


def test_the_denial_of_an_admission_policy_is_kept_word_for_word() -> None:
    said = (
        "deployments.apps \"llm\" is forbidden: ValidatingAdmissionPolicy 'stanch-hold' denied request: held"
    )
    error = error_from("patch Deployment chat/llm", 403, {}, status(message=said, reason="Forbidden"))
    assert error.message == f"patch Deployment chat/llm: {said}"


def test_a_hold_that_a_busy_api_server_did_not_find_in_time_is_asked_for_again() -> None:
    """Seen with 200 incidents at once: no object is at fault, and nothing may be rejected for it."""
    said = (
        "deployments.apps \"llm\" is forbidden: ValidatingAdmissionPolicy 'stanch-hold' with binding "
        "'stanch-hold' denied request: failed to configure binding: "
    )
    url = "https://127.0.0.1:6443/apis/stanch.dev/v1alpha1/namespaces/chat/containmentholds/stanch"
    late = status(message=f'{said}Get "{url}": context deadline exceeded', reason="Invalid")
    missing = status(message=f"{said}the CRD is missing", reason="Invalid")
    assert isinstance(error_from("patch Deployment chat/llm", 422, {}, late), Unavailable)
    assert isinstance(error_from("patch Deployment chat/llm", 422, {}, missing), Invalid)


def test_causes_the_message_leaves_out_are_told() -> None:
    body = status(
        message="the server rejected our request",
        details={"causes": [{"message": "doc is missing path: /spec/foo"}, {"message": "rejected"}]},
    )
    error = error_from("patch Deployment chat/llm", 422, {}, body)
    assert error.message.endswith("the server rejected our request: doc is missing path: /spec/foo")


def test_a_name_taken_differs_from_an_outdated_object() -> None:
    taken = error_from("create", 409, {}, status(reason="AlreadyExists"))
    outdated = error_from("patch", 409, {}, status(reason="Conflict"))
    assert isinstance(taken, Conflict)
    assert isinstance(outdated, Conflict)
    assert (taken.already_exists, outdated.already_exists) == (True, False)


@pytest.mark.parametrize(
    ("headers", "details", "wait"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({}, {}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, 1.0),
        ({"Retry-After": "86400"}, {}, 60.0),
    ],
)
def test_a_busy_server_says_how_long_to_wait_but_not_for_a_day(
    headers: dict[str, str], details: dict[str, int], wait: float
) -> None:
    error = error_from("list pods", 429, headers, status(details=details))
    assert isinstance(error, Unavailable)
    assert error.after == wait


def test_a_missing_crd_is_never_taken_for_a_missing_object() -> None:
    missing_object = status(reason="NotFound", details={"name": "llm", "kind": "deployments"})
    router = b"404 page not found\n"
    unknown_resource = status(message="the server could not find the requested resource", details={})
    assert is_absent(404, missing_object)
    assert not is_absent(404, router)
    assert not is_absent(404, unknown_resource)
    assert isinstance(error_from("patch", 404, {}, missing_object), NotFound)
    assert isinstance(error_from("get", 404, {}, router), NotServed)
    assert isinstance(error_from("get", 404, {}, unknown_resource), NotServed)


@pytest.mark.parametrize("body", [b"", b"<html>502 Bad Gateway</html>", b"[1]", b"\xff\xfe", b"null"])
def test_an_answer_from_something_else_on_the_way_is_still_told(body: bytes) -> None:
    error = error_from("get Deployment chat/llm", 502, {}, body)
    assert isinstance(error, Unavailable)
    assert error.message.startswith("get Deployment chat/llm: ")
