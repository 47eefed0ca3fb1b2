"""HTML and Markdown without their marks: the text that a person reads, in paragraphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

UNREAD = ("script", "style", "template", "noscript", "svg", "nav", "button", "select", "textarea", "iframe")
"""Elements whose content is no part of the text. A form is read: of many pages it is all there is. So is a head but for
its title, as neither its end nor a body need be written."""
_BLOCKS = ("p", "div", "section", "article", "main", "header", "footer", "li", "ul", "ol", "table", "tr", "h1", "h2",
           "h3", "h4", "h5", "h6", "blockquote", "pre", "figure", "dl", "dt", "dd", "hr", "aside")  # fmt: skip
_FRONT = re.compile(r"\A---[ \t]*\n(?:[^\n]*\n){0,200}?---[ \t]*\n")
_PICTURE = re.compile(r"!\[([^\[\]\n]{0,300})\]\([^()\n]{0,1000}\)")
_LINK = re.compile(r"\[([^\[\]\n]{1,300})\]\([^()\n]{0,1000}\)")
_HEADING = re.compile(r"^[ ]{0,3}#{1,6}[ \t]+(.*)$", re.MULTILINE)
_RULE = re.compile(r"^[ ]{0,3}(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+\n?")
_STRESS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3})(?=\S)([^*_\n]{1,300}?)(?<=\S)\1(?!\w)")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unread = ""
        """The unread element that is open; those in it are counted where they are of its kind."""
        self.depth = 0
        self.title: list[str] = []
        self.in_title = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "body":
            self.unread, self.in_title = "", False  # what was not closed before ends here
        if self.unread:
            self.depth += tag == self.unread
            return
        if tag == "title":
            self.in_title = True
        elif tag in UNREAD:
            self.unread, self.depth = tag, 1
        else:
            self.parts.append("\n" if tag == "br" else "\n\n" if tag in _BLOCKS else " " if tag in ("td", "th") else "")

    def handle_endtag(self, tag: str) -> None:
        if self.unread:
            self.depth -= tag == self.unread
            if not self.depth:
                self.unread = ""
        elif tag in ("title", "head"):
            self.in_title = False
        elif tag in _BLOCKS:
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self.unread:
            return
        if self.in_title:
            self.title.append(data)
        else:
            self.parts.append(data)


def html_text(page: str) -> str:
    """Return the text of a page of HTML: paragraphs between blank lines, its title first; none of a title alone."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    title = " ".join("".join(reader.title).split())
    paragraphs = [" ".join(part.split()) for part in "".join(reader.parts).split("\n\n")]
    return "\n\n".join(filter(None, (title, *paragraphs))) if any(paragraphs) else ""


def _heading(line: re.Match[str]) -> str:
    """The words of a heading, a paragraph of their own."""
    return "\n" + line[1].rstrip(" \t#") + "\n"


def markdown_text(page: str) -> str:
    """Return the text of a page of Markdown: without front matter, rules, pictures' addresses and marks of stress."""
    text = _FRONT.sub("", page)
    text = _LINK.sub(r"\1", _PICTURE.sub(r"\1", text))
    text = _STRESS.sub(r"\2", _RULE.sub("", _HEADING.sub(_heading, text)))
    return _BLANK_LINES.sub("\n\n", text).strip()
