"""On a terminal: colours, unless nobody wants them, and a screen that is drawn anew in place."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tests.incident_server import api_server, incident_server
from tests.installation import ROOT
from tests.terminal import terminal
from tests.unit.cli.made import HELD, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.terminal import Screen, Terminal

Json = dict[str, Any]
NOTHING: Mapping[str, str] = MappingProxyType({})


@contextmanager
def status(
    kubeconfig: str, *arguments: str, height: int = 50, environment: Mapping[str, str] = NOTHING
) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "stanch", "status", "--kubeconfig", kubeconfig, "-n", "chat", *arguments]
    with terminal(command, {"PYTHONPATH": str(ROOT / "operator"), **environment}, height=height) as seen:
        yield seen


def told(count: int, phase: str = "Containing") -> Json:
    """An incident of which so many things have happened, with a line each."""
    entries = [
        {"seq": seq, "at": f"2026-01-02T03:{seq:02}:00Z", "type": "Noted", "message": f"thing {seq}."}
        for seq in range(1, count + 1)
    ]
    return raw(phase, timeline=entries, conditions=[HELD] if phase == "Contained" else [])


def shows(text: str) -> Callable[[Screen], bool]:
    return lambda screen: text in screen.seen


def numbers(screen: Screen) -> list[int]:
    """Of the things that are told, with those that one scrolls back to."""
    return [int(number) for number in re.findall(r"thing (\d+)\.", screen.all)]


def listed(directory: Path, **environment: str) -> str:
    body = raw(conditions=[HELD], summary="contained: llm-chat replicas 3→0; held")
    with api_server([body], directory) as kubeconfig, status(kubeconfig, environment=environment) as seen:
        seen.ends_with(0)
    return seen.sent


def test_what_stands_is_green(tmp_path: Path) -> None:
    assert "\x1b[32mContained\x1b[0m" in listed(tmp_path)


def test_no_colour_is_heeded(tmp_path: Path) -> None:
    assert "\x1b[32m" not in listed(tmp_path, NO_COLOR="1")


def test_what_is_at_rest_is_watched_no_longer(tmp_path: Path) -> None:
    body = raw(conditions=[HELD], summary="contained: llm-chat replicas 3→0; held")
    with api_server([body], tmp_path) as kubeconfig, status(kubeconfig, "toxic-output", "--watch") as seen:
        seen.ends_with(0)
    assert seen.screen.all.count("contained: llm-chat replicas 3→0; held") == 1
    assert seen.screen.all.count("Next: once the cause is gone") == 1


def test_a_story_longer_than_the_terminal_shows_its_end_and_is_left_there_whole_and_once(
    tmp_path: Path,
) -> None:
    with (
        incident_server([told(4)], tmp_path) as server,
        status(server.kubeconfig, "toxic-output", "--watch", height=12) as seen,
    ):
        for count in (5, 15, 25):
            server.put(told(count))
            seen.until(shows(f"thing {count}."))
            shown = numbers(seen.screen)
            assert shown == list(range(count - len(shown) + 1, count + 1))
            assert len(shown) < 12
        assert "more above; all of it is printed when this ends" in seen.screen.seen
        assert "thing 1." not in seen.screen.all
        server.away = True
        server.cut()
        seen.until(shows("not now; looking again"))
        server.away = False
        seen.until(lambda screen: "looking again" not in screen.all)
        server.put(told(26, "Contained"))
        seen.ends_with(0)
    assert numbers(seen.screen) == list(range(1, 27))
    assert seen.screen.all.count("Critical OutputPolicyViolation") == 1
    assert "more above" not in seen.screen.all


def test_ctrl_c_leaves_the_whole_story_and_ends_with_130(tmp_path: Path) -> None:
    with (
        incident_server([told(20)], tmp_path) as server,
        status(server.kubeconfig, "toxic-output", "--watch", height=10) as seen,
    ):
        seen.until(shows("thing 20."))
        seen.interrupt()
        seen.ends_with(130)
    assert numbers(seen.screen) == list(range(1, 21))


def test_a_watch_goes_on_after_it_was_cut_off_and_after_what_was_too_old(tmp_path: Path) -> None:
    with (
        incident_server([told(1)], tmp_path) as server,
        status(server.kubeconfig, "toxic-output", "--watch", environment={"TERM": "dumb"}) as seen,
    ):
        seen.until(shows("thing 1."))
        server.cut()
        server.put(told(2))
        seen.until(shows("thing 2."))
        server.forget()
        server.put(told(3))
        seen.until(shows("thing 3."))
        server.put(told(4, "Contained"))
        seen.ends_with(0)
    assert [line for line in seen.screen.all.splitlines() if "thing" in line] == [
        f"03:{number:02}:00 UTC  Noted  thing {number}." for number in range(1, 5)
    ]
    assert server.asked.count("list") == 2
    assert server.asked.count("get") == 1


# All of them, as they change


def of(name: str, phase: str | None = "Contained", **more: Any) -> Json:
    return raw(phase, metadata={"name": name}, conditions=[HELD], **more)


def rows(screen: Screen) -> list[str]:
    """`crowd-03 Contained`, as far as they are seen."""
    return [" ".join(line.split()[::3][:2]) for line in screen.seen.splitlines() if line.startswith("crowd-")]


def test_the_table_of_all_goes_on_as_they_do_and_shows_first_what_needs_somebody(tmp_path: Path) -> None:
    crowd = [of(f"crowd-{number:02}") for number in range(30)]
    with (
        incident_server(crowd, tmp_path) as server,
        status(server.kubeconfig, "--watch", height=10) as seen,
    ):
        seen.until(shows("more below; all of it is printed when this ends"))
        assert rows(seen.screen) == [f"crowd-{number:02} Contained" for number in range(7)]
        server.put(of("crowd-29", "ContainmentFailed"))
        seen.until(lambda screen: rows(screen)[:2] == ["crowd-29 ContainmentFailed", "crowd-00 Contained"])
        server.remove("crowd-00")
        seen.until(lambda screen: rows(screen)[1:2] == ["crowd-01 Contained"])
        server.away = True
        server.cut()
        seen.until(shows("not now; looking again"))
        server.away = False
        seen.until(lambda screen: "looking again" not in screen.all)
        seen.interrupt()
        seen.ends_with(130)
    assert seen.screen.all.count("crowd-") == 29
    assert "more below" not in seen.screen.all


def test_where_no_screen_can_be_drawn_the_table_comes_once_and_then_a_line_for_each_thing(
    tmp_path: Path,
) -> None:
    with (
        incident_server([], tmp_path) as server,
        status(server.kubeconfig, "--watch", environment={"TERM": "dumb"}) as seen,
    ):
        seen.until(shows("no incident in namespace chat"))
        server.put(told(1))
        seen.until(shows("thing 1."))
        server.put(told(2))
        seen.until(shows("thing 2."))
        server.remove("toxic-output")
        seen.until(shows("is gone"))
        seen.interrupt()
        seen.ends_with(130)
    assert [line.strip() for line in seen.screen.all.splitlines() if "toxic" in line] == [
        "chat/toxic-output  03:01:00 UTC  Noted  thing 1.",
        "chat/toxic-output  03:02:00 UTC  Noted  thing 2.",
        "chat/toxic-output is gone",
    ]
