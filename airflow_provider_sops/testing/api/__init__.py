# SPDX-License-Identifier: Apache-2.0
"""The API of SOPS itself: one function for each call, with the refusals of the real one (measured on SOPS 3.34).

Older releases differ in what :mod:`~airflow_provider_sops.testing.releases` says.
"""

from __future__ import annotations

# what is imported puts its views into APIS
from airflow_provider_sops.testing.api import (  # noqa: F401
    task_creation,
    task_detail,
    task_list,
    task_operation,
    task_status,
    templates,
)
from airflow_provider_sops.testing.api.answering import handle
from airflow_provider_sops.testing.api.call import APIS, Api, Call

__all__ = ["APIS", "Api", "Call", "handle"]
