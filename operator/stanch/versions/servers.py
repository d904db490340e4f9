"""What the command line and the environment of one container say of the model it serves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stanch.versions import images
from stanch.versions.arguments import Word, command_lines
from stanch.versions.located import Located, Where
from stanch.versions.roles import FLAGS, REPEATED, SEVERAL_VALUES, Role, on_hub, role_of_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stanch.api.v1alpha1.versions import ModelLocator
    from stanch.versions.template import Placed

_REFERENCE = re.compile(r"(?<!\$)\$\(([A-Za-z_][\w.-]*)\)")
_SHELL_REFERENCE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")


def of_container(placed: Placed, locator: ModelLocator | None) -> list[Located]:
    def role_of_flag(flag: str) -> Role | None:
        if locator is not None and locator.arg is not None and normal_flag(locator.arg) == flag:
            return FLAGS.get(flag, Role.VERSION)
        return FLAGS.get(flag)

    from_arguments: list[Located] = []
    referred: dict[int, Located] = {}
    for line in command_lines(placed):
        for flag, role, word, value in _values(line, placed, role_of_flag):
            variables = dict(_referred(placed, flag, role, word, value))
            referred |= variables
            start = word.start_of(value)
            computed = "$" in value if word.in_script else "$(" in value
            if not variables and start is not None and not computed:
                from_arguments.append(
                    Located(
                        Where.ARG,
                        placed.container.name,
                        flag,
                        value,
                        role,
                        word.place,
                        start,
                        Where.ARG,
                        in_script=word.in_script,
                    )
                )
    return [*from_arguments, *_variables(placed, referred, locator)]


def _values(
    line: Sequence[Word], placed: Placed, role_of: Callable[[str], Role | None]
) -> Iterator[tuple[str, Role, Word, str]]:
    """Flag, role, the word that holds the value, and the value; of a flag given twice the last one."""
    given: dict[str, list[tuple[str, Role, Word, str]]] = {}
    positional = _positional(line, placed)
    if positional is not None:
        given["--model"] = [("--model", Role.SOURCE, positional, positional.text)]
    for index, word in enumerate(line):
        name, equals, inline = word.text.partition("=")
        flag = normal_flag(name)
        role = role_of(flag) if word.text.startswith("-") else None
        if role is None:
            continue
        if equals:
            values = [(flag, role, word, inline)]
        else:
            following = _up_to_next_flag(line[index + 1 :])
            if flag not in SEVERAL_VALUES:
                following = following[:1]
            values = [(flag, role, each, each.text) for each in following]
        given[flag] = [*(given.get(flag, []) if flag in REPEATED else []), *values]
    if not _loads_explicitly(line):
        given.pop("--load-model", None)
    for values in given.values():
        yield from (each for each in values if each[3])


def _positional(line: Sequence[Word], placed: Placed) -> Word | None:
    """The X of `vllm serve X`, also where the image's entrypoint says `vllm serve`."""
    for index, word in enumerate(line[:-2]):
        if word.text.rsplit("/", 1)[-1] == "vllm" and line[index + 1].text == "serve":
            model = line[index + 2]
            return None if model.text.startswith("-") else model
    if placed.container.command or "vllm" not in images.parse(placed.container.image).repository:
        return None
    first = next((word for word in line if word.text not in {"vllm", "serve"}), None)
    return first if first is not None and (on_hub(first.text) or "://" in first.text) else None


def _up_to_next_flag(words: Sequence[Word]) -> list[Word]:
    flags = (index for index, word in enumerate(words) if word.text.startswith("-"))
    return list(words[: next(flags, len(words))])


def _loads_explicitly(line: Sequence[Word]) -> bool:
    """Triton heeds --load-model in this mode alone."""
    text = " ".join(word.text for word in line if len(word.text) < 64)  # noqa: PLR2004 - the flag is shorter
    return re.search(r"--model-control-mode[= ]explicit(\s|$)", text) is not None


def _referred(placed: Placed, flag: str, role: Role, word: Word, value: str) -> Iterator[tuple[int, Located]]:
    """The literal variables that an argument's value is made of, by their index in `env`."""
    names = _REFERENCE.findall(value)
    whole = bool(_REFERENCE.fullmatch(value))
    if not names and word.in_script:
        names = _SHELL_REFERENCE.findall(value)
        whole = bool(_SHELL_REFERENCE.fullmatch(value))
    env = placed.container.env
    for name in names:
        index = next((i for i in reversed(range(len(env))) if env[i].name == name), None)
        if index is not None and env[index].literal:
            part = role if whole else Role.VERSION
            yield index, _variable(placed, index, part, via=flag)


def _variables(
    placed: Placed, referred: dict[int, Located], locator: ModelLocator | None
) -> Iterator[Located]:
    env = placed.container.env
    last = {variable.name: index for index, variable in enumerate(env)}
    models = any(role_of_variable(name, beside_a_model=False) is Role.SOURCE for name in last)
    for name, index in last.items():
        role = role_of_variable(name, beside_a_model=models)
        if role is None and locator is not None and locator.env == name:
            role = Role.VERSION
        if index in referred:
            yield referred[index]
        elif role is not None and env[index].literal:
            yield _variable(placed, index, role)


def _variable(placed: Placed, index: int, role: Role, via: str | None = None) -> Located:
    variable = placed.container.env[index]
    return Located(
        Where.ENV,
        placed.container.name,
        variable.name,
        variable.value,
        role,
        (*placed.place, "env", index, "value"),
        0,
        Where.ARG if via else Where.ENV,
        via,
    )


def normal_flag(key: str) -> str:
    """Flags may be written with underscores for dashes, as vLLM takes them."""
    return "--" + key[2:].replace("_", "-") if key.startswith("--") else key
