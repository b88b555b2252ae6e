# SPDX-License-Identifier: Apache-2.0
"""Keeps credentials out of texts: exceptions, messages of the remote side and the HTTP libraries' debug logs.

What is a secret, and what is none: Airflow masks nothing shorter than five characters, nor the word "airflow", and so
do we. To replace each "1" or each "prod" would wreck the very texts that say what is wrong, and show the secret to who
sees what is missing. Where a value stands as such, as the value of a parameter that is named, or as a whole input of a
node, it is masked however short it is.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

from airflow_provider_sops.core.text import DEEPEST, as_text, storable

MASK = "***"
#: Shorter ones are not masked within a text, as Airflow does it by default.
SHORTEST_SECRET = 5
#: Words that Airflow never masks.
_NEVER_MASKED = frozenset({"airflow"})
#: The credentials that ESB takes as parameters, wherever they stand in a query string or a JSON text.
_CREDENTIAL_PARAMETER = re.compile(
    r"""(bk_app_secret|app_secret|bk_token|bk_ticket|access_token)(=|%3D|\\*["']?\s*:\s*\\*["']?)([^&\s"'\\,}]+)"""
)
#: HTTP libraries write whole URLs into these loggers.
_HTTP_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry", "httpx", "httpcore.connection", "httpcore.http11")


#: Names of headers whose values are credentials. A tenant or a stage is none.
_SECRET_NAME = re.compile(
    r"authorization|cookie|passw(or)?d|secret|credential|session|(token|key|ticket|jwt|auth)$", re.I
)
_SECRET_FIELD = re.compile(r"authorization|passw(or)?d|secret|credential|token$", re.I)
_SCHEME = re.compile(r"^(?:Basic|Bearer|Token|Digest)\s+(\S.*)", re.I)
_COOKIE = re.compile(r"([^\s;=]+)=([^\s;]+)")


def is_maskable(secret: str, shortest: int = SHORTEST_SECRET) -> bool:
    """Return whether a secret is replaced wherever it stands in a text.

    :param shortest: fewest characters of one that is.
    """
    return len(secret) >= shortest and secret.lower() not in _NEVER_MASKED


def header_secrets(headers: Mapping[str, str]) -> list[str]:
    """Return the values of headers that are credentials by their names, also without ``Bearer`` and the like."""
    found = []
    for name, value in headers.items():
        if _SECRET_NAME.search(name):
            found.append(value)
            found += _SCHEME.findall(value)
        if "cookie" in name.lower():
            found += [secret for cookie, secret in _COOKIE.findall(value) if _SECRET_NAME.search(cookie)]
    return found


def secret_texts(value: Any) -> list[str]:
    """Return what must not be shown of a password variable's value: all the texts and numbers in it.

    Some versions of SOPS wrap a value as ``{"tag": …, "value": …}``; the tag is one of few words.
    """
    found: list[str] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += [one["value"]] if {"tag", "value"} <= set(one) else list(one.values())
        elif isinstance(one, list | tuple):
            waiting += one
        elif one is not None and not isinstance(one, bool):
            found.append(as_text(one))
    return list(dict.fromkeys(text for text in found if text))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret in ``text``, however its characters are written, and each ESB credential parameter.

    Call it before anything is cut, split into lines or encoded: half a secret is not found.
    """
    pattern = _pattern(frozenset(filter(is_maskable, secrets)))
    if pattern is not None:
        text = pattern.sub(MASK, text)
    return _CREDENTIAL_PARAMETER.sub(rf"\1\2{MASK}", text)


def _is_named_so(key: object, value: Any) -> bool:
    """Return whether a field of a node's form is a secret by its name, whatever variable it is filled from."""
    return isinstance(key, str) and bool(_SECRET_FIELD.search(key)) and value not in (None, "", [], {})


