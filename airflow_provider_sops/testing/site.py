# SPDX-License-Identifier: Apache-2.0
"""What a SOPS site holds: projects, users, templates and tasks."""

from __future__ import annotations

import copy
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_sops.testing.answers.projects import Project
from airflow_provider_sops.testing.answers.status import created_status
from airflow_provider_sops.testing.answers.times import local_time
from airflow_provider_sops.testing.engine import engine_v1
from airflow_provider_sops.testing.engine.clock import Clock
from airflow_provider_sops.testing.engine.node import Node, all_specs
from airflow_provider_sops.testing.engine.task import Hooks, Task
from airflow_provider_sops.testing.posts import callbacks, webhooks
from airflow_provider_sops.testing.posts.outbox import Outbox
from airflow_provider_sops.testing.releases import Release
from airflow_provider_sops.testing.templates.template import Behaviour, Graph, Template
from airflow_provider_sops.testing.templates.template_file import load_templates
from airflow_provider_sops.testing.templates.trees import (
    compile_tree,
    complete,
    without_nodes,
    without_unused_constants,
)
from airflow_provider_sops.testing.templates.variables import key_of
from airflow_provider_sops.testing.templates.webhook import Webhook

FIRST_TASK_ID = 50001
PROJECTS = (Project(2, 5, "project-id-2-biz-5"), Project(7, 2, "蓝鲸"), Project(9, 3, "other-biz"))
ALL_RIGHTS = "*"


@dataclass(slots=True)
class Replica:
    """A web process of the site with the caches of its own."""

    cache: dict[tuple[Any, ...], tuple[float, Any]] = field(default_factory=dict)
    created: dict[str, Any] = field(default_factory=created_status)  # one dict for all, as in SOPS


