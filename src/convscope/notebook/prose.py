"""Markdown as HTML, with the pictures that stand beside it or are attached to it put into it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ATTACHED = "attachment:"
_KINDS = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}

Attachments = Mapping[str, Mapping[str, str]]
"""By the name of a picture: its contents in base64, by their media types."""


class Prose:
    """Turns markdown into HTML.

    Args:
        folder: Where pictures with a relative path are looked for, and nowhere above it; None looks for none.
    """

    def __init__(self, folder: Path | None) -> None:
        from markdown_it import MarkdownIt

        self._folder = folder
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def __call__(self, source: str, attachments: Attachments | None = None) -> str:
        """The HTML of a text; a picture that is not at hand is left as it is named."""
        tokens = self._markdown.parse(source)
        for part in (part for token in tokens for part in token.children or []):
            if part.type == "image":
                name = str(part.attrGet("src"))
                part.attrSet("src", self._content(name, attachments or {}) or name)
        return str(self._markdown.renderer.render(tokens, self._markdown.options, {}))

    def _content(self, name: str, attachments: Attachments) -> str | None:
        """A picture as a ``data:`` URI."""
        if name.startswith(_ATTACHED):
            return _attached(attachments.get(unquote(name.removeprefix(_ATTACHED)), {}))
        parts = urlsplit(name)
        if self._folder is None or parts.scheme or parts.netloc:
            return None
        return _beside(unquote(parts.path), self._folder)


def data_uri(kind: str, content: str) -> str:
    """A picture of a media type, whose bytes are given in base64."""
    return f"data:{kind};base64,{''.join(content.split())}"


def _attached(forms: Mapping[str, str]) -> str | None:
    return next((data_uri(kind, content) for kind, content in forms.items() if kind.startswith("image/")), None)


def _beside(name: str, folder: Path) -> str | None:
    try:
        path = (folder / name).resolve()  # links are followed first, so that they lead nowhere else
        kind = _KINDS.get(path.suffix.lower())
        if kind is None or not path.is_relative_to(folder.resolve()):
            return None
        return data_uri(kind, base64.b64encode(path.read_bytes()).decode())
    except (OSError, ValueError):  # there is none, or no file can be called so
        return None
