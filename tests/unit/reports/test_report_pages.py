"""The page as a browser shows it: on a desk, on a phone, in the dark, on paper; and what it never does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from stanch.reports.form import Form
from stanch.reports.render import render
from tests.browser import Page, browser
from tests.unit.reports.hostile import PAYLOADS, incident
from tests.unit.reports.incidents import altered, fresh, raw, report
from tests.unit.reports.test_render import SECTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from stanch.reports.model import Report

SEEN = """
[...document.querySelectorAll('section')].filter(each => {
  const box = each.getBoundingClientRect(), style = getComputedStyle(each)
  return box.width > 200 && box.height > 40 && style.visibility === 'visible' && style.opacity === '1'
}).map(each => each.querySelector('h2').textContent)
"""
BEYOND = """
[...document.querySelectorAll('body *')].filter(each => !each.closest('.scroll, thead') &&
  (each.getBoundingClientRect().right > innerWidth + 1 || each.getBoundingClientRect().left < -1))
  .map(each => each.outerHTML.slice(0, 120))
"""
PALE = """
(() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number)
  const light = rgb => rgb.slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = each => {
    for (let at = each; at; at = at.parentElement) {
      const rgb = numbers(getComputedStyle(at).backgroundColor)
      if (rgb.length === 3 || rgb[3] > 0) return rgb
    }
    return [255, 255, 255]
  }
  const pale = []
  for (const each of document.querySelectorAll('body *')) {
    if (![...each.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue
    if (['title', 'desc'].includes(each.tagName)) continue
    const style = getComputedStyle(each)
    const ink = light(numbers(each.closest('svg') ? style.fill : style.color)), paper = light(behind(each))
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)
    if (contrast < 4.5) pale.push(each.textContent.slice(0, 40) + ': ' + contrast.toFixed(2))
  }
  return pale
})()
"""
CUT = """
[...document.querySelectorAll('h2')].filter(each => each.scrollWidth > each.clientWidth)
  .map(each => each.textContent)
"""
SMALL = (
    "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height).filter(h => h < 7)"
)


async def opened(page: Page, tmp_path: Path, made: Report) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(render(made, Form.HTML))
    await page.open(file)


@pytest.mark.parametrize(
    "made", [report(), report(fresh()), report(raw(), altered())], ids=["full", "fresh", "altered"]
)
async def test_every_section_is_seen_and_nothing_sticks_out(tmp_path: Path, made: Report) -> None:
    async with browser(tmp_path / "home") as page:
        await opened(page, tmp_path, made)
        for width in (320, 390, 700, 1000, 1600):
            await page.show(width=width)
            assert await page.evaluate(SEEN) == SECTIONS, width
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(BEYOND) == [], width
            assert await page.evaluate(SMALL) == [], width
            assert await page.evaluate(CUT) == [], width


async def test_it_can_be_read_by_day_and_by_night(tmp_path: Path) -> None:
    papers = {}
    async with browser(tmp_path / "home") as page:
        await opened(page, tmp_path, report(raw(), altered()))
        for scheme in ("light", "dark"):
            await page.show(width=1200, scheme=scheme)
            assert await page.evaluate(PALE) == [], scheme
            papers[scheme] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert papers["light"] != papers["dark"]
        assert (await page.screenshot()).startswith(b"\x89PNG")


async def test_on_paper_it_is_dark_on_white_and_has_its_pages(tmp_path: Path) -> None:
    async with browser(tmp_path / "home") as page:
        await opened(page, tmp_path, report())
        await page.show(width=680, scheme="dark", media="print")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert await page.evaluate(SEEN) == SECTIONS
        assert await page.evaluate(PALE) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= 680
        printed = await page.pdf()
    assert printed.startswith(b"%PDF-")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 12


async def test_nothing_that_an_attacker_writes_is_carried_out(tmp_path: Path) -> None:
    async with browser(tmp_path / "home") as page:
        for text in PAYLOADS:
            await opened(page, tmp_path, report(incident(text)))
            await page.show(width=390)
            assert await page.evaluate("window.owned") is None, text
            assert await page.evaluate(_ACTS) == [], text
            assert await page.evaluate(SEEN) == SECTIONS, text
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, text
            asked = [each["request"]["url"] for each in page.said("Network.requestWillBeSent")]
            assert len(asked) == 1, f"{text}: it asked for {asked}"
            assert page.said("Page.javascriptDialogOpening") == []
            assert page.said("Runtime.consoleAPICalled") == []
            assert page.said("Log.entryAdded") == [], "not even something that its policy had to stop"


_ACTS = """
[...document.querySelectorAll('*')].filter(each =>
  ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'IMG', 'LINK', 'FORM', 'BASE'].includes(each.tagName) ||
  [...each.attributes].some(attribute => attribute.name.startsWith('on') ||
    (attribute.name === 'href' && !/^https?:/.test(attribute.value)))).map(each => each.outerHTML)
"""


async def test_if_a_script_came_in_all_the_same_the_page_would_not_run_it(tmp_path: Path) -> None:
    """The policy is the second lock: here the first one is broken on purpose."""
    page_of_it = render(report(), Form.HTML).decode()
    broken = page_of_it.replace(
        "</main>", "<script>window.owned = 1</script><img src=x onerror='owned = 1'></main>"
    )
    (tmp_path / "report.html").write_text(broken)
    async with browser(tmp_path / "home") as page:
        await page.open(tmp_path / "report.html")
        assert await page.evaluate("typeof window.owned") == "undefined"
        said: list[Any] = page.said("Log.entryAdded")
        assert any("Content Security Policy" in each["entry"]["text"] for each in said)
