"""What every page has to keep."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

VOID = {"meta", "link", "br", "img", "hr", "input"}


class PageCheck(HTMLParser):
    """Collects a page's text and ids; tags must close in order, and nothing may point outside the page."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.ids: list[str] = []
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert self._open == []
        assert not re.search(r"url\((?!#)|@import", document)
        assert document.count("<script>") == document.count("<script") == 1, (
            "the page's own script, and no other"
        )
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self._open.append(tag)
        self._check(attrs)

    def handle_startendtag(self, tag, attrs):
        self._check(attrs)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def _check(self, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert value.startswith(("#", "data:")), f"{name} points outside: {value}"
            assert not name.startswith("on"), f"a handler: {name}"
            if name == "id":
                self.ids.append(value)


@pytest.fixture
def read_page():
    """Parses a document, checks it and returns its text."""
    return lambda document: PageCheck(document).text
