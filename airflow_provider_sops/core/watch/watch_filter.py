# SPDX-License-Identifier: Apache-2.0
"""Which tasks are watched, and how SOPS is asked for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.call_flow import Flow
from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.models import TaskListItem, readers

#: How ``get_task_list`` calls the sources of templates.
_SOURCE_IN_LIST = {"business": "project", "common": "common"}


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """Which tasks are watched; what is empty says nothing.

    :param template_ids: templates.
    :param template_names: names of templates, each of which must exist.
    :param template_source: where these are kept, ``business`` or ``common``.
    :param keyword: a part of the task's name.
    :param create_method: how it was created, in SOPS' words: ``app``, ``api``, ``periodic``, …
    """

    template_ids: tuple[int, ...] = ()
    template_names: tuple[str, ...] = ()
    template_source: str = "business"
    keyword: str = ""
    create_method: str = ""

    @property
    def names_templates(self) -> bool:
        """Whether only tasks of certain templates are watched."""
        return bool(self.template_ids or self.template_names)

    def list_params(self, template_ids: Collection[int]) -> dict[str, Any]:
        """Return what ``get_task_list`` can leave out by itself; an old SOPS does not know all of it.

        :param template_ids: the templates, with those that were found by name.
        """
        params: dict[str, Any] = {}
        if self.keyword:
            params["keyword"] = self.keyword
        if self.create_method:
            params["create_method"] = self.create_method
        if len(template_ids) == 1:
            params["template_id"] = next(iter(template_ids))
        return params

    def matches(self, item: TaskListItem, template_ids: Collection[int]) -> bool:
        """Return whether a listed task is watched.

        Child tasks of subprocesses are tasks of their templates; without a template, only whole tasks are meant.
        """
        if self.create_method and item.create_method != self.create_method:
            return False
        if not self.names_templates:
            return not item.is_child_taskflow
        source = _SOURCE_IN_LIST[self.template_source]
        return item.template_id in template_ids and item.template_source in ("", source)


def find_templates(project: Project, watch_filter: WatchFilter) -> Flow[frozenset[int]]:
    """Find the ids of the templates that a filter names.

    :raises SopsConfigError: there is no template, or more than one, of a name.
    :raises SopsError: when SOPS gives no good answer.
    """
    found = set(watch_filter.template_ids)
    for name in watch_filter.template_names:
        source = watch_filter.template_source
        answer = yield project.call("get_template_list", template_source=source, name_keyword=name)
        ids = [item.template_id for item in readers.template_list(answer) if item.name == name]
        if len(ids) != 1:
            raise SopsConfigError(
                "template_names",
                f"the {source} templates of {project} have {len(ids) or 'none'} named {name!r}; name it by its id",
            )
        found.add(ids[0])
    return frozenset(found)
