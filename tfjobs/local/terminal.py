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
        self._console = console or Console(highlight=False)
        self._colours: dict[str, str] = {}
        self._width = 0

    def opened(self, replicas: Sequence[str]) -> None:
        """Give every replica its colour."""
        self._width = max(map(len, replicas))
        self._colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(replicas)}

    def began(self, replica: str, start: int, process: int) -> None:
        """Show the process that a user may watch or kill."""
        again = "" if start == 1 else f", start {start}"
        self._print(replica, f"runs as process {process}{again}", "dim")

    def said(self, replica: str, line: str) -> None:
        """Show a line."""
        self._print(replica, line, "")

    def ended(self, replica: str, code: int, then: str) -> None:
        """Show how a replica ended, and what follows."""
        self._print(replica, f"ended with exit code {code}: {then}", "dim" if code == 0 else "bold")

    def told(self, sentence: str) -> None:
        """Show what the engine says."""
        self._console.print(Text(sentence, "bold"), soft_wrap=True)

    def _print(self, replica: str, text: str, style: str) -> None:
        name = f"{replica:<{self._width}} | "
        self._console.print(Text.assemble((name, self._colours.get(replica, "")), (text, style)), soft_wrap=True)
