"""Writes text so that Markdown contains no HTML of others."""

from __future__ import annotations

import re

_HTML = re.compile(r"<(?=[A-Za-z/!?])")


def without_html(text: str) -> str:
    """Return Markdown in which `<` begins no HTML, such as a script or the comment that ends a table in a page.

    Labels and names can be from records of other people.
    """
    return _HTML.sub("&lt;", text)
