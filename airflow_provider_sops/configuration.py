# SPDX-License-Identifier: Apache-2.0
"""The section ``[sops]`` of Airflow's configuration: what it has, and how it is read.

Airflow reads the first while it reads its own configuration, so nothing of Airflow is imported for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SECTION = "sops"
DEFAULT_DEFERRAL_HOLD = 10.0
#: Airflow's words, which its own function reads with errors that differ between its versions; nothing is the default.
_BOOLEANS = {"": False, "t": True, "true": True, "1": True, "f": False, "false": False, "0": False}

#: The section as the provider info describes it.
CONFIG: Mapping[str, Any] = {
    SECTION: {
        "description": "Settings of the provider for BlueKing Standard OPS (SOPS).",
        "options": {
            "deferral_hold": {
                "description": (
                    "Seconds that a deferral must be old before the event that ends it is fired. If it fires before "
                    "the scheduler has taken in that the worker has deferred, Airflow takes the task for failed. "
                    "0 is off."
                ),
                "version_added": "1.1.0",
                "type": "float",
                "example": "20",
                "default": f"{DEFAULT_DEFERRAL_HOLD:g}",
            },
            "end_from_trigger": {
                "description": (
                    "Let the trigger of a deferred wait push its XComs and end the task after a good end, without "
                    "another worker process; for all waits that do not set end_from_trigger themselves, wherever "
                    "nothing is lost by it."
                ),
                "version_added": "1.1.0",
                "type": "boolean",
                "example": "True",
                "default": "False",
            },
        },
    },
}


def deferral_hold() -> float:
    """Read for how many seconds after a deferral an event is held.

    :raises SopsConfigException: when it is not a number of seconds.
    """
    from airflow.providers.common.compat.sdk import conf

    from airflow_provider_sops.exceptions import SopsConfigException

    text = conf.get(SECTION, "deferral_hold", fallback=None)
    if text is None or not str(text).strip():
        return DEFAULT_DEFERRAL_HOLD
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SopsConfigException(f"[{SECTION}] deferral_hold", f"must be seconds, not negative, not {text!r}")
    return seconds


def end_from_trigger() -> bool:
    """Read whether waits that do not say so themselves are ended by their triggers.

    :raises SopsConfigException: when it is neither true nor false.
    """
    from airflow.providers.common.compat.sdk import conf

    from airflow_provider_sops.exceptions import SopsConfigException

    text = conf.get(SECTION, "end_from_trigger", fallback=None)
    word = "" if text is None else str(text).strip().lower()
    if word not in _BOOLEANS:
        raise SopsConfigException(f"[{SECTION}] end_from_trigger", f"must be True or False, not {text!r}")
    return _BOOLEANS[word]
