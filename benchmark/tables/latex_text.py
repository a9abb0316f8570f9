"""Writes text and numbers so that LaTeX prints them as they are."""

from __future__ import annotations

import re
import textwrap
import unicodedata

_COMMANDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': r"\textquotedbl{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after `\\`, LaTeX reads [ and * as options
    "·": r"$\cdot$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "²": "$^2$", "³": "$^3$",
    "–": "--", "—": "---", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''",
    "●": r"$\bullet$", "○": r"$\circ$", "◉": r"$\odot$", "\N{NO-BREAK SPACE}": "~",
}  # fmt: skip
_HYPHENS = re.compile(r"-(?=-)")
_EXPONENT = re.compile(r"e([+-])0*(\d+)$")
LAST_LATIN, NOT_IN_T1 = 0x17F, "ĦħĸĿŀŉŦŧſ"
"""Last letter that pdfLaTeX prints with the font encoding T1, and the letters before it that T1 lacks."""


def escape(text: str) -> str:
    """Return a text as LaTeX prints it: special characters are escaped, white space becomes one space.

    Letters of all scripts stay as they are. `needs_unicode_fonts` returns which of them pdfLaTeX cannot print.
    """
    separated = _HYPHENS.sub("-\0", _clean(text))  # LaTeX would print two hyphens as a dash
    return "".join(_COMMANDS.get(character, character) for character in separated).replace("\0", "{}")


def _clean(text: str) -> str:
    """Return the text with composed letters, without invisible characters, and with single spaces."""
    spaced = " ".join(unicodedata.normalize("NFC", text).replace("\N{NO-BREAK SPACE}", " ").split())
    return "".join(character for character in spaced if unicodedata.category(character)[0] != "C")


def needs_unicode_fonts(text: str) -> str:
    """Return the characters that pdfLaTeX cannot print, each once: those beyond the Latin letters of Europe."""
    rare = [c for c in _clean(text) if (ord(c) > LAST_LATIN or c in NOT_IN_T1) and c not in _COMMANDS]
    return "".join(dict.fromkeys(rare))


def number(text: str) -> str:
    """Return a formatted number for math mode: `2.19e+13` -> `2.19 \\times 10^{13}`."""
    return _EXPONENT.sub(lambda match: rf" \times 10^{{{match[1].strip('+')}{match[2]}}}", text)


def comment(text: str) -> list[str]:
    """Return a text as lines of a comment of at most 100 characters."""
    return [f"% {line}" for line in textwrap.wrap(_clean(text), 98, break_long_words=False, break_on_hyphens=False)]
