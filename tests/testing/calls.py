# SPDX-License-Identifier: Apache-2.0
"""Calls the fake as a client would."""

from __future__ import annotations

import json
from typing import Any

import requests

from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.testing.api import APIS


class Caller:
    """Calls a fake through one of its doors.

    :param door: ``apigw``, ``esb`` or ``direct``.
    :param credentials: instead of the fake's own.
    """

    def __init__(self, fake: FakeSops, door: str = "apigw", **credentials: Any) -> None:
        self.fake = fake
        self.door = door
        self.credentials = credentials or {
            "bk_app_code": fake.app_code,
            "bk_app_secret": fake.app_secret,
            "bk_username": fake.username,
        }
        self.session = requests.Session()

    def send(self, api: str, task_id: int | str = 0, **params: Any) -> requests.Response:
        """Call an API and give back the whole reply.

        :param task_id: the task, or the template where the path holds one.
        :param params: query or body; ``bk_biz_id`` goes into the path.
        """
        known = APIS[api]
        ids = {name: task_id if name != "bk_biz_id" else params.pop("bk_biz_id", 2) for name in known.ids}
        headers = {}
        if self.door == "esb":
            url = f"{self.fake.esb_url}/{api}/"
            params |= ids | self.credentials
        else:
            base = self.fake.apigw_url if self.door == "apigw" else self.fake.direct_url
            url = "/".join([base, api, *map(str, ids.values()), ""])
            headers["X-Bkapi-Authorization"] = json.dumps(self.credentials)
        data = {"params": params} if known.method == "GET" else {"json": params}
        return self.session.request(known.method, url, headers=headers, timeout=10, allow_redirects=False, **data)

    def __call__(self, api: str, task_id: int | str = 0, **params: Any) -> dict[str, Any]:
        """Call an API and give back the JSON of its answer."""
        answer: dict[str, Any] = self.send(api, task_id, **params).json()
        return answer

    def state(self, task_id: int) -> str:
        """State of a task, read fresh."""
        return str(self("get_task_status", task_id, nonce=self.fake.count())["data"]["state"])
