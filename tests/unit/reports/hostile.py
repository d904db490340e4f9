"""An incident of which every text that somebody else may choose is one that does harm where it is trusted."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.reports.incidents import raw

Json = dict[str, Any]

PAYLOADS = (
    "<script>window.owned = 1</script>",
    '"><img src=x onerror="window.owned = 1">',
    "'><svg/onload=window.owned=1>",
    "</title></style></textarea><script>window.owned = 1</script>",
    "--></desc></svg><iframe src=https://evil.example.test></iframe>",
    "{{ 7 * 7 }}{% for x in y %}",
    "javascript:window.owned=1",
    "[click](javascript:alert(1)) ![x](https://evil.example.test/x.png)",
    "<javascript:alert(1)> <https://evil.example.test>",
    "a | b || c \\| d",
    "| a | b |\n| --- | --- |\n| c | d |",
    "# heading\n\n## another\n- list\n1. first\n> quote\n***\n---\n===",
    "```\ncode\n```\n~~~\n    indented\n`span",
    "**bold** __bold__ *em* ~~gone~~ [ref]: https://evil.example.test",
    "end\\",
    "&lt;b&gt; &#x3c;script&#x3e; &amp;",
    "\u202egnp.exe\u202c \u2066\u2069 \x1b[31mred\x1b[0m \x9b31m \x00 \x07",
    "line\rline\r\nline\u2028line\x0bline\x85line",
    "@import url(https://evil.example.test); } * { display: none } </style>",
)
TEXTS = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(min_size=1, max_size=60),
    st.text(alphabet="<>&\"'|\\`*_[]()#!~-+=.:1 \n\r\t", min_size=1, max_size=40),
)

_CHOSEN_BY_OTHERS = frozenset(
    {
        "title",
        "description",
        "summary",
        "message",
        "by",
        "lastBy",
        "lastWhat",
        "actor",
        "rootCause",
        "impact",
        "communications",
        "nearMisses",
        "what",
        "owner",
        "decidedBy",
        "rationale",
        "reference",
        "notes",
        "fingerprint",
        "value",
        "source",
        "ruleRef",
        "system",
        "uri",
        "url",
        "version",
        "modelVersion",
        "incidentCommander",
        "operationsLead",
        "communicationsLead",
        "scribe",
        "wentWell",
        "wentWrong",
        "gotLucky",
        "diff",
        "condemned",
        "missing",
        "kept",
        "stanch.dev/requested-by",
        "stanch.dev/released-by",
    }
)
_LONGEST = {
    "version": 32,
    "value": 64,
    "fingerprint": 128,
    "system": 63,
    "by": 253,
    "source": 253,
    "title": 253,
}


def incident(text: str) -> Json:
    """With `text` in all those places, as far as it fits."""
    body: Json = _fill(raw(), text)
    return body


def _fill(value: Any, text: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _fill(below, text, name) for name, below in value.items()}
    if isinstance(value, list):
        return [_fill(below, text, key) for below in value]
    return text[: _LONGEST.get(key, 253)] if key in _CHOSEN_BY_OTHERS and isinstance(value, str) else value
