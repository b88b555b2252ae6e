# SPDX-License-Identifier: Apache-2.0
"""The tag in a SOPS task's name, by which the Airflow task that has made it finds it again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_sops.core.api.catalogue import MAX_TASK_NAME


def digest(parts: Iterable[object], length: int) -> str:
    """Make a word of lower-case letters and digits out of values; five bits a letter."""
    text = json.dumps([str(part) for part in parts], ensure_ascii=False)
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


@dataclass(frozen=True, slots=True)
class Tag:
    """What marks the SOPS tasks of one Airflow task at the end of their names: letters and digits only.

    All tasks of one run of the Airflow task, retries included, share ``base``. ``generation`` counts up when a further
    SOPS task is really needed: the highest one that there is shows that those before were given up on purpose.
    """

    base: str
    #: shared also by the runs after a user has cleared the Airflow task; empty unless these are to be found
    thread: str = ""

    def name(self, title: str, generation: int, longest: int = MAX_TASK_NAME) -> str:
        """Return a task's name: the title, cut to what SOPS allows, and the tag, which is never cut.

        :param longest: the characters that SOPS allows.
        """
        end = f" {self.thread}{self.base}g{generation}"
        return f"{title.strip()[: longest - len(end)].rstrip()}{end}".strip()

    def read(self, name: str) -> tuple[str, int] | None:
        """Read base and generation at the end of a name; ``None`` when it is not one of this tag's.

        Names with and without a thread are read, since an edit of the DAG may change that between two tries.
        """
        match = re.search(r"(?:^| )(at[a-z2-7]{14})?(af[a-z2-7]{16})g([1-9][0-9]*)$", name)
        if match is None:
            return None
        thread, base, generation = match.groups()
        return (base, int(generation)) if base == self.base or (thread and thread == self.thread) else None


def make_tag(
    *,
    dag_id: str,
    run_id: str,
    run_start: str,
    task_id: str,
    map_index: int,
    max_tries: int,
    iteration: int | None = None,
    site: str | None = None,
) -> Tag:
    """Make the tag of an Airflow task.

    :param run_start: when the DAG run started, to the microsecond: it tells two Airflows with the same DAG apart, and a
        run from a deleted one of the same id.
    :param max_tries: Airflow's number, which stays the same over retries and grows when a user clears the task.
    :param iteration: of the loop that the task is in; ``None`` outside of loops.
    :param site: what is known of the Airflow itself; given when a cleared task takes up the SOPS task there is.
    """
    in_loop = () if iteration is None else (iteration,)
    base = "af" + digest((dag_id, run_id, run_start, task_id, map_index, max_tries, *in_loop), 16)
    thread = "" if site is None else "at" + digest((site, dag_id, run_id, task_id, map_index, *in_loop), 14)
    return Tag(base, thread)
