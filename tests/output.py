# SPDX-License-Identifier: Apache-2.0
"""What Airflow's commands print, as tests can read it."""

from __future__ import annotations

import re

#: Settings for a process that prints no colours.
PLAIN_OUTPUT = {"NO_COLOR": "1"}


def plain(text: str) -> str:
    """Leave out bold, italics and the like."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def own_words(text: str) -> str:
    """Leave out the lines in which ``dag.test()`` of Airflow 3.0 itself prints what it is told to hide."""
    return "\n".join(line for line in text.splitlines() if "Sending request" not in line or "MaskSecret(" not in line)
