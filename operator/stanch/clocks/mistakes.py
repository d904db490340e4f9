"""What is wrong with a file of clocks, and on which of its lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pydantic import ValidationError

_FIRST = 1  # line of a file


def syntax(error: yaml.YAMLError) -> str:
    """Of what is no YAML: `line 3: did not find expected key`."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    return f"line {mark.line + _FIRST}: {problem}" if mark and problem else str(error)


def content(text: str, error: ValidationError) -> str:
    """Of what is YAML, but no clocks: a line `line 5, clocks[0].within: …` for each mistake."""
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    problems = error.errors(include_url=False, include_input=False)
    paths = [problem["loc"] for problem in problems]
    return "\n".join(
        f"line {_line(tree, path)}{_named(path)}: {problem['msg'].removeprefix('Value error, ')}"
        for path, problem in zip(paths, problems, strict=True)
        if not any(path == other[: len(path)] for other in paths if other != path)  # follows from that one
    )


def _line(node: yaml.Node | None, path: tuple[str | int, ...]) -> int:
    """Where the path leads, or as far along it as there is something: what is missing has no line."""
    line = _FIRST
    for step in path:
        match node:
            case yaml.MappingNode(value=pairs):
                found = next(((key, value) for key, value in pairs if key.value == step), None)
            case yaml.SequenceNode(value=items) if isinstance(step, int) and step < len(items):
                found = (items[step], items[step])
            case _:
                found = None
        if found is None:
            return line
        named, node = found
        line = named.start_mark.line + _FIRST
    return line


def _named(path: tuple[str | int, ...]) -> str:
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f", {words.removeprefix('.')}" if words else ""
