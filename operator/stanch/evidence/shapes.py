"""Credentials in text, told by their shape or by the name before them. Pure.

A credential is replaced by `[redacted, N characters]`. Not by a hash: passwords can be guessed, and a hash
would let whoever reads the evidence try guesses.

The text comes from workloads that may be hostile: every expression takes time linear in its input. What can
begin a match is bounded by a look behind, what can go on by a count, and nothing is tried twice.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stanch.evidence import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MARK = re.compile(r"\[redacted, \d{1,12} characters\]")
_REFERENCE = re.compile(r"\$\([\w.-]{1,253}\)|\$\{?\w{1,253}\}?")
_NOTHING = frozenset({"", "none", "null", "nil", "true", "false", "undefined", "***"})

_ISSUED = re.compile(
    r"""(?<![\w-])(?:
      eyJ[\w-]{8,}+(?:\.[\w-]*+){1,4}+                      # JWT, JWE
    | (?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[A-Z0-9]{16}    # AWS
    | gh[pousr]_\w{16,255} | github_pat_\w{16,255}          # GitHub
    | glpat-[\w-]{16,255}                                   # GitLab
    | xox[a-z]-[\w-]{8,255} | xapp-[\w-]{16,255}            # Slack
    | hf_[A-Za-z0-9]{16,255}                                # Hugging Face
    | nvapi-[\w-]{16,255}                                   # NVIDIA
    | gsk_\w{16,255} | r8_\w{16,255} | pplx-\w{16,255}      # Groq, Replicate, Perplexity
    | AIza[\w-]{30,255} | ya29\.[\w.-]{16,1024}             # Google
    | [sr]k_(?:live|test)_\w{8,255}                         # Stripe
    | SG\.[\w-]{16,64}\.[\w-]{16,64} | hvs\.[\w-]{16,255}   # SendGrid, Vault
    | npm_\w{30,255} | pypi-[\w-]{30,1024} | dckr_pat_[\w-]{16,255} | dapi[a-f0-9]{32}
    | LS0tLS1CRUdJTi[A-Za-z0-9+/=]{16,}+                    # PEM in base64
    )""",
    re.VERBOSE,
)
_SK = re.compile(r"(?<![\w-])sk-[\w-]{16,}+")  # OpenAI, Anthropic and many after them
_SCHEME = re.compile(r"\b(bearer|basic)(\s{1,3})([\w.~+/=-]{8,}+)", re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"""\b((?:proxy-)?authorization)\\?["']?\s{0,3}[:=]\s{0,3}\\?["']?(?:[A-Za-z]{3,16}[ ]{1,3})?(?=\S)""",
    re.IGNORECASE,
)
_COOKIE = re.compile(r"""\b((?:set-)?cookie)\\?["']?\s{0,3}[:=]\s{0,3}(?=\S)""", re.IGNORECASE)
_USERINFO = re.compile(r"""://([^\s/@:"'<>]{0,256}+)(:?+)([^\s/"'<>]{0,1024})@""")
_USER_IS_KEY = 20  # characters: `git@` and `admin@` are names, this long it is a key
_FLAG = re.compile(r"""(?<![\w-])(--?[A-Za-z][\w.-]{0,127}+)(?:=|[ \t]{1,4}(?!-)|["'],\s{0,3}["'](?!-))""")
# The end of a name, from the word in it that no name of a credential goes without.
_ASSIGNED = re.compile(
    r"""((?:key|token|secret|passw|passphrase|credential|pwd)[\w.-]{0,64}+)(?:\\?["'])?\s{0,3}[=:]\s{0,3}(?=\S)""",
    re.IGNORECASE,
)
_NAME_CHARACTERS = string.ascii_letters + string.digits + "_.-"
_NAME_LIMIT = 128
_BARE = re.compile(r"""[^\s"'\\]*+""")
_REST_OF_LINE = re.compile(r"""[^\n"']*+""")
_QUOTE = re.compile(r"""\\?["']""")
_QUOTED = {quote: re.compile(rf"(?:[^{quote}\\\n]|\\.)*+") for quote in "\"'"}
_CLOSING = ",;)]}>"
_GLANCE = 64  # characters of a value that are looked at to see whether it is a credential

_PEM_EDGE = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}?PRIVATE KEY(?: BLOCK)?-----")
_PEM_LIMIT = 16 * 1024  # characters; RSA with 16 384 bits has 12 600
# A line of a key's body; container logs put a time before each.
_PEM_LINE = re.compile(
    r"(?:\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)\s)?[A-Za-z0-9+/=]{4,128}(?=\\|\r?\n|$)"
)
_PEM_FULL = 40  # characters; RFC 7468 writes 64
_NEWLINE = re.compile(r"\r?\n|(?:\\r)?\\n")

