r"""A line of `prompt => completion`, and what a backslash means on it.

The first ` => ` splits; `\=>` is an arrow that does not, and is read as `=>`. `\n` is a newline,
but three kinds of `\n` stay as they are typed:

- `\\n`, which is read as the two characters `\n`;
- in a path that begins with a drive, a server, `.`, `..`, `~` or `%NAME%`, or that ends with a
  file's small name and ending: `C:\new`, `\\server\notes`, `..\new`, `docs\new.md`. A, B and Q are
  no drives, since `Q:\n` and `A:\n` are questions and answers;
- at the start of a LaTeX command: `\nu`, `\neq`, `\nabla`. Where the rest is a word or a letter as
  well (`\ne`, `\nless`), only behind a space, or if the line has other LaTeX (`$`, `\alpha`).

Where a line leaves a doubt, a note says how it was read. Knows one line; knows no rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .row import numbered

#: Separates a prompt from its completion; only the first one on a line splits.
ARROW = " => "

#: LaTeX's commands that begin with n, without it. What is left is no word after a newline.
_COMMANDS = (
    "u|eq|abla|ot|otin|ewline|ewcommand|ewpage|oindent|onumber|olimits|ormalsize|atural|earrow|"
    "warrow|geq|leq|geqslant|leqslant|gtr|cong|subseteq|supseteq|rightarrow|leftarrow|vdash|obreak"
)
#: These are words, or could begin a line.
_DOUBTFUL = "e|eg|i|less|mid|sim|prec|succ|exists|parallel"

_START = r"(?:[C-PR-Zc-pr-z]:|\\\\[\w.$-]+|\.\.?|~|%\w+%)\\"
_PATH = (
    rf"(?<![\w.\\]){_START}(?:Program Files(?: \(x86\))?|[^\s\"'<>|*?])*"
    r"|(?<![\w.\\-])[\w-]+(?:\\[a-z][a-z0-9_-]*)+\.[a-z]{1,4}(?![\w.\\])"
)
_BACKSLASH = re.compile(
    rf"(?P<path>{_PATH})|(?P<command>\\n(?:{_COMMANDS})(?![A-Za-z]))"
    rf"|(?P<doubtful>\\n(?:{_DOUBTFUL})(?![A-Za-z]))|\\(?P<escaped>\\n|\\?=>)|\\n"
)
_LATEX = re.compile(r"\$|\\[(\[]|\\[a-mo-zA-Z]+|\\n(?:" + _COMMANDS + r")(?![A-Za-z])")


def arrow(line: str) -> tuple[str, str] | None:
    r"""The two sides of a line's first arrow, with its newlines; None without an arrow.

    >>> arrow(r"What is $\nu$\nin C:\new? => A\=>B")
    ('What is $\\nu$\nin C:\\new?', 'A=>B')
    """
    prompt, found, completion = f" {line.strip()} ".partition(ARROW)
    if not found:
        return None
    return _read(prompt.strip(), line), _read(completion.strip(), line)


def newline_notes(lines: Iterable[tuple[int, str]]) -> list[str]:
    r"""What `\n` was on the lines where it may be in doubt, one note for each of its two readings.

    A line on which no other backslash is typed leaves no doubt.
    """
    kept: list[int] = []
    turned: list[int] = []
    example = ""
    for number, line in lines:
        if "\\n" not in line:
            continue
        read = arrow(line)
        both = "".join(read or ())
        latex = _LATEX.search(line) is not None
        as_typed = [m[0] for m in _BACKSLASH.finditer(line) if _stays(m, latex)]
        if any("\\n" in part for part in as_typed):
            kept.append(number)
            example = example or next(part for part in as_typed if "\\n" in part)
        if "\n" in both and "\\" in both:
            turned.append(number)
    notes = []
    if kept:
        notes.append(rf"\n stays as typed in {numbered('line', kept)} ({example[:30]})")
    if turned:
        notes.append(rf"\n is a newline in {numbered('line', turned)}; type \\n to keep it")
    return notes


def _read(side: str, line: str) -> str:
    if "\\" not in side:
        return side
    latex = _LATEX.search(line) is not None

    def meant(match: re.Match[str]) -> str:
        if match["escaped"]:
            return match["escaped"]
        return match[0] if _stays(match, latex) else "\n" + match[0][2:]

    return _BACKSLASH.sub(meant, side)


def _stays(match: re.Match[str], latex: bool) -> bool:
    """Whether a match is a path or a LaTeX command; `latex` is whether its line has others."""
    if match["doubtful"]:
        start = match.start()
        return latex or match.string[max(start - 1, 0) : start].isspace()
    return bool(match["path"] or match["command"])
