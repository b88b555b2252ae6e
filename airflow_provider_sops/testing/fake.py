# SPDX-License-Identifier: Apache-2.0
"""The fake SOPS that listens."""

from __future__ import annotations

import threading
from typing import Self

from airflow_provider_sops.testing.server import Server
from airflow_provider_sops.testing.simulated import SimulatedSops


class FakeSops(SimulatedSops):
    """A stand-in for a SOPS site, over real HTTP on this machine.

    Use it as a context manager. It answers in threads of its own; tests look at it and change it from theirs.

    :param release: which SOPS it is: one of :data:`~airflow_provider_sops.testing.releases.RELEASES`. 3.34 answers
        as measured, an older one as its public source says.
    :param templates: TOML file with templates; None: the default set.
    :param replicas: number of web processes, each with caches of its own.
    :param granted: APIs that the app may call; None: all.
    :param users: user -> IAM actions (``"*"``: all). Default: ``admin`` may do everything.
    :param apps: app code -> secret. Default: ``demo-app`` / ``demo-secret``.
    :param trusted_apps: apps for which SOPS does not ask IAM.
    :param user_tokens: bk_token -> user. Default: ``demo-token`` is ``admin``'s.
    :param access_tokens: access token -> (app code, user). Default: ``demo-access-token`` is ``admin``'s.
    :param caches: whether SOPS' caches (10 s, 60 s) work.
    :param start_delay: seconds from start_task to the start; None: no worker takes it up. Before 3.6.46 the task has
        started at once, and for these seconds its status cannot be read.
    :param denial_status: HTTP status with which a user's missing permission is said by 3.4 to 3.30: 200 or 499.
    :param host: address to listen on.
    :param port: 0: a free one.
    :raises ValueError: the fake cannot be this release.
    :ivar on_request: called as ``on_request("before" | "after", request)`` in the server's thread, before a call is
        handled, and after it was handled but before its answer is sent.
    """

    _server: Server | None = None
    _thread: threading.Thread | None = None

    def start(self) -> Self:
        """Listen and answer, in threads of its own.

        :raises OSError: the address is taken.
        """
        server = Server((self._host, self._port), self)
        self._port = server.server_port
        self.site.url = self.url
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="fake-sops", daemon=True)
        self._thread.start()
        self.site.outbox.start(self._bring_up)
        return self

    def stop(self) -> None:
        """Close all connections and stop. Tasks and request log stay; :meth:`start` listens at the same port again."""
        if self._server is None or self._thread is None:
            return
        self.site.outbox.stop()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