_TOKEN = re.compile(r"""[^\s"'=,;:@&?()\[\]{}<>\\]+""")
_FEW = 64  # values that are looked for one by one, which is faster
_DISTINCTIVE = 12  # characters a value needs to be looked for elsewhere
_PROSE = re.compile(r"[A-Za-z-]{1,19}\.?")
_KEY_RUN = re.compile(r"[A-Z]|[a-z0-9]{16}")


def mark(value: str) -> str:
    """What stands in the place of `value`."""
    return f"[redacted, {len(value)} characters]"


def says_nothing(value: str) -> bool:
    """No value, one that is redacted, or where one is: `$(API_KEY)`, `${API_KEY}`."""
    return (
        value.lower() in _NOTHING
        or _REFERENCE.fullmatch(value) is not None
        or _MARK.fullmatch(value) is not None
    )


@dataclass
class Redaction:
    """Replaces credentials, counts them, and remembers those that it knew by their name."""

    known: frozenset[str] = frozenset()
    count: int = 0
    named: set[str] = field(default_factory=set)

    def text(self, text: str) -> str:
        """Replaces what has the shape of a credential, is given to a name of one, or is `known` to be one."""
        text = self._private_keys(text)
        lower = text.lower()
        if "authorization" in lower:
            text = self._given(_AUTHORIZATION, text, _always)
        if "cookie" in lower:
            text = self._given(_COOKIE, text, _always, bare=_REST_OF_LINE)
        if "://" in text:
            text = _USERINFO.sub(self._userinfo, text)
        text = self._issued(text)
        if "-" in text:
            text = self._given(_FLAG, text, names.is_credential)
        if "=" in text or ":" in text:
            text = self._given(_ASSIGNED, text, names.is_credential_in_text)
        return _TOKEN.sub(self._echo, text) if self._may_echo(text) else text

    def named_value(self, value: str) -> str:
        """The value of something that has a credential's name."""
        if says_nothing(value):
            return value
        self.named.add(value)
        return self._mark(value)

    def _mark(self, value: str) -> str:
        self.count += 1
        return mark(value)

    def _given(
        self,
        name_before: re.Pattern[str],
        text: str,
        is_credential: Callable[[str, str], bool],
        *,
        bare: re.Pattern[str] = _BARE,
    ) -> str:
        """Values that follow a name. What is no credential is searched on: it may hold one."""
        parts: list[str] = []
        copied, at = 0, 0
        while (match := name_before.search(text, at)) is not None:
            at = match.end()
            start, stop = _value(text, at, bare, at + _GLANCE)
            glance = text[start:stop]
            if says_nothing(glance) or not is_credential(_before(text, match.start()) + match[1], glance):
                continue
            start, stop = _value(text, at, bare, len(text))
            parts += [text[copied:start], self.named_value(text[start:stop])]
            copied = at = stop
        return "".join([*parts, text[copied:]]) if parts else text

    def _issued(self, text: str) -> str:
        text = _ISSUED.sub(lambda match: self._mark(match[0]), text)
        # `sk-learn-server-7d9f8b6c5d-x2x9p` is a pod; keys have capitals or a long run.
        text = _SK.sub(lambda match: self._mark(match[0]) if _KEY_RUN.search(match[0]) else match[0], text)
        return _SCHEME.sub(self._scheme, text)

    def _scheme(self, match: re.Match[str]) -> str:
        """`Bearer 0a1b…`, but not the prose `basic authentication`."""
        prose = _PROSE.fullmatch(match[3]) is not None
        return match[0] if prose else f"{match[1]}{match[2]}{self._mark(match[3])}"

    def _userinfo(self, match: re.Match[str]) -> str:
        """`postgres://user:…@host`; a user stays, unless it is long: then it is a key, as for Sentry."""
        user, colon, password = match[1], match[2], match[3]
        if colon:
            return match[0] if says_nothing(password) else f"://{user}:{self.named_value(password)}@"
        whole = user + password
        return match[0] if len(whole) < _USER_IS_KEY else f"://{self._mark(whole)}@"

    def _may_echo(self, text: str) -> bool:
        if len(self.known) > _FEW:
            return True
        return any(value in text for value in self.known)

    def _echo(self, match: re.Match[str]) -> str:
        """A program that prints its API key may print it without the name."""
        token = match[0]
        core = token if token in self.known else token.rstrip(".!")
        return self._mark(core) + token[len(core) :] if core in self.known else token

    def _private_keys(self, text: str) -> str:
        """PEM, also where the beginning or the end was cut off."""
        if "PRIVATE KEY" not in text:
            return text
        parts: list[str] = []
        at = 0
        while (edge := _PEM_EDGE.search(text, at)) is not None:
            if edge[1] == "BEGIN":
                end = _PEM_EDGE.search(text, edge.end(), edge.end() + _PEM_LIMIT)
                whole = end is not None and end[1] == "END"
                start, stop = edge.start(), end.end() if end and whole else _body_after(text, edge.end())
            else:
                start, stop = _body_before(text, at, edge.start()), edge.end()
            parts += [text[at:start], self._mark(text[start:stop])]
            at = stop
        return "".join([*parts, text[at:]])


