# SPDX-License-Identifier: Apache-2.0
"""What both clients share: how requests are sent, the errors of requests that got no reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.calls import Call
from airflow_provider_sops.core.http.endpoint import Endpoint
from airflow_provider_sops.core.redact import scrubbed_cause

T = TypeVar("T")


CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How requests are sent, as the connection says it; the same for both clients.

    :mod:`~airflow_provider_sops.core.http.network` adds what the environment says of TLS and proxies.
    """

    #: seconds to connect
    connect_timeout: float = CONNECT_TIMEOUT
    #: seconds between two pieces of an answer
    read_timeout: float = READ_TIMEOUT
    #: verify TLS: yes, no, or against these CA certificates, a file or a directory
    verify: bool | str = True
    #: proxy address by scheme (http, https, all); empty means the environment's
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def whole_timeout(self) -> float:
        """Seconds for a whole request, from connecting to the last piece of the answer.

        An answer that comes steadily may take longer than a server may be silent, but a trickling one ends.
        """
        return self.connect_timeout + 2.0 * self.read_timeout


def header_text(value: bytes) -> str:
    """Read a header's value: gateways write Chinese messages into one, in UTF-8."""
    return value.decode("utf-8", "replace")


def connection_failed(
    call: Call, endpoint: Endpoint, error: BaseException, *, sent: bool, timed_out: bool
) -> errors.SopsError:
    """Make the error of a call that got no reply, with a cause that holds no credentials.

    :param sent: whether the request may have reached the server.
    """
    cause = scrubbed_cause(error, endpoint.secrets)
    made: errors.SopsConnectionError | errors.SopsTimeoutError
    if timed_out:
        made = errors.make_error(
            errors.SopsTimeoutError,
            call,
            "no answer in time" if sent else f"could not connect to {endpoint.base_url} in time",
            remote_message=f"{type(error).__name__}: {cause}",
            hint="Try again; if it goes on, check the network, or raise timeout in the connection's extra.",
        )
    else:
        made = errors.make_error(
            errors.SopsConnectionError,
            call,
            f"could not get an answer from {endpoint.base_url}",
            remote_message=f"{type(error).__name__}: {cause}",
            hint="Check the connection's host, proxies and verify, and that the workers may reach it.",
        )
    made.may_have_been_sent = sent
    made.__cause__ = cause
    return made
