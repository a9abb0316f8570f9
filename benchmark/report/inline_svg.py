"""Turns matplotlib figures into SVG that can stand inside an HTML page: real text, unique ids, no links, no styles."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be read, searched and copied
    "svg.hashsalt": "palimpsest",  # the same figure gets the same ids in every report
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": "none",
}
_SVG = "{http://www.w3.org/2000/svg}"
_NAMESPACE = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_DROPPED = ("metadata", "style", "title")
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@contextmanager
def styled() -> Iterator[None]:
    """Draw the figures of the block in the style of a report: real text, transparent, the same in every run."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def inline_svg(figure: Figure, name: str, title: str) -> Markup:
    """Return a figure as an `<svg>` element.

    Ids begin with `name`, which must be unique on the page, because each figure of matplotlib uses the same ones.
    Comments, which matplotlib fills with labels, are dropped with the metadata and the style sheet.

    Args:
        figure: the figure, drawn inside `styled`.
        name: prefix of all ids: letters, digits and dashes.
        title: the figure's name for screen readers.
    """
    image = io.BytesIO()
    with styled():
        figure.savefig(image, format="svg", metadata=_NO_METADATA)
    root = ElementTree.fromstring(image.getvalue())
    for element in [*root.iter()]:
        for child in [*element]:
            if _NAMESPACE.sub("", child.tag) in _DROPPED:
                element.remove(child)
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", key): _renamed(key, text, name) for key, text in element.attrib.items()}
        element.tail = element.tail if (element.tail or "").strip() else None
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-labelledby": f"{name}-title"}
    heading = ElementTree.Element("title", {"id": f"{name}-title"})
    heading.text = title
    root.insert(0, heading)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # serialised, so labels are escaped


def _renamed(key: str, text: str, name: str) -> str:
    """Return an attribute's value with the page's prefix before each id."""
    if key == "id":
        return f"{name}-{text}"
    if key.endswith("href") and text.startswith("#"):
        return f"#{name}-{text[1:]}"
    return _REFERENCE.sub(rf"url(#{name}-\1)", text)
