# SPDX-License-Identifier: Apache-2.0
"""Keeps credentials out of texts: exceptions, messages of the remote side and the HTTP libraries' debug logs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
#: Shorter strings are no secrets, and replacing them would make texts unreadable.
_SHORTEST_SECRET = 3
#: The credentials that ESB takes as parameters, wherever they stand in a query string or a JSON text.
_CREDENTIAL_PARAMETER = re.compile(
    r"""(bk_app_secret|app_secret|bk_token|bk_ticket|access_token)(=|%3D|\\*["']?\s*:\s*\\*["']?)([^&\s"'\\,}]+)"""
)
#: HTTP libraries write whole URLs into these loggers.
_HTTP_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry", "httpx", "httpcore.connection", "httpcore.http11")


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret in ``text``, also where it stands URL-encoded, and each ESB credential parameter."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for form in {secret, quote(secret, safe=""), quote_plus(secret), quote(secret)}:
                text = text.replace(form, MASK)
    return _CREDENTIAL_PARAMETER.sub(rf"\1\2{MASK}", text)


def scrubbed_cause(error: BaseException, secrets: Iterable[str]) -> Exception:
    """Copy an HTTP library's exception without its request, its URL and its own causes, which hold the credentials."""
    text = scrub(str(error), secrets)
    try:
        copy = type(error)(text)
    except Exception:  # its constructor wants more than a text
        copy = None
    if isinstance(copy, Exception) and scrub(repr(copy), secrets) == repr(copy):
        return copy
    return ConnectionError(f"{type(error).__name__}: {text}")


class _ScrubCredentialParameters(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.quiet_addresses: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno == logging.INFO and any(address in message for address in self.quiet_addresses):
            return False  # httpx tells of every request at this level: one line a poll in the log of a task
        if _CREDENTIAL_PARAMETER.search(message):
            record.msg = scrub(message, ())
            record.args = None
        return True


_FILTER = _ScrubCredentialParameters()


def protect_http_logs(base_url: str) -> None:
    """Make the HTTP libraries' loggers drop ESB credentials from the URLs that they write.

    :param base_url: requests below this address are not told of at level INFO either, only at DEBUG.
    """
    _FILTER.quiet_addresses.add(base_url)
    for name in _HTTP_LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
