# SPDX-License-Identifier: Apache-2.0
"""The synchronous client: sends one prepared request with ``requests`` and hands back the reply."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.answer import Answer
from airflow_provider_sops.core.api.calls import DEFAULT_SCOPE, Call, Scope, make_call
from airflow_provider_sops.core.api.catalogue import Method
from airflow_provider_sops.core.call_flow import Flow, Report, Sleep, ignore
from airflow_provider_sops.core.http.api_availability import ApiAvailability
from airflow_provider_sops.core.http.endpoint import Endpoint, HttpRequest
from airflow_provider_sops.core.http.network import route_to
from airflow_provider_sops.core.http.reply import HttpReply
from airflow_provider_sops.core.http.retry import RetryPolicy
from airflow_provider_sops.core.http.transport import TransportSettings, connection_failed, header_text
from airflow_provider_sops.core.redact import protect_http_logs

if TYPE_CHECKING:
    import requests

T = TypeVar("T")


class SopsClient:
    """Calls SOPS' APIs at one endpoint, over one reused HTTP session, with retries.

    :param endpoint: address and credentials.
    :param bk_biz_id: business (or project) asked when a call names none.
    :param scope: what ``bk_biz_id`` is.
    :param settings: time limits, TLS and proxies.
    :param retry: how often a call is tried.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        bk_biz_id: int | None = None,
        scope: Scope = DEFAULT_SCOPE,
        settings: TransportSettings | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.bk_biz_id = bk_biz_id
        self.scope: Scope = scope
        self.settings = settings or TransportSettings()
        self.retry = retry or RetryPolicy()
        self._availability = ApiAvailability()
        self._session: requests.Session | None = None

    def __enter__(self) -> SopsClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HTTP session; the next call opens a new one."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def call(
        self,
        name: str,
        /,
        *,
        http_method: Method | None = None,
        path_ids: tuple[str, ...] | None = None,
        **params: Any,
    ) -> Answer:
        """Call any API of SOPS by its name.

        :param name: e.g. ``get_template_schemes``.
        :param http_method: for APIs that this provider does not list; by default GET for ``get_…`` and ``query_…``.
        :param path_ids: for such APIs: the parameters that stand in the gateway's path, in order.
        :param params: ids and parameters as SOPS names them.
        :return: the answer with ``data`` and the whole ``body``.
        :raises errors.SopsError: (one of its kinds) when there is no good answer.
        :raises errors.SopsConfigError: when an id is missing or not a number, or certificates or proxy cannot be used.
        """
        return self.send(
            make_call(name, params, bk_biz_id=self.bk_biz_id, scope=self.scope, http_method=http_method, ids=path_ids)
        )

    def send(self, call: Call) -> Answer:
        """Send one call, tried again where the policy allows it.

        An API that this SOPS lacks looks like a site that is away, until another API has answered in between: so a
        first call of one is tried again as for an outage, and its error says since which release SOPS has it. One that
        is asked for once more after an answer of another API ends at once, with
        :class:`~airflow_provider_sops.core.errors.SopsApiNotFoundError`.

        :raises errors.SopsError: (one of its kinds) when there is no good answer.
        """
        started = time.monotonic()
        tries = 0
        while True:
            tries += 1
            answer, error = self._try(call)
            if answer is not None:
                return answer
            assert error is not None
            delay = self.retry.delay(call, error, tries, time.monotonic() - started)
            if delay is None:
                raise error
            time.sleep(delay)

    def run(self, flow: Flow[T], report: Report = ignore) -> T:
        """Carry out a flow: send each call that it yields, and give it the answer or the error.

        :param report: takes the log lines and secrets that the flow yields, at once.
        :raises errors.SopsError: what the flow lets through, or raises itself.
        """
        try:
            step = next(flow)
            while True:
                if isinstance(step, Call):
                    try:
                        answer = self.send(step)
                    except errors.SopsError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(answer)
                    continue
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                else:
                    report(step)
                step = next(flow)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _try(self, call: Call) -> tuple[Answer | None, errors.SopsError | None]:
        # errors are handed back, not raised inside the except block of an HTTP library's exception: that one holds
        # the URL, with ESB's credentials in it, and would stay attached as __context__
        reply = self._send_once(self.endpoint.request(call), call)
        if isinstance(reply, errors.SopsError):
            return None, reply
        try:
            answer = self.endpoint.read(call, reply)
        except errors.SopsError as error:
            return None, self._availability.note_failure(call, error)
        self._availability.note_answer(call)
        return answer, None

    def _send_once(self, request: HttpRequest, call: Call) -> HttpReply | errors.SopsError:
        import requests

        from airflow_provider_sops.core.http.session import within

        session = self._session or self._open_session()
        try:
            with within(self.settings.whole_timeout):
                response = session.request(
                    request.method,
                    request.url,
                    params=request.query,
                    headers=request.headers,
                    data=request.body,
                    timeout=(self.settings.connect_timeout, self.settings.read_timeout),
                    allow_redirects=False,
                )
        except requests.exceptions.Timeout as error:
            sent = not isinstance(error, requests.exceptions.ConnectTimeout)
            return connection_failed(call, self.endpoint, error, sent=sent, timed_out=True)
        except (requests.exceptions.RequestException, OSError) as error:
            timed_out = _read_timed_out(error)
            return connection_failed(call, self.endpoint, error, sent=not _never_connected(error), timed_out=timed_out)
        # the library has read the bytes as latin-1, whatever they are
        headers = {name.lower(): header_text(value.encode("latin-1")) for name, value in response.headers.items()}
        return HttpReply(response.status_code, headers, response.content)

    def _open_session(self) -> requests.Session:
        from airflow_provider_sops.core.http.session import open_session

        protect_http_logs(self.endpoint.base_url)
        self._session = open_session(route_to(self.endpoint.base_url, self.settings))
        return self._session


def _never_connected(error: BaseException) -> bool:
    """Return whether no connection was made, so that the request cannot have reached the server."""
    from ssl import SSLCertVerificationError

    from requests.exceptions import ProxyError, RequestException
    from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

    if isinstance(error, ProxyError):
        return True
    if not isinstance(error, RequestException):
        return False
    reason = error.args[0] if error.args else None
    if not isinstance(reason, MaxRetryError):
        return False
    # any other error of TLS may come with the answer
    failed = reason.reason.args[0] if reason.reason is not None and reason.reason.args else None
    return isinstance(failed, SSLCertVerificationError) or isinstance(
        reason.reason, NewConnectionError | NameResolutionError
    )


def _read_timed_out(error: BaseException) -> bool:
    """Tell a time-out in the middle of an answer, which ``requests`` reports as a connection error."""
    from urllib3.exceptions import ReadTimeoutError

    return any(isinstance(arg, ReadTimeoutError) for arg in error.args)
