"""Whatever is sent, by whomever: no answer of the 5xx kind, and no effect without a credential."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.signals.receiving import Certificates, alert, notification, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.signals.receiving import Receiving

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
VALID = notification(alert("A"), alert("B", status="resolved"), alert("C", labels={"namespace": "payments"}))


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid notification in which some places hold something else."""
    value = json.loads(json.dumps(VALID))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            place[key] = draw(JSON)
            break
    return dump(value)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid notification with some bytes cut, doubled or replaced."""
    body = dump(VALID)
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 40)))
    return body[:start] + draw(st.binary(max_size=20) | st.just(body[start:end] * 2)) + body[end:]


BODIES = st.binary(max_size=300) | JSON.map(dump) | mutated() | damaged()
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "X-Grafana-Alerting-Signature", "X-Time", "Content-Encoding", "Accept"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=70),
    max_size=3,
)
TOKENS = (
    st.none()
    | st.sampled_from(["", "on", "one ", "one,two", "ONE", "three"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10).filter(
        lambda token: token not in {"one", "two"}
    )
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[asyncio.Runner, Receiving]]:
    """One receiver for all examples of a test."""
    certificates = Certificates.at(tmp_path / "pki")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        under_test = runner.run(stack.enter_async_context(receiving(tmp_path, certificates)))
        yield runner, under_test
        runner.run(stack.aclose())


def test_whatever_somebody_with_a_credential_sends(served: tuple[asyncio.Runner, Receiving]) -> None:
    runner, under_test = served

    @given(BODIES, HEADERS)
    def whatever(body: bytes, headers: dict[str, str]) -> None:
        before = len(under_test.intake.batches)
        answer = runner.run(under_test.post(body, headers))
        truncated = "were left out" in str(answer.body)
        assert answer.status in {200, 400, 415} or (answer.status == 503 and truncated)
        if answer.status == 400:
            assert answer.body["problem"]
            assert len(under_test.intake.batches) == before
        if answer.status == 200:
            taken = sum(len(batch) for batch, _ in under_test.intake.batches[before:])
            assert len(answer.body["alerts"]) == taken

    whatever()
    assert runner.run(under_test.post(notification())).status == 200


def test_whatever_somebody_without_one_sends(served: tuple[asyncio.Runner, Receiving]) -> None:
    runner, under_test = served

    @given(BODIES, HEADERS, TOKENS)
    def whatever(body: bytes, headers: dict[str, str], token: str | None) -> None:
        assert runner.run(under_test.post(body, headers, token=token)).status == 401

    whatever()
    assert under_test.intake.batches == []
