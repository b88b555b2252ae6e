# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that fails what shows a secret: in a log record, an output, an exception, an XCom or Airflow's files.

The secrets are made up for the tests. Each holds a mark of letters and digits only, which every encoding of a URL, of
JSON or of a ``repr`` leaves as it is, so that the marks are what is looked for.
"""

from __future__ import annotations

import functools
import logging
import os
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

Reporting = Generator[None, pytest.TestReport, pytest.TestReport]

_HARD_TO_QUOTE = "/+&=%9"
APP_SECRET = f"Zq7appsecret{_HARD_TO_QUOTE}"
BK_TOKEN = f"Zq7bktoken{_HARD_TO_QUOTE}"
ACCESS_TOKEN = f"Zq7accesstoken{_HARD_TO_QUOTE}"
HEADER_SECRET = "Zq7headersecret"
PROXY_PASSWORD = "Zq7proxypassword"
#: the last ones are those of the fake SOPS when nothing else was said
MARKS = ("Zq7", "demo-secret", "demo-token", "demo-access-token")
#: the loggers that could write what is sent
_LOGGERS = ("airflow_provider_sops", "urllib3", "requests", "httpx", "httpcore")


class Finder:
    """Collects the places where a secret shows."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def observation(self, text: str, where: str) -> None:
        """Note each secret in a text."""
        for mark in MARKS:
            start = text.find(mark)
            if start >= 0:
                self.found.append(f"{mark!r} in {where}: …{text[max(0, start - 60) : start + 60]}…")

    def look_at_error(self, error: BaseException, where: str) -> None:
        """Look at an exception and all that hangs on it, also where a traceback would not print it."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            one = waiting.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            kind = f"{where}, {type(one).__name__}"
            self.observation(f"{one} {one!r} {vars(one)!r}", kind)
            for name, value in vars(one).items():  # such as the request that an HTTP library hangs on its errors
                self.observation(f"{getattr(value, '__dict__', '')!r}", f"{kind}.{name}")
        self.observation("".join(traceback.format_exception(error)), f"{where}, traceback")

    def look_at_files(self, folder: Path) -> None:
        """Look into all files below a folder, databases too."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.observation(path.read_bytes().decode("utf-8", "replace"), f"file {path.relative_to(folder)}")

    def take(self) -> list[str]:
        """Return what was found since the last time."""
        found, self.found = self.found, []
        return found


FINDER = Finder()


def look_at_xcom(key: str, value: Any) -> None:
    """Look at an XCom that a test's task pushed."""
    FINDER.observation(f"{key} {value!r}", f"XCom {key}")


def _look_at_record(record: logging.LogRecord) -> None:
    where = f"log of {record.name}"
    FINDER.observation(f"{record.getMessage()} {record.args!r}", where)
    if record.exc_info and record.exc_info[1] is not None:
        FINDER.look_at_error(record.exc_info[1], where)


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Look at every log record that has passed its logger's filters, and at every error that a test expects."""
    call_handlers = logging.Logger.callHandlers

    @functools.wraps(call_handlers)
    def look_and_call(self: logging.Logger, record: logging.LogRecord) -> None:
        _look_at_record(record)
        call_handlers(self, record)

    expects = type(pytest.raises(ZeroDivisionError))
    leave = expects.__exit__

    @functools.wraps(leave)
    def look_and_leave(self: Any, kind: Any, error: BaseException | None, trace: Any) -> Any:
        if error is not None:
            FINDER.look_at_error(error, "expected error")
        return leave(self, kind, error, trace)

    logging.Logger.callHandlers = look_and_call  # type: ignore[method-assign]
    expects.__exit__ = look_and_leave  # type: ignore[method-assign]

    def undo() -> None:
        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
        expects.__exit__ = leave  # type: ignore[method-assign]

    config.add_cleanup(undo)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the loggers write all that they can; Airflow may have set them up anew."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Reporting:
    """Look at what a test put out and at what it failed with; a secret fails the test."""
    report = yield
    if call.excinfo is not None:
        FINDER.look_at_error(call.excinfo.value, "error")
    for name, text in report.sections:
        if report.when in name:
            FINDER.observation(text, name)
    found = FINDER.take()
    if found and report.passed:
        report.outcome = "failed"
        report.longrepr = "\n".join(["A secret shows.", *dict.fromkeys(found)])
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look into Airflow's files: logs and database."""
    home = os.environ.get("AIRFLOW_HOME")
    if home:
        FINDER.look_at_files(Path(home))
    if FINDER.found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Return what the last look has found."""
    found = FINDER.take()
    if found:
        terminalreporter.section("A secret shows", red=True)
        for line in dict.fromkeys(found):
            terminalreporter.line(line)
