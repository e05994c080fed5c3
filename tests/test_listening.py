"""What the local runner's output says of its tasks."""

import io

import pytest

from parak8s.pipelines.listening import Listener


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def started(self, step: str) -> None:
        self.told.append(("started", step))

    def finished(self, step: str, summary: str, seconds: float | None) -> None:
        self.told.append(("reused" if seconds is None else "finished", step))

    def failed(self, step: str, reason: str) -> None:
        self.told.append(("failed", step, reason))

    def said(self, line: str) -> None:
        self.told.append(("said", line))


@pytest.mark.parametrize(
    ("lines", "sentence", "exit_code"),
    [
        (["parak8s: no such file", "exit code 2"], "no such file", 2),
        (["parak8s: two", "  lines", "exit code 1"], "two\n  lines", 1),
        (["parak8s: git failed:", "exit code of x is 3", "exit code 2"], "git failed:\nexit code of x is 3", 2),
        (["parak8s: git said", "exit code 3", "exit code 2"], "git said\nexit code 3", 2),
        (["parak8s: it was killed"], "it was killed", 1),
        (["Traceback", "ValueError: x", ""], "ValueError: x", 1),
    ],
)
def test_a_failed_task_tells_its_sentence_and_exit_code(lines: list[str], sentence: str, exit_code: int) -> None:
    heard, log = Heard(), io.StringIO()
    listener = Listener(heard, log)
    text = [
        "INFO - Executing task 'gate'",
        *(f"    {line}" for line in lines),
        "- Task 'gate' finished with status FAILURE",
    ]
    listener.write("\n".join([*text, ""]))
    assert (listener.failed, listener.sentence, listener.exit_code) == ("gate", sentence, exit_code)
    assert heard.told == [("started", "gate"), ("failed", "gate", sentence)]
