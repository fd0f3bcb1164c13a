"""HTML pages as a browser reads them: their elements, their text and their policy."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

_VOID = {"meta", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text outside of style and script."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.own = {"style": "", "script": ""}
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.own:
            self.own[self.open[-1]] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def policy(self) -> str:
        (meta,) = [meta for meta in self.all("meta") if "http-equiv" in meta]
        return meta["content"] or ""

    def check_self_contained(self) -> None:
        """The page loads nothing, and its policy allows only its own style and script."""
        for tag in ("link", "img", "iframe", "object", "base"):
            assert self.all(tag) == []
        assert len(self.all("style")) == len(self.all("script")) == 1
        for tag, content in self.own.items():
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in self.policy
        assert self.policy.startswith("default-src 'none'; ")
        attributes = {name for _, own in self.elements for name in own}
        assert not {name for name in attributes if name.startswith("on")} | (
            attributes & {"style", "src"}
        )
        style = self.own["style"]
        assert "url(" not in style and "prefers-color-scheme: dark" in style

    def check_structure(self) -> None:
        """Headings descend by one level, and every anchor and label leads to one element."""
        levels = [int(tag[1]) for tag, _ in self.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(below - above <= 1 for above, below in pairwise(levels))
        ids = [own["id"] for _, own in self.elements if "id" in own]
        assert len(ids) == len(set(ids))
        labels = {own["aria-labelledby"] for _, own in self.elements if "aria-labelledby" in own}
        links = (str(link["href"]) for link in self.all("a"))
        targets = {link[1:] for link in links if link[0] == "#"}
        assert labels | targets <= set(ids)
        (form,) = self.all("form")
        assert "hidden" in form, "without JavaScript nothing can be filtered"
        assert not any("hidden" in article for article in self.all("article"))
