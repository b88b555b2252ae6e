# SPDX-License-Identifier: Apache-2.0
"""Calls the fake as a client would, over plain HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.api import APIS


@dataclass
class Reply:
    """An HTTP reply."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


class Http:
    """A connection that is kept alive.

    :param url: of the server.
    """

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=10)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(self, method: str, url: str, data: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a request and read its reply.

        :raises OSError: the server cannot be reached, or closes the connection.
        :raises http.client.HTTPException: the reply is cut off.
        """
        parts = urllib.parse.urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        try:
            self._connection.request(method, target, data, dict(headers or {}))
            reply = self._connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read().decode())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


class Caller:
    """Calls a fake through one of its endpoints.

    :param endpoint: ``apigw``, ``esb`` or ``direct``.
    :param credentials: instead of the fake's own.
    """

    def __init__(self, fake: FakeSops, endpoint: str = "apigw", **credentials: Any) -> None:
        self.fake = fake
        self.endpoint = endpoint
        self.credentials = credentials or {
            "bk_app_code": fake.app_code,
            "bk_app_secret": fake.app_secret,
            "bk_username": fake.username,
        }
        self.http = Http(fake.url)

    @property
    def headers(self) -> dict[str, str]:
        """The header with the credentials."""
        return {"X-Bkapi-Authorization": json.dumps(self.credentials)}

    def send(self, api: str, task_id: int | str = 0, **params: Any) -> Reply:
        """Call an API and give back the whole reply.

        :param task_id: the task, or the template where the path holds one.
        :param params: query or body; ``bk_biz_id`` goes into the path.
        """
        known = APIS[api]
        ids = {name: task_id if name != "bk_biz_id" else params.pop("bk_biz_id", 2) for name in known.ids}
        headers = {}
        if self.endpoint == "esb":
            url = f"{self.fake.esb_url}/{api}/"
            params |= ids | self.credentials
        else:
            base = self.fake.apigw_url if self.endpoint == "apigw" else self.fake.direct_url
            url = "/".join([base, api, *map(str, ids.values()), ""])
            headers = self.headers
        if known.method == "GET":
            return self.http.send("GET", f"{url}?{urllib.parse.urlencode(params)}" if params else url, None, headers)
        return self.http.send(known.method, url, json.dumps(params), headers | {"Content-Type": "application/json"})

    def __call__(self, api: str, task_id: int | str = 0, **params: Any) -> dict[str, Any]:
        """Call an API and give back the JSON of its answer."""
        answer: dict[str, Any] = self.send(api, task_id, **params).json()
        return answer

    def state(self, task_id: int) -> str:
        """State of a task, read fresh."""
        return str(self("get_task_status", task_id, nonce=self.fake.count())["data"]["state"])
