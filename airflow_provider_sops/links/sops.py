# SPDX-License-Identifier: Apache-2.0
"""The link from a task in Airflow's web page to the task's page in SOPS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_sops.xcom_keys import TASK_URL_KEY

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey


class SopsTaskLink(BaseOperatorLink):
    """Opens the SOPS task's page."""

    name = "SOPS task"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address, or an empty text while it is not known."""
        from airflow.providers.common.compat.sdk import XCom  # slow to import, and reading a DAG needs no XComs

        url = XCom.get_value(ti_key=ti_key, key=TASK_URL_KEY)
        return url if isinstance(url, str) and is_web_address(url) else ""


def is_web_address(url: str) -> bool:
    """Return whether a link may be shown: SOPS' answers are data, and ``javascript:`` is an address too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def push_task_url(context: Context, url: str, *, do_xcom_push: bool) -> None:
    """Push the address of the SOPS task's page for the link, unless the operator pushes no XComs.

    :param do_xcom_push: the operator's.
    """
    if do_xcom_push and is_web_address(url):
        context["ti"].xcom_push(key=TASK_URL_KEY, value=url)
