# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of a test's own, on a port of loopback; what it holds is thrown away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.live.processes import Process, free_ports, wait_until


def _program(name: str) -> Path:
    """Find a program of PostgreSQL's server; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found[-1] if found else Path(shutil.which(name) or name)


class Postgres:
    """The server, as a context manager.

    :param log: the file that its output goes to.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        (self._port,) = free_ports(1)
        self._process: Process | None = None
        self.address = f"postgres@127.0.0.1:{self._port}/postgres"

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.running

    def __enter__(self) -> Postgres:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        user = None
        if os.getuid() == 0:  # PostgreSQL refuses root
            user = "postgres"
            os.chown(self._folder, pwd.getpwnam(user).pw_uid, -1)
        data = self._folder / "data"
        subprocess.run(
            [_program("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=user,
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            check=True,
            capture_output=True,
        )
        options = {"listen_addresses": "127.0.0.1", "max_connections": "200", "fsync": "off"}
        command: list[str | Path] = [_program("postgres"), "-D", data, "-p", str(self._port), "-k", data]
        command += [f"-c{name}={value}" for name, value in options.items()]
        self._process = Process(command, env={"PATH": os.defpath}, log=self._log, cwd=self._folder, user=user)
        ready: list[str | Path] = [_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self._port)]
        wait_until("PostgreSQL is up", lambda: subprocess.run(ready, capture_output=True).returncode == 0, seconds=60)
