# SPDX-License-Identifier: Apache-2.0
"""Which secrets Airflow is told to mask in logs."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.providers.common.compat.sdk import conf

from airflow_provider_sops.core.redact import SHORTEST_SECRET, is_maskable
from airflow_provider_sops.core.text import storable


def maskable(secrets: Iterable[str]) -> list[str]:
    """Return the secrets that Airflow is to mask, each once and as a text that its processes can send each other.

    What is masked is masked in the logs of every task of the process, other DAGs' included. So what is too short is
    left out, as Airflow 3 does by itself (``[logging] min_length_masked_secret``), and Airflow 2.11 does not: it would
    replace each "1".
    """
    shortest = conf.getint("logging", "min_length_masked_secret", fallback=SHORTEST_SECRET)
    long_enough = [secret for secret in secrets if is_maskable(secret, shortest)]
    return list(dict.fromkeys(secret if _can_be_sent(secret) else storable(secret, None) for secret in long_enough))


def _can_be_sent(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
