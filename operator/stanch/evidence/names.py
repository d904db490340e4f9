"""Which names of variables, flags and headers are those of credentials. Pure.

Where in doubt a name is one: too much redacted is visible in the evidence, too little cannot be taken back.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_WORDS = frozenset(
    {
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "cred",
        "creds",
        "dsn",
        "jwt",
        "oauth",
        "pass",
        "pat",
        "pwd",
        "sas",
    }
)
_PARTS = ("credential", "passphrase", "passw", "secret")
_PAIRS = frozenset({(first, second) for first in ("connection", "conn") for second in ("string", "str")})
_KEY_OF = frozenset(
    {"access", "account", "api", "encryption", "license", "master", "private", "shared", "signing"}
)
_TOKEN_OF = frozenset(
    {"access", "api", "auth", "bearer", "bot", "hf", "hub", "id", "refresh", "session", "security"}
)
_WORKING_DIRECTORY = (("pwd",), ("oldpwd",), ("old", "pwd"))
_LOCATION = frozenset({"dir", "directory", "file", "path"})
_PATH = re.compile(r"(?:/[\w.-]{1,255}){1,32}")
_RANDOM = re.compile(r"[\w.~+/=-]{16,}")


def is_credential(name: str, value: str = "") -> bool:
    """Whether a variable, flag or header of that name holds a credential.

    `MAX_TOKENS=512` does not, tokens in the plural with a number are what a model counts; nor do `PWD`, and
    `TOKEN_FILE=/var/run/token`, which says where one is.
    """
    words = _words(name)
    if words in _WORKING_DIRECTORY or (words[-1:] and words[-1] in _LOCATION and _PATH.fullmatch(value)):
        return False
    return any(_is_credential_word(word, value) for word in words) or any(
        pair in _PAIRS for pair in pairwise(words)
    )


def is_credential_in_text(name: str, value: str) -> bool:
    """As `is_credential`, for running text, where a `key` or a `token` may be many other things."""
    words = _words(name)
    return (
        any(any(part in word for part in _PARTS) or word.endswith(("apikey", "apikeys")) for word in words)
        or (len(words) > 1 and words[-1] == "pwd")
        or any(
            (first in _KEY_OF and second in {"key", "keys"}) or (first in _TOKEN_OF and second == "token")
            for first, second in pairwise(words)
        )
        or (words[-1:] == ("token",) and looks_random(value))
    )


def looks_random(value: str) -> bool:
    """Long, in one piece, of letters and digits."""
    return (
        _RANDOM.fullmatch(value) is not None
        and re.search(r"\d", value) is not None
        and re.search(r"[A-Za-z]", value) is not None
    )


def takes_several_values(flag: str) -> bool:
    """As vLLM's `--api-key`, which is followed by any number of keys."""
    return _words(flag)[-2:] in (("api", "key"), ("api", "keys"))


@lru_cache(4096)
def _words(name: str) -> tuple[str, ...]:
    """`HF_TOKEN`, `hfToken` and `--hf-token` are all hf, token."""
    return tuple(word.lower() for word in _WORD.findall(name))


def _is_credential_word(word: str, value: str) -> bool:
    if "token" in word:
        counts = word.endswith("tokens") and value.isdecimal()
        return not counts and "tokeniz" not in word and "tokenis" not in word
    return word in _WORDS or word.endswith(("key", "keys")) or any(part in word for part in _PARTS)
