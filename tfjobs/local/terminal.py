"""Shows the lines of all replicas on one terminal, each behind the name of its replica in a colour of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta", "bright_green")


class Terminal:
    """A narrator for people.

    Args:
        console: Where to; None for standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, force_jupyter=False)
        self._names: dict[str, str] = {}

    def opened(self, replicas: Sequence[str]) -> None:
        """Give every replica its colour."""
        width = max(map(len, replicas))
        for place, replica in enumerate(replicas):
            with self._console.capture() as captured:
                self._console.print(Text(f"{replica:<{width}} | ", COLOURS[place % len(COLOURS)]), end="")
            self._names[replica] = captured.get()

    def began(self, replica: str, start: int, process: int) -> None:
        """Show the process that a user may watch or kill."""
        again = "" if start == 1 else f", start {start}"
        self._print(f"{replica} runs as process {process}{again}", "dim")

    def said(self, replica: str, line: str) -> None:
        """Show a line; not by rich, which would take a hundred times as long and hold the replicas up."""
        file, encoding = self._console.file, self._console.encoding
        file.write(f"{self._names[replica]}{line.encode(encoding, 'replace').decode(encoding)}\n")
        file.flush()

    def ended(self, replica: str, code: int, then: str) -> None:
        """Show how a replica ended, and what follows."""
        self._print(f"{replica} ended with exit code {code}: {then}", "dim" if code == 0 else "bold")

    def told(self, sentence: str) -> None:
        """Show what the engine says."""
        self._print(sentence, "bold")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style), soft_wrap=True)
