# SPDX-License-Identifier: Apache-2.0
"""Answers that a test has prepared for ``dag.test()``, where nobody can be asked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from airflow_provider_sops.core.approval.answer import APPROVE, REJECT, Answer

__all__ = ["PreparedAnswers"]


class PreparedAnswers:
    """Gives each question of an Airflow task the next answer that was prepared for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str | None, deque[Answer]] = {}

    def approve(
        self, task_id: str | None = None, *, params: Mapping[str, Any] | None = None, by: str = "tester"
    ) -> None:
        """Prepare an approval.

        :param task_id: of which Airflow task; ``None``: of any that has none of its own.
        :param params: the values of the question's params.
        :param by: the user who gives it.
        """
        self._add(task_id, Answer(APPROVE, dict(params or {}), by, by))

    def reject(
        self, task_id: str | None = None, *, params: Mapping[str, Any] | None = None, by: str = "tester"
    ) -> None:
        """Prepare a rejection; the parameters are those of :meth:`approve`."""
        self._add(task_id, Answer(REJECT, dict(params or {}), by, by))

    def _add(self, task_id: str | None, answer: Answer) -> None:
        with self._lock:
            self._answers.setdefault(task_id, deque()).append(answer)

    def take(self, task_id: str) -> Answer | None:
        """Take the next answer for an Airflow task; the last one of a kind is given again."""
        with self._lock:
            answers = self._answers.get(task_id) or self._answers.get(None)
            if not answers:
                return None
            return answers.popleft() if len(answers) > 1 else answers[0]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._answers.clear()


#: Those of this process: ``dag.test()`` runs workers and triggers in it.
PREPARED = PreparedAnswers()
