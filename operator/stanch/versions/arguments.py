"""The command line of a container: its words, each with the place of every character it is made of.

A script given to `sh -c` is read too, as far as words and quotes go: images of model servers are often
started that way. What a shell would compute is not computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stanch.versions.template import Container, Place, Placed

_SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
_SCRIPT_OPTION = re.compile(r"^-[a-z]*c$")
_LEXEME = re.compile(
    r"(?P<blank>(?:[ \t\r]|\\\n)+)"
    r"|(?P<end>[\n;&|()<>]+)"
    r"|'(?P<single>[^']*)'"
    r'|"(?P<double>[^"\\]*)"'
    r"|(?P<odd>\"(?:[^\"\\]|\\.)*\"|\\.|['\"\\])"
    r"|(?P<plain>(?:\$\([A-Za-z_][\w.-]*\)|[^\s'\"\\;&|()<>])+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters that stands literally at `start` of the string at `place`."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command line. `pieces` is empty when it is not written literally."""

    text: str
    place: Place
    pieces: tuple[Piece, ...]
    in_script: bool = False

    @property
    def alone(self) -> bool:
        """Whether it is a whole argument, not a word of a script."""
        return not self.in_script

    def start_of(self, value: str) -> int | None:
        """Where the last `value` characters of the word stand in the string at `place`."""
        last = self.pieces[-1] if self.pieces else None
        if last is None or not last.text.endswith(value):
            return None
        return last.start + len(last.text) - len(value)


def command_lines(placed: Placed) -> list[list[Word]]:
    """The commands that a container runs: one, or those of its shell script."""
    words = list(_arguments(placed))
    script = _script(placed.container)
    if script is None:
        return [words]
    return [list(line) for line in _commands(words[script])]


def _arguments(placed: Placed) -> Iterator[Word]:
    container = placed.container
    for key, texts in (("command", container.command), ("args", container.args)):
        for index, text in enumerate(texts):
            yield Word(text, (*placed.place, key, index), (Piece(text, 0),))


def _script(container: Container) -> int | None:
    """The position of the script among command and args."""
    words = (*container.command, *container.args)
    if not container.command or words[0].rsplit("/", 1)[-1] not in _SHELLS:
        return None
    for index, word in enumerate(words[1:], start=1):
        if not word.startswith("-"):
            return None
        if _SCRIPT_OPTION.match(word) and index + 1 < len(words):
            return index + 1
    return None


def _commands(script: Word) -> Iterator[list[Word]]:
    line: list[Word] = []
    for word in _words(script):
        if word is None:
            yield line
            line = []
        else:
            line.append(word)
    yield line


def _words(script: Word) -> Iterator[Word | None]:
    """The words of a script, None where a command ends."""
    pieces: list[Piece] = []
    literal = True
    position = 0
    text = script.text
    while position < len(text):
        if text[position] == "#" and not pieces:
            newline = text.find("\n", position)
            position = len(text) if newline < 0 else newline
            continue
        found = _LEXEME.match(text, position)
        if found is None:  # a quote or a blank that opens nothing the grammar knows
            position += 1
            continue
        kind = found.lastgroup or ""
        if kind in {"blank", "end"}:
            if pieces:
                yield _word(script, pieces, literal=literal)
            pieces, literal = [], True
            if kind == "end":
                yield None
        else:
            literal = literal and kind != "odd"
            pieces.append(Piece(found[kind], found.start(kind)))
        position = found.end()
    if pieces:
        yield _word(script, pieces, literal=literal)


def _word(script: Word, pieces: list[Piece], *, literal: bool) -> Word:
    text = "".join(piece.text for piece in pieces)
    return Word(text, script.place, tuple(pieces) if literal else (), in_script=True)
