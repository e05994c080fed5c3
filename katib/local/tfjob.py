"""Runs the TFJob of one trial, as a program: prints what its primary replica prints, and ends as the job ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from parak8s import files
from parak8s.errors import FAILED, ParaK8sError
from parak8s.tfjobs import local
from parak8s.tfjobs.local.reading import read


class _Primary(local.Quiet):
    """Prints the lines of the replica that Katib collects metrics from."""

    def __init__(self, name: str) -> None:
        self._name = name

    def said(self, replica: str, line: str) -> None:
        """Print the primary's line."""
        if replica == self._name:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def main() -> int:
    """Run the TFJob in the file that the first argument names; return the exit code."""
    file = Path(sys.argv[1])
    job: dict[str, Any] = files.read_json(file)
    wanted = read(job)
    primary = f"{(wanted.leader or 'Worker').lower()}-0"
    try:
        done = local.run(job, logs=file.parent / "logs", narrator=_Primary(primary))
    except ParaK8sError as error:
        sys.stderr.write(f"parak8s: {error}\n")
        return error.exit_code
    ended = {each["type"]: each for each in done["status"]["conditions"] if each["status"] == "True"}
    if "Succeeded" in ended:
        return 0
    sys.stderr.write(f"parak8s: {ended['Failed']['message'] if 'Failed' in ended else 'the TFJob did not end'}\n")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
