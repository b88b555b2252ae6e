# SPDX-License-Identifier: Apache-2.0
"""Processes of a test: each in a session of its own, so that all of it can be found and ended, and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def _stop(number: int, frame: object) -> None:
    pytest.exit(f"signal {number}", returncode=128 + number)


# so that what a test has started is stopped too when somebody stops the tests
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, _stop)


@dataclass(frozen=True, slots=True)
class Found:
    """A line of the machine's table of processes."""

    pid: int
    parent: int
    session: int
    state: str
    command: str


def processes() -> Iterator[Found]:
    """Read the table of processes."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # the name, in brackets, may hold anything
                state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Found(int(folder.name), int(parent), int(session), state, command)


class Process:
    """A program that runs until it is stopped, with all that it starts.

    :param log: the file that its output goes to.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.command, self.log = [str(part) for part in command], log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                env=dict(env),
                cwd=cwd,
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the program itself runs."""
        return self._popen.poll() is None

    def tail(self, lines: int = 60) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def members(self) -> list[Found]:
        """What lives in its session."""
        return [found for found in processes() if found.session == self.pid and found.state != "Z"]

    def terminate(self) -> None:
        """Ask all of it to end."""
        for member in self.members():
            _signal(member.pid, signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9`` all of it."""
        kill(self.members())
        self._popen.wait(timeout=30)

    def stop(self, patience: float = 20.0) -> None:
        """Ask all of it to end, then force it."""
        self.terminate()
        deadline = time.monotonic() + patience
        while self.members() and time.monotonic() < deadline:
            self._popen.poll()
            time.sleep(0.1)
        kill(self.members())
        self._popen.wait(timeout=30)


def kill(members: Iterable[Found]) -> None:
    """``kill -9`` processes."""
    for member in members:
        _signal(member.pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def family(pid: int, among: Iterable[Found]) -> list[Found]:
    """A process and all that it has started."""
    everyone = list(among)
    members = [found for found in everyone if found.pid == pid]
    for member in members:
        members += [found for found in everyone if found.parent == member.pid]
    return members


def free_ports(count: int) -> list[int]:
    """Find ports of this machine that nobody listens at.

    Not among those that the system gives to whoever asks for any, or another test would soon have them.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", random.randrange(20000, 32000)))  # noqa: S311 (no secret)
                found.append(int(one.getsockname()[1]))
        return found


def wait_until(what: str, observation: Callable[[], T], *, seconds: float, every: float = 0.5) -> T:
    """Look again and again until what is looked for is there.

    :param look: gives something false while it is not.
    :raises AssertionError: naming what did not come, and what was seen last.
    """
    deadline = time.monotonic() + seconds
    while not (seen := observation()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; seen last: {seen!r}"
        time.sleep(every)
    return seen
