"""Links of a site that is shown below a path of ours: where they lead, so that they lead through us again. No I/O."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit, urlunsplit

_LINKS = {
    "a": "href", "area": "href", "audio": "src", "base": "href", "blockquote": "cite", "body": "background",
    "button": "formaction", "del": "cite", "embed": "src", "form": "action", "frame": "longdesc src",
    "head": "profile", "html": "manifest", "iframe": "longdesc src", "img": "longdesc src usemap",
    "input": "src usemap formaction", "ins": "cite", "link": "href", "object": "classid codebase data usemap",
    "q": "cite", "script": "src", "source": "src", "track": "src", "video": "poster src",
}  # fmt: skip
"""The attributes that hold links, by element."""
_ATTRIBUTE = re.compile(r"""(\s)([a-zA-Z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


@dataclass(frozen=True, slots=True)
class Mount:
    """A site below a path of ours."""

    scheme: str
    host: str
    """How the client names us."""
    prefix: str
    """The path of ours that is the site's root, without a slash at its end."""
    site: str
    """The site's own `host:port`."""

    def moved(self, link: str) -> str:
        """The link as the client has to follow it; itself where it leads elsewhere or is relative."""
        try:
            url = urlsplit(link)
        except ValueError:
            return link
        elsewhere = url.netloc and url.netloc not in (self.site, self.host)
        if elsewhere or not url.path.startswith("/"):
            return link
        if url.scheme or url.netloc:
            url = url._replace(scheme=self.scheme, netloc=self.host)
        if not url.path.startswith(self.prefix):
            path = posixpath.normpath(f"{self.prefix}/{url.path.lstrip('/')}")
            url = url._replace(path=path if not url.path.endswith("/") else f"{path}/")
        return urlunsplit(url)

    def moved_in_html(self, page: bytes) -> bytes:
        """A page with all its links moved, and no other byte changed."""
        text = page.decode("latin-1")  # Keeps every byte; names, quotes and links are ASCII.
        finder = _Finder(text)
        made, done = [], 0
        for begin, tag, raw in finder.found:
            made += [text[done:begin], self._moved_tag(tag, raw)]
            done = begin + len(raw)
        return "".join((*made, text[done:])).encode("latin-1")

    def _moved_tag(self, tag: str, raw: str) -> str:
        names = _LINKS[tag].split()

        def moved(match: re.Match[str]) -> str:
            space, name, equals, value = match.groups()
            if name.lower() not in names:
                return match[0]
            mark = value[0] if value[0] in "\"'" else ""
            return f"{space}{name}{equals}{mark}{self.moved(value.strip(mark) if mark else value)}{mark}"

        return _ATTRIBUTE.sub(moved, raw)


class _Finder(HTMLParser):
    """Finds the tags that hold links."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self._lines = [0, *_line_starts(text)]
        self.found: list[tuple[int, str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raw = self.get_starttag_text()
        if tag in _LINKS and attrs and raw:
            line, column = self.getpos()
            self.found.append((self._lines[line - 1] + column, tag, raw))


def _line_starts(text: str) -> Iterator[int]:
    return (match.end() for match in re.finditer("\n", text))
