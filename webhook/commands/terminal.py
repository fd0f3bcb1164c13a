"""Text as the terminal shows it: with its colors and its width."""

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.text import Text

# Where the second line of a finding begins.
_INDENT = "    "
# In a narrower terminal the indentation would take too much of each line.
_MIN_WIDTH = 40


def print_lines(lines: Iterable[Text], stream: TextIO) -> None:
    """Print lines, wrapped and in color if the stream is a terminal that has colors.

    NO_COLOR and FORCE_COLOR are respected. A line stays one line in files and pipes.
    """
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    wraps = stream.isatty() and console.width >= _MIN_WIDTH
    for line in lines:
        if console.color_system is None and not wraps:
            stream.write(f"{line.plain}\n")
        elif wraps:
            _print_wrapped(line, console)
        else:
            console.print(line, soft_wrap=True)


def _print_wrapped(line: Text, console: Console) -> None:
    """Print a line with the lines that it is wrapped into below its beginning."""
    first, *rest = line.wrap(console, console.width - len(_INDENT))
    first.rstrip()
    console.print(first, soft_wrap=True)
    for part in rest:
        part.rstrip()
        console.print(Text(_INDENT).append_text(part), soft_wrap=True)
