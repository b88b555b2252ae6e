# SPDX-License-Identifier: Apache-2.0
"""Running an operator or a sensor without a scheduler: the little of a task instance that they need."""

from __future__ import annotations

import datetime
import logging
import uuid
from typing import TYPE_CHECKING, Any, cast

from tests.secrets import look_at_xcom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class TaskInstance:
    """Stands for Airflow's: keeps what is pushed, and knows when a rescheduled sensor was poked first."""

    task_id, dag_id, run_id, map_index, try_number, max_tries = "waits", "dag", "run", -1, 1, 0
    region_id, region_index = None, None

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.xcoms: dict[str, Any] = {}
        self.first_poke: datetime.datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        look_at_xcom(key, value)
        self.xcoms[key] = value

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def get_first_reschedule_date(self, context: Any) -> datetime.datetime | None:
        return self.first_poke

    @property
    def context(self) -> Context:
        return self.context_with()

    def context_with(self, **more: Any) -> Context:
        """What Airflow hands to an operator, as far as ours ask for it."""
        return cast("Context", {"ti": self, "task_instance": self, **more})


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def collect_log(operator: Any, lines: list[str] | None = None) -> list[str]:
    """Collect what an operator writes into its task's log.

    :param lines: what an earlier process of the same try has written.
    :return: the lines, growing.
    """
    lines = [] if lines is None else lines
    logger = logging.Logger(operator.task_id)  # noqa: LOG001 (in no tree, so that nothing else hears it)
    logger.addHandler(_Lines(lines))
    # where Airflow 3 and Airflow 2 keep an operator's logger
    setattr(operator, "_cached_logger" if hasattr(operator, "_cached_logger") else "_log", logger)
    return lines
