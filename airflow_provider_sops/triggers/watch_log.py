# SPDX-License-Identifier: Apache-2.0
"""What a watch tells: outages once, what a person has to mend once an hour, and how far behind it is."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_sops.compat import gauge
from airflow_provider_sops.core import errors
from airflow_provider_sops.core.text import storable
from airflow_provider_sops.core.wait.outage import ends_at_once

HOUR = 3600.0


class WatchLog:
    """The log and the metrics of one watch.

    :param log: the trigger's.
    :param name: of the watch.
    """

    def __init__(self, log: Any, name: str) -> None:
        self.log, self.name = log, name
        #: seconds since the epoch of the first failed look of the present outage
        self._outage_since: float | None = None
        #: when each kind of thing that a person has to mend was said last
        self._said: dict[tuple[object, ...], float] = {}
        self._announced = 0
        self._hour_began = time.time()

    def info(self, text: str, *values: object) -> None:
        """Log a line that begins with the watch's name: the triggerer's own log has those of all."""
        self.log.info("Watch %r: %s", self.name, text % values)

    def warning(self, text: str, *values: object) -> None:
        """Log a warning."""
        self.log.warning("Watch %r: %s", self.name, text % values)

    def failed(self, error: Exception) -> None:
        """Tell of a look that failed: the first of an outage; what only a person can mend, once an hour."""
        now = time.time()
        if _is_for_a_person(error):
            kind = (type(error), getattr(error, "api", None), getattr(error, "task_id", None))
            if now - self._said.get(kind, float("-inf")) >= HOUR:
                self._said = {one: said for one, said in self._said.items() if now - said < HOUR} | {kind: now}
                text = storable(str(error))
                self.log.error("Watch %r: cannot read SOPS until somebody mends this: %s", self.name, text)
            return
        if self._outage_since is None:
            self._outage_since = now
            prefix = "" if isinstance(error, errors.SopsError) else f"{type(error).__name__}: "
            text = f"{prefix}{storable(str(error))}"
            self.warning("goes on asking, and loses no end meanwhile: %s", text)

    def succeeded(self) -> None:
        """Tell that an outage is over."""
        self._said.clear()
        if self._outage_since is not None:
            self.info("SOPS answers again after %.0f s.", time.time() - self._outage_since)
            self._outage_since = None

    def outage_lasted(self, now: float) -> float:
        """Return the seconds for which nothing could be read; 0 where it can."""
        return 0.0 if self._outage_since is None else now - self._outage_since

    def announced(self, count: int) -> None:
        """Count ends that were announced."""
        self._announced += count

    def tell_lag(self, watched: int, lag: float, now: float) -> None:
        """Give the metrics, and once an hour a line.

        :param watched: tasks that have not ended.
        :param lag: seconds since the oldest end that is not announced yet.
        """
        gauge("sops_watch.lag", lag, {"watch": self.name})
        gauge("sops_watch.unfinished", watched, {"watch": self.name})
        if now - self._hour_began >= HOUR:
            self.info(
                "%s SOPS tasks have not ended; %s ends were announced in the last hour; lag %.0f s.",
                watched,
                self._announced,
                lag,
            )
            self._announced, self._hour_began = 0, now


def _is_for_a_person(error: Exception) -> bool:
    if isinstance(error, errors.SopsConfigError):
        return True
    return isinstance(error, errors.SopsError) and ends_at_once(error, had_answer=True)