class Site(Hooks):
    """The site behind the endpoints. Not thread-safe by itself: callers hold :attr:`lock`.

    :ivar release: what SOPS it is.
    :ivar start_delay: seconds from a start request to the start; None: no worker takes it up.
    """

    def __init__(
        self,
        *,
        release: Release,
        templates: str | Path | None,
        replicas: int,
        caches: bool,
        users: Mapping[str, Collection[str] | str],
        start_delay: float | None,
    ) -> None:
        self.release = release
        self.lock = threading.RLock()
        self.clock = Clock()
        self.created = self.clock.now()
        self.projects = {project.id: project for project in PROJECTS}
        loaded = load_templates(templates, independent=release.has("independent subprocesses"))
        self.templates = {template.id: template for template in loaded}
        self.tasks: dict[int, Task] = {}
        self.users: dict[str, Collection[str] | str] = dict(users)
        self.replicas = [Replica() for _ in range(max(1, replicas))]
        self.caches = caches
        self.start_delay = start_delay
        self.callbacks: list[tuple[str, dict[str, Any]]] = []
        self.webhook_history: dict[int, list[dict[str, Any]]] = {}  # by task, the newest first
        self.outbox = Outbox(self.clock, self.lock)
        self.url = ""
        self._graphs: dict[tuple[Any, ...], Graph] = {}
        self.next_task_id = FIRST_TASK_ID
        self.next_template_id = max(self.templates, default=100) + 1

    def may(self, user: str, action: str) -> bool:
        """Whether a user has an IAM action."""
        rights = self.users.get(user, ())
        return ALL_RIGHTS in rights or action in rights

    def task(self, task_id: int) -> Task | None:
        """A task, brought up to the present."""
        task = self.tasks.get(task_id)
        if task is not None:
            self._bring_up(task)
        return task

    def _bring_up(self, task: Task) -> None:
        task.flow.run(self.clock.now())
        for child_id in task.child_ids:  # the end of a child task lets its parent go on, perhaps to the next child
            self._bring_up(self.tasks[child_id])
            task.flow.run(self.clock.now())

    def bring_up(self) -> None:
        """Bring all tasks up to the present."""
        for task in list(self.tasks.values()):
            self._bring_up(task)

    def all_tasks(self) -> list[Task]:
        """All tasks, brought up to the present, the newest first."""
        self.bring_up()
        return sorted(self.tasks.values(), key=lambda task: -task.id)

    def template(self, template: int | str) -> Template:
        """A template by id or name.

        :raises KeyError: there is none.
        """
        for candidate in self.templates.values():
            if template in (candidate.id, candidate.name):
                return candidate
        raise KeyError(f"no template {template!r}; there are {', '.join(t.name for t in self.templates.values())}")

    def task_url(self, task: Task) -> str:
        """The page of a task."""
        return f"{self.url}/taskflow/execute/{task.project_id}/?instance_id={task.id}"

    # ---- making ----

    def graph(self, template: Template, excluded: Iterable[str] = ()) -> Graph:
        """The template's graph as a task gets it: without the excluded nodes and without unused constants."""
        left_out = sorted(excluded)
        key = (template.id, *left_out)
        if key not in self._graphs:
            whole = template.graph.tree
            tree = without_nodes(whole, left_out) if left_out else whole
            self._graphs[key] = compile_tree(without_unused_constants(tree), template.behaviours)
        return self._graphs[key]

    def posted_graph(self, tree: Any, *, draw: bool = True) -> Graph:
        """Graph of a tree that a caller has posted.

        :param draw: give the tree places and lines to be drawn with.
        :raises KeyError: a part that SOPS needs is missing; its name is the error's argument.
        """
        behaviours: dict[str, Behaviour] = {}
        complete(tree, behaviours, lambda template_id: self.templates[int(template_id)], draw=draw)
        return compile_tree(tree, behaviours)

    def add_template(self, name: str, project_id: int, graph: Graph, description: str = "") -> Template:
        """Add a template."""
        template = Template(
            id=self.next_template_id,
            name=name,
            project_id=project_id,
            common=False,
            description=description,
            graph=graph,
            behaviours={spec.id: spec.behaviour for spec in all_specs(graph)},
            schemes=[],
        )
        self.templates[template.id] = template
        self.next_template_id += 1
        return template

    def set_webhook(self, template: Template, webhook: Webhook | None) -> None:
        """Let what happens to the tasks of a template be posted from now on, or not.

        :raises ValueError: this release of SOPS has no webhooks.
        """
        if not self.release.has("apply_webhook_configs"):
            raise ValueError(f"SOPS {self.release.name} has no webhooks")
        self.bring_up()  # what has happened so far goes where it went until now
        template.webhook = webhook
        self.outbox.watch()

    def create_task(
        self,
        *,
        name: str,
        project_id: int,
        graph: Graph,
        constants: Mapping[str, Any],
        user: str,
        template: Template | None = None,
        **more: Any,
    ) -> Task:
        """Make a task of a graph. Constants that the graph does not have are ignored, as in SOPS."""
        values = {key: copy.deepcopy(constant["value"]) for key, constant in graph.constants.items()}
        values.update({key: value for key, value in constants.items() if key in values})
        source = "onetime" if template is None else "common" if template.common else "project"
        task = Task(
            id=self.next_task_id,
            name=name,
            project_id=project_id,
            graph=graph,
            constants=values,
            creator=user,
            create_time=self.clock.now(),
            template_id=None if template is None else template.id,
            template_source=source,
            retries_by_itself=self.release.has("auto retry of nodes"),
            hooks=self,
            **more,
        )
        self.next_task_id += 1
        self.tasks[task.id] = task
        if task.callback_url or any(known.webhook for known in self.templates.values()):
            self.outbox.watch()
        return task

    def start_task(self, task: Task, user: str) -> None:
        """Queue the start of a task; the first engine starts it at once.

        :raises Refused: the first engine refuses it.
        """
        if self.release.has("engine v2"):
            task.queue_start(self.clock.now(), user, self.start_delay)
        else:
            engine_v1.start(task, self.clock.now(), user, self.start_delay)

    def operate_task(self, task: Task, user: str, action: str) -> None:
        """Pause, resume or revoke a task.

        :raises Refused: SOPS refuses it.
        """
        if task.is_started or self.release.has("operations need a start"):
            task.operate(self.clock.now(), user, action)
        else:
            looks_first = self.release.has("revoke looks first")
            engine_v1.operate_unstarted(task, self.clock.now(), user, action, looks_first=looks_first)

    def revive_worker(self, delay: float) -> None:
        """A worker lives again: what is queued is taken up now, what comes after ``delay``."""
        self.start_delay = delay
        for task in self.tasks.values():
            task.take_up_queued(self.clock.now())

    # ---- what the engine tells ----

    def start_child(self, task: Task, node: Node, at: float) -> None:
        """Start the task of an independent subprocess (after SOPS' public source, not measured)."""
        wanted = node.inputs.get("subprocess") or {}
        template = self.template(wanted.get("subprocess_name", ""))
        constants = {key_of(name): value for name, value in (wanted.get("constants") or {}).items()}
        moment = local_time(at)[:19]
        child = self.create_task(
            name=f"{template.name}_{moment.translate(str.maketrans('', '', '- :'))}",
            project_id=task.project_id,
            graph=self.graph(template),
            constants=constants,
            user=task.executor,
            template=template,
            create_method=task.create_method,
            is_child=True,
        )
        child.create_time = at
        child.parent = (task.id, node.id)
        task.child_ids.append(child.id)
        node.outputs |= {"task_id": child.id, "task_url": self.task_url(child), "task_name": child.name}
        child.queue_start(at, task.executor, 0)

    def ended(self, task: Task, success: bool, at: float, failed: Node | None = None) -> None:
        """Post the callback and the webhook; tell the parent of a child task."""
        revoked = not success and failed is None
        if task.callback_url:
            for moment, post in callbacks.posts_of(task, success, at, revoked=revoked):
                self.callbacks.append((task.callback_url, callbacks.fields_of(task, success)))
                self.outbox.add(moment, post)
        if not revoked:
            self._post_event(task, failed, at)
        if task.parent is not None:
            parent_id, node_id = task.parent
            parent = self.tasks[parent_id]
            url = self.task_url(task)
            text = f'子流程节点执行异常，请<a href="{url}" target="_blank">去往子任务</a>查看详情'
            parent.child_ended(at, node_id, success, text)

    def _post_event(self, task: Task, failed: Node | None, at: float) -> None:
        template = self.templates.get(task.template_id or 0)
        if template is None or template.webhook is None or not self.release.has("apply_webhook_configs"):
            return
        body = webhooks.event_of(task, failed, self.projects[task.project_id], self.task_url(task))
        if template.webhook.wants(body["event"]["code"]):
            history = self.webhook_history.setdefault(task.id, [])
            post = webhooks.post_of(template.webhook, body, lambda row: history.insert(0, row))
            self.outbox.add(at + webhooks.DELAY, post)
