# SPDX-License-Identifier: Apache-2.0
"""A call on its way to a view of the API, and the table of the views."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.engine.task import Task
from airflow_provider_sops.testing.refusals import Answer
from airflow_provider_sops.testing.releases import Release
from airflow_provider_sops.testing.site import Replica, Site

#: The ids in the path of most APIs.
TASK = ("task_id", "bk_biz_id")
TEMPLATE = ("template_id", "bk_biz_id")
BIZ = ("bk_biz_id",)
NO_PROJECT = Project(0, 0, "")


@dataclass(slots=True)
class Call:
    """A call that has come through a endpoint.

    :param ids: the numbers from the path by name.
    :param query: query parameters, without credentials in the ESB endpoint.
    :param raw: body of a POST.
    :param stale: a replica answers that lags behind.
    :param racing: says for a task whether its end has not been written yet.
    :param poisoned: ids of tasks whose status cannot be computed.
    :param closed: the app is not on SOPS' own list of those that may make it.
    :param denial_status: HTTP status with which a user's missing permission is said, by a release that leaves the
        choice to the site.
    """

    site: Site
    api: Api
    user: str
    trusted: bool
    ids: Mapping[str, int]
    query: Mapping[str, str]
    raw: bytes
    path: str
    replica: Replica
    stale: bool
    racing: Callable[[Task], bool]
    poisoned: Collection[int]
    closed: bool
    denial_status: int
    body: dict[str, Any] = field(default_factory=dict)
    project: Project = NO_PROJECT

    @property
    def now(self) -> float:
        """The fake's time."""
        return self.site.clock.now()

    @property
    def release(self) -> Release:
        """What SOPS it is."""
        return self.site.release

    def flag(self, name: str) -> bool:
        """A flag of get_task_status: anything but an empty value counts, also ``0`` and ``false``."""
        return bool(self.query.get(name))

    @property
    def params(self) -> Mapping[str, Any]:
        """What is asked with: the query of a GET, the body of a POST."""
        return self.body if self.api.method == "POST" else self.query

    def task(self, task_id: int) -> Task | None:
        """A task of the project."""
        task = self.site.task(task_id)
        return task if task is not None and task.project_id == self.project.id else None

    @property
    def is_common(self) -> bool:
        """Whether it is about common templates."""
        return self.params.get("template_source", "business") not in ("business", "project")


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    :param ids: the ids in its path, in order.
    :param action: the IAM action that it needs; empty: none, or the view asks for itself.
    :param rest: made with another framework: no trace id in the body, an ``Allow`` header.
    """

    name: str
    method: str
    ids: tuple[str, ...]
    action: str
    view: Callable[[Call], Answer]
    rest: bool = False


APIS: dict[str, Api] = {}


def as_api(
    method: str, ids: tuple[str, ...], action: str = "", rest: bool = False
) -> Callable[[Callable[[Call], Answer]], Callable[[Call], Answer]]:
    """Make a function the view of the API of its name; see :class:`Api`."""

    def register(view: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        APIS[view.__name__] = Api(view.__name__, method, ids, action, view, rest)
        return view

    return register
