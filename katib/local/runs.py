"""What runs for a trial: a program of its own, or a request to a worker that is warm."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from parak8s.katib.local.events import Loop
from parak8s.tfjobs.local.containers import Launch
from parak8s.tfjobs.local.logs import Log
from parak8s.tfjobs.local.processes import Process

OWN = ("parak8s", "step", "trial")
"""How a command begins that a warm worker can do."""
WORKER = (sys.executable, "-m", "parak8s.trial_worker")
MOST_GROWN = 1 << 30
"""Bytes by which a worker may grow after its first trial; then it makes room for a new one: TensorFlow keeps some
memory of each model."""


class Listener(Protocol):
    """Hears of a run."""

    def wrote(self, data: bytes) -> None:
        """The run has written something."""

    def ended(self, code: int) -> None:
        """The run is over, and has written all that it wrote."""


class Run(Protocol):
    """A trial's program while it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it, with all that it started."""

    def close(self) -> None:
        """Let go of it; whatever still runs is killed."""


class Program:
    """A program of its own, under its keeper.

    Args:
        loop: Where events come from.
        name: Of the trial.
        launch: What to run.
        listener: Hears of it.
    """

    def __init__(self, loop: Loop, name: str, launch: Launch, listener: Listener) -> None:
        self._loop, self._listener = loop, listener
        self.process = Process(name, launch)
        loop.watch(self.process.control, self._heard)
        loop.watch(self.process.output, self._read)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill all of it."""
        self.process.kill()

    def close(self) -> None:
        """Let go of it."""
        if not self.process.output.closed:
            self._loop.unwatch(self.process.control)
            self._loop.unwatch(self.process.output)
            self.process.close()

    def _read(self) -> None:
        data = self.process.read()
        if data:
            self._listener.wrote(data)
        elif data is not None:
            self._loop.unwatch(self.process.output)

    def _heard(self) -> None:
        self.process.listen()
        if self.process.code is None:
            return
        while data := self.process.read():
            self._listener.wrote(data)
        self.close()
        self._listener.ended(self.process.code)


class Worker:
    """A process that has TensorFlow loaded, and trains one trial after the other.

    Args:
        loop: Where events come from.
        name: Of the worker.
        launch: As of its first trial: its variables are the worker's.
        log: What it says between trials.
    """

    def __init__(self, loop: Loop, name: str, launch: Launch, log: Path) -> None:
        self._loop, self._log = loop, Log(log)
        self._home = tempfile.mkdtemp(prefix="parak8s-")
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(f"{self._home}/door")
        self._door.listen(1)
        self._line: socket.socket | None = None
        self._heard = b""
        self._request: bytes | None = None
        self._listener: Listener | None = None
        self.grown = 0
        """Bytes since the first trial."""
        self._first_memory: int | None = None
        self.alive = True
        self._program = Program(loop, name, Launch((*WORKER, f"{self._home}/door"), launch.environment, Path()), self)
        loop.watch(self._door, self._welcome)

    @property
    def idle(self) -> bool:
        """Whether it can take a trial."""
        return self.alive and self._listener is None

    def run(self, launch: Launch, listener: Listener) -> None:
        """Begin a trial; ``listener`` hears of it."""
        asked = {"arguments": launch.arguments[len(OWN) :], "environment": dict(launch.environment)}
        self._listener, self._request = listener, json.dumps(asked).encode() + b"\n"
        self._send()

    def terminate(self) -> None:
        """Ask the trial to end; the worker stays."""
        self._program.terminate()

    def kill(self) -> None:
        """Kill the worker with the trial."""
        self._program.kill()

    def close(self) -> None:
        """Let go of it."""
        if not self.alive:
            return
        self.alive = False
        for each in (self._door, self._line):
            if each is not None:
                self._loop.unwatch(each)
                each.close()
        self._program.close()
        self._log.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def wrote(self, data: bytes) -> None:
        """Hand on what the process wrote: the trial's, or its own."""
        if self._listener is not None and self._request is None:
            self._listener.wrote(data)
        else:
            self._log.write(data)

    def ended(self, code: int) -> None:
        """The process is gone, and a trial with it."""
        listener, self._listener = self._listener, None
        self.close()
        if listener is not None:
            listener.ended(code)

    def _welcome(self) -> None:
        self._line, _ = self._door.accept()
        self._loop.watch(self._line, self._listen)
        self._send()

    def _send(self) -> None:
        if self._line is not None and self._request is not None:
            with contextlib.suppress(OSError):  # a worker that is gone is heard of in ended
                self._line.sendall(self._request)
            self._request = None

    def _listen(self) -> None:
        assert self._line is not None
        try:
            said = self._line.recv(4096)
        except OSError:
            said = b""
        if not said:
            self._loop.unwatch(self._line)  # the process ends: its keeper tells how
            return
        *lines, self._heard = (self._heard + said).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            self._over(answer["code"], answer["memory"])

    def _over(self, code: int, memory: int) -> None:
        self._first_memory = memory if self._first_memory is None else self._first_memory
        self.grown = memory - self._first_memory
        while data := self._program.process.read():  # written before the code was sent
            self.wrote(data)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.ended(code)


class Pool:
    """The workers, one for each trial that runs at the same time.

    Args:
        loop: Where events come from.
        logs: Folder for what workers say between trials.
    """

    def __init__(self, loop: Loop, logs: Path) -> None:
        self._loop, self._logs = loop, logs
        self._workers: dict[int, Worker] = {}

    def run(self, slot: int, launch: Launch, listener: Listener) -> Run:
        """Begin a trial in the worker of a slot, which is started where there is none."""
        worker = self._workers.get(slot)
        if worker is None or not worker.idle or worker.grown > MOST_GROWN:
            if worker is not None:
                worker.close()
            name = f"worker-{slot}"
            worker = self._workers[slot] = Worker(self._loop, name, launch, self._logs / f"{name}.log")
        worker.run(launch, listener)
        return worker

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()


def is_own(launch: Launch) -> bool:
    """Return whether a warm worker can do it."""
    return tuple(launch.arguments[: len(OWN)]) == OWN and not os.environ.get("PARAK8S_COLD_TRIALS")
