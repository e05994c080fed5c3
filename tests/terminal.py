"""A terminal for tests: gives commands to ``main`` in this process."""

import sys

import pytest

from parak8s import cli


class Terminal:
    """Gives commands; what was printed last is in ``out`` and ``err``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        """Give one command; return its exit code."""
        self.monkeypatch.setattr(sys, "argv", ["parak8s", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        self.out, self.err = self.capsys.readouterr()
        assert stop.value.code is None or isinstance(stop.value.code, int)
        return stop.value.code or 0
