"""Titles, alerts, messages and addresses are whoever attacks' to choose: a report shows them, obeys none."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from stanch.reports.form import Form
from stanch.reports.render import render
from stanch.reports.words import visible
from tests.unit.reports.hostile import PAYLOADS, TEXTS, incident
from tests.unit.reports.incidents import raw, report

if TYPE_CHECKING:
    from markdown_it.token import Token

PARAGRAPHS = {"paragraph_open", "paragraph_close", "inline"}
HARMLESS = {
    "text",
    "softbreak",
    "hardbreak",
    "strong_open",
    "strong_close",
    "em_open",
    "em_close",
    "code_inline",
}


class Structure(HTMLParser):
    """The elements and their attributes, in order, and the text: all of it, and the heading's."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.heading = ""
        self.text = ""
        self._in_heading = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        self._in_heading = self._in_heading or tag == "h1"

    def handle_endtag(self, tag: str) -> None:
        self._in_heading = self._in_heading and tag != "h1"

    def handle_data(self, data: str) -> None:
        self.heading += data if self._in_heading else ""
        self.text += data


def html(text: str) -> Structure:
    return Structure(render(report(incident(text)), Form.HTML).decode())


def markdown(text: str) -> str:
    return render(report(incident(text)), Form.MARKDOWN).decode()


def parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown(text))


BENIGN_HTML = html("x")
BENIGN_MARKDOWN = [token.type for token in parsed("x") if token.type not in PARAGRAPHS]


@settings(max_examples=40)
@given(TEXTS)
def test_in_html_no_text_makes_an_element_or_an_attribute(text: str) -> None:
    page = html(text)
    assert page.elements == BENIGN_HTML.elements
    assert page.links == BENIGN_HTML.links, "nor a link"
    assert page.heading == visible(text), "and it is shown as it is"


@settings(max_examples=40)
@given(TEXTS)
def test_in_markdown_no_text_makes_a_block_a_cell_or_a_link(text: str) -> None:
    tokens = parsed(text)
    assert [token.type for token in tokens if token.type not in PARAGRAPHS] == BENIGN_MARKDOWN
    assert "<" not in markdown(text), "nor anything that other readers take for HTML"
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= HARMLESS | {"link_open", "link_close"}
    links = {str(child.attrs["href"]) for child in inline if child.type == "link_open"}
    assert links == {
        "https://atlas.mitre.org/techniques/AML.T0051.001",
        "https://atlas.mitre.org/techniques/AML.T9999",
    }


@settings(max_examples=40)
@given(TEXTS)
def test_in_markdown_every_row_has_the_cells_of_its_table(text: str) -> None:
    """Also for readers who split at each pipe and know no escapes."""
    columns = 0
    for line in markdown(text).split("\n"):
        if not line.startswith("|"):
            columns = 0
            continue
        columns = columns or line.count("|")
        assert line.count("|") == columns, line


@pytest.mark.parametrize("text", PAYLOADS)
def test_in_markdown_the_title_reads_as_it_was_given(text: str) -> None:
    heading = next(token for token in parsed(text) if token.type == "inline")
    assert "".join(child.content for child in heading.children or ()) == " ".join(visible(text).split())


@pytest.mark.parametrize("form", list(Form))
def test_nothing_that_acts_on_a_terminal_is_printed(form: Form) -> None:
    body = render(report(incident("\x1b[2J\x9b31m\x07\u202e")), form).decode()
    if form is not Form.JSON:  # which is data: it has what there was
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", body)
        assert "[U+001B]" in body or r"\[U+001B\]" in body


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " https://example.test",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example.test",
        "https://",
        "https://good.example.test@evil.example.test",
        "http://[",
        "s3://evidence/prod",
    ],
)
def test_only_addresses_of_the_web_become_links(url: str) -> None:
    body = raw()
    body["spec"]["externalRefs"][0]["url"] = url
    made = report(body)
    page = Structure(render(made, Form.HTML).decode())
    assert all(link.startswith("https://") for link in page.links)
    assert not any("jira" in link or "evil" in link for link in page.links)
    assert "Jira OPS\\-1287" not in render(made, Form.MARKDOWN).decode()
    assert f"OPS-1287 ({visible(url)})" in page.text, "it is told"


def test_an_address_cannot_leave_its_link() -> None:
    body = raw()
    body["spec"]["externalRefs"][0]["url"] = 'https://example.test/a)b(c"d>e<f|g\\h`i&j=1#k'
    made = report(body)
    page = Structure(render(made, Form.HTML).decode())
    (link,) = [each for each in page.links if "example.test/a" in each]
    assert link == "https://example.test/a%29b%28c%22d%3Ee%3Cf%7Cg%5Ch%60i&j=1#k"
    tokens = MarkdownIt("commonmark").enable("table").parse(render(made, Form.MARKDOWN).decode())
    hrefs = [str(c.attrs["href"]) for token in tokens for c in token.children or () if c.type == "link_open"]
    assert link in hrefs