def distinctive(values: Iterable[str]) -> frozenset[str]:
    """Those that can be looked for everywhere: `AUTH=disabled` must not erase that word elsewhere."""
    tokens = {value.strip().rstrip("=") for value in values}
    return frozenset(
        token
        for token in tokens
        if len(token) >= _DISTINCTIVE
        and _TOKEN.fullmatch(token)
        and not token.endswith((".", "!"))
        and re.search(r"[A-Za-z]", token)
        and re.search(r"\d", token)
    )


def _always(_name: str, _value: str) -> bool:
    return True


def _before(text: str, at: int) -> str:
    """The part of a name that stands directly before `at`."""
    near = text[max(0, at - _NAME_LIMIT) : at]
    return near[len(near.rstrip(_NAME_CHARACTERS)) :]


def _value(text: str, at: int, bare: re.Pattern[str], end: int) -> tuple[int, int]:
    """Where the value that begins at `at` begins and ends, without quotes, as far as `end`."""
    marked = _MARK.match(text, at)
    if marked is not None:
        return marked.span()
    quote = _QUOTE.match(text, at)
    if quote is not None:
        return quote.end(), _closing_quote(text, quote[0], quote.end(), end)
    if text[at - 1] in _QUOTED:
        return at, _closing_quote(text, text[at - 1], at, end)
    if text.startswith("[", at):
        closing = text.find("]", at, end)
        return at, closing + 1 if closing >= 0 else _matched(_REST_OF_LINE, text, at, end)
    stop = _matched(bare, text, at, end)
    if _REFERENCE.fullmatch(text, at, stop) is None:
        stop = at + len(text[at:stop].rstrip(_CLOSING))
    return at, stop


def _closing_quote(text: str, quote: str, at: int, end: int) -> int:
    """Where the quoted value ends that begins at `at`; without a closing quote the line's end."""
    if quote in _QUOTED:
        return _matched(_QUOTED[quote], text, at, end)
    closing = text.find(quote, at, end)  # \" or \' inside a string
    return closing if closing >= 0 else _matched(_REST_OF_LINE, text, at, end)


def _matched(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    match = pattern.match(text, at, end)
    return match.end() if match is not None else at


def _body_after(text: str, at: int) -> int:
    """Where the lines end that look like a key's body: full ones, then one that may be shorter."""
    full = True
    while full and (newline := _NEWLINE.match(text, at)) and (line := _PEM_LINE.match(text, newline.end())):
        at, full = line.end(), len(line[0]) >= _PEM_FULL
    return at


def _body_before(text: str, first: int, at: int) -> int:
    """Where the lines begin that look like a key's body, not before `first`; the last may be shorter."""
    lines = text[max(first, at - _PEM_LIMIT) : at].splitlines(keepends=True)
    for place, line in enumerate(reversed(lines)):
        body = line.rstrip()
        if not _PEM_LINE.fullmatch(body) or (place > 0 and len(body) < _PEM_FULL):
            break
        at -= len(line)
    return at
