"""Input that was made to break whoever reads it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

MOMENTS = (
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-02T03:11:48",
    "2026-13-45T99:00:00Z",
)
PLACES = (
    "\x1b]0;owned\x07\x1b[2J",
    "\u202e\u2066gnp.exe",
    "\ud800",
    "\x00",
    "{{ 7 * 7 }}",
    "[bold]x[/bold]",
    "[/]",
)
TEXTS = (
    st.text(max_size=20)
    | st.sampled_from(
        (*MOMENTS, *PLACES, "", "-1", "1e999", "NaN", "100%", "5m", "a/b:c@sha256:0", "--model=x", "$(A)")
    )
    | st.text("a:/@.-_=+$(){}\\\"' \n#;|&<>", max_size=30)
)
NUMBERS = (
    st.integers(-5, 5)
    | st.integers()
    | st.floats()
    | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NESTED = (
    b"[" * 100_000,
    b'{"items":' * 50_000,
    b"{" * 50_000 + b"}" * 50_000,
    b"[" * 3_000 + b"]" * 3_000,
    b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
)
HUGE = (
    b"9" * 100_000,
    b'"' + b"x" * 1_000_000 + b'"',
    b"-" + b"1" * 5_000,
    b"1e" + b"9" * 1_000,
    b"\\" * 100_000,
)
ALIASES = (
    b"a: &a [x, x]\n"
    + b"".join(
        b"b%d: &b%d [*%s, *%s]\n" % (n, n, p, p)
        for n, p in [(n, b"a" if n == 0 else b"b%d" % (n - 1)) for n in range(40)]
    )
    + b"credentials: *b39\ncontexts: *b39\n",
    b"&a [*a]",
    b"credentials: &a [*a]\ncontexts: &b {name: *b}\n",
)  # YAML: what is small and means 2^40 entries, and what contains itself
SHORT = (b"", b"\x00", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b'"\\ud800"', b"null", b"NaN")
BREAKING = (*SHORT, *NESTED, *HUGE)
BREAKING_YAML = (*SHORT, b"[" * 1_100, HUGE[0], *HUGE[2:], *ALIASES)


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@st.composite
def changed(draw: st.DrawFn, valid: Any) -> Any:
    """What is valid, but for a few places that hold something else, or nothing, or one thing more."""
    value = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = value
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
            if isinstance(place[key], dict | list) and place[key] and draw(st.integers(0, 3)):
                place = place[key]
                continue
            how = draw(st.sampled_from(["other", "other", "gone", "more"]))
            if how == "gone":
                del place[key]
            elif how == "more" and isinstance(place, dict):
                place[draw(TEXTS)] = draw(JSON)
            else:
                place[key] = draw(JSON)
            break
    return value


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes of which some are cut, doubled or replaced."""
    start = draw(st.integers(0, len(valid)))
    end = draw(st.integers(start, min(len(valid), start + 40)))
    return valid[:start] + draw(st.binary(max_size=20) | st.just(valid[start:end] * 2)) + valid[end:]


def bodies(valid: Any) -> st.SearchStrategy[bytes]:
    """Of a parser of JSON in bytes, of which `valid` is understood."""
    return st.binary(max_size=300) | JSON.map(dump) | changed(valid).map(dump) | damaged(dump(valid))