def scrub_values(value: Any, secrets: Collection[str], depth: int = 0) -> Any:
    """Replace secrets in a JSON value before it is encoded; a whole value that is one also where it is short."""
    if isinstance(value, Mapping | list | tuple):
        if depth >= DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            return {
                scrub(as_text(key), secrets): MASK if _is_named_so(key, one) else scrub_values(one, secrets, depth + 1)
                for key, one in value.items()
            }
        return [scrub_values(one, secrets, depth + 1) for one in value]
    if value is None or isinstance(value, bool):
        return value
    text = as_text(value)
    if text in secrets:
        return MASK
    scrubbed = scrub(text, secrets)
    return value if scrubbed == text else scrubbed


@lru_cache(maxsize=32)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Make what finds secrets, the longest first, as one may be part of another."""
    if not secrets:
        return None
    return re.compile("|".join(_written(secret) for secret in sorted(secrets, key=lambda one: (-len(one), one))))


def _written(secret: str) -> str:
    """Make a regular expression for a text in all the forms in which JSON, URLs, Python and HTML write it.

    Each character by itself: which of them are escaped differs between libraries, and what quotes stand around.
    """
    runs = re.findall(r"\\+|[^\\]", secret.replace("\r\n", "\n"), re.S)
    return "".join(_backslashes(len(run)) if run[0] == "\\" else _character(run) for run in runs)


#: A backslash, in a URL too; up to three encodings in each other double it.
_BACKSLASH = r"(?:\\|%(?:25){0,2}5[Cc])"
_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a"}


def _backslashes(count: int) -> str:
    return f"{_BACKSLASH}{{{count},{8 * count}}}"


def _character(character: str) -> str:
    """Make the alternatives for one character; no encoding touches ASCII letters and digits."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    octets = [f"{octet:02x}" for octet in character.encode("utf-8", "surrogatepass")]
    # the raw character comes last, as "%" and "&" begin others of its forms
    plain = [
        "".join(f"%(?:25){{0,2}}(?i:{octet})" for octet in octets),
        f"&(?i:#0*{code}|#x0*{code:x});",
        re.escape(html.escape(character)),
        re.escape(character),
    ]
    escaped = [*plain, f"u(?i:{code:04x})", f"U(?i:{code:08x})", f"x(?i:{code:02x})"]
    if code > 0xFFFF:
        high, low = divmod(code - 0x10000, 0x400)
        escaped.append(f"u(?i:{0xD800 + high:04x}){_BACKSLASH}{{1,7}}u(?i:{0xDC00 + low:04x})")
    if len(octets) > 1:  # as Python writes bytes
        escaped.append(f"{_BACKSLASH}{{1,7}}".join(f"x(?i:{octet})" for octet in octets))
    if character in _ESCAPES:
        escaped.append(_ESCAPES[character])
    forms = [f"{_BACKSLASH}{{1,7}}(?:{'|'.join(escaped)})", *plain]
    if character == " ":
        forms.append(r"(?:\+|%(?:25){0,2}2[Bb])")
    before = f"(?:{_character(chr(13))})?" if character == "\n" else ""
    return f"{before}(?:{'|'.join(forms)})"


def scrubbed_cause(error: BaseException, secrets: Iterable[str]) -> Exception:
    """Copy an HTTP library's exception without its request, its URL and its own causes, which hold the credentials."""
    text = storable(scrub(str(error), secrets))
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
            return False  # httpx logs every request at this level: one line a poll in the log of a task
        if _CREDENTIAL_PARAMETER.search(message):
            record.msg = scrub(message, ())
            record.args = None
        return True


_FILTER = _ScrubCredentialParameters()


def protect_http_logs(base_url: str) -> None:
    """Make the HTTP libraries' loggers drop ESB credentials from the URLs that they write.

    :param base_url: requests below this address are not logged at level INFO either, only at DEBUG.
    """
    _FILTER.quiet_addresses.add(base_url)
    for name in _HTTP_LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)
