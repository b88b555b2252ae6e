# SPDX-License-Identifier: Apache-2.0
"""Situations that the releases of SOPS answer otherwise: each plays one and gives what is to be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sops.testing import FakeSops
from tests.testing.calls import Caller

#: Who calls: may do all; may do nothing; is not known to SOPS.
USERS: Mapping[str, Any] = {"admin": "*", "nobody": []}
TRUSTED = "trusted-app"


@dataclass
class Scene:
    """A fake of one release, with its clock stopped, and a caller at one of its endpoints."""

    fake: FakeSops
    call: Caller

    def of(self, user: str = "admin", app: str = "demo-app") -> Caller:
        """Return a caller at the same endpoint who is somebody else."""
        return Caller(
            self.fake, self.call.endpoint, bk_app_code=app, bk_app_secret=self.fake.app_secret, bk_username=user
        )

    def task(self, template: str = "Long sleep", *, after: float = 1, **more: Any) -> int:
        """Return a started task, some seconds later."""
        task_id = self.fake.create_task(template, **more)
        self.fake.advance(after)
        return task_id

    def template(self, name: str = "Two steps with outputs") -> int:
        """Return the id of a template."""
        return self.fake.site.template(name).id

    def said(self, answer: Mapping[str, Any], task_id: int | None = None) -> str:
        """Return code and first line of an answer; ``-`` stands for no code, N for the task, E for its engine's id."""
        text = str(answer.get("message") or "").strip().splitlines()
        words = text[0] if text else ""
        if task_id is not None:
            words = words.replace(self.fake.task(task_id).root_id, "E")
            words = re.sub(rf"\b{task_id}\b", "N", words)
        good = "yes" if answer["result"] else "no"
        return f"{good} {answer.get('code', '-')} {words}".strip()


def scene(release: str, endpoint: str, **arguments: Any) -> FakeSops:
    """Make the fake of a scene."""
    fake = FakeSops(release=release, users=USERS, trusted_apps=[TRUSTED], **arguments)
    fake.apps[TRUSTED] = fake.app_secret
    fake.clock.stop()
    return fake


# ---- APIs and places ----


def has_api(api: str, *, template: bool = False, task: bool = False) -> Any:
    """Make a situation: an API is called; ``-`` stands for the redirect of one that is not there."""

    def play(at: Scene) -> str:
        own_id = at.template() if template else at.task() if task else 0
        reply = at.call.send(api, own_id)
        if reply.status == 302:
            return "-"
        return "-" if reply.json().get("code") == 1306201 and "Status Code: 302" in reply.text else "yes"

    return play


def redirected(at: Scene) -> tuple[int, str]:
    """Call an API that came with 3.34: the HTTP status and where it leads, or what the ESB says."""
    reply = at.call.send("get_task_node_log", at.task(), node_id="n")
    if reply.status == 302:
        return 302, reply.headers["Location"].partition("=")[0]
    return reply.status, str(reply.json()["message"]).partition(", please")[0]


def scope_is_read(at: Scene) -> str:
    """Ask for a project by its own number; a business has the same."""
    task_id = at.task()
    return at.said(at.call("get_task_detail", task_id, bk_biz_id=7, scope="project"), task_id)


def unknown_place(at: Scene) -> str:
    """Ask for a business that is not there."""
    return at.said(at.call("get_template_list", bk_biz_id=99))


# ---- making tasks ----


def longest_name(at: Scene) -> int:
    """Find out how long a name may be."""
    lengths = (50, 51, 100, 101)
    return max(n for n in lengths if at.call("create_task", at.template(), name="n" * n)["result"])


def name_too_long(at: Scene) -> str:
    """Create a task whose name is too long."""
    return at.said(at.call("create_task", at.template(), name="n" * 101)).partition(":")[0]


def executed_nodes(at: Scene) -> int:
    """Count the nodes in the answered tree when one was asked for."""
    template = at.fake.site.template("Two steps with outputs")
    wanted = list(template.graph.tree["activities"])[:1]
    answer = at.call("create_task", template.id, name="one", execute_task_nodes_id=wanted)
    return len(answer["data"]["pipeline_tree"]["activities"])


def scheme_nodes(at: Scene) -> str:
    """Create a task with a scheme that is not there."""
    answer = at.call("create_task", at.template(), name="scheme", template_schemes_id="none")
    return at.said(answer)


def callback_url(at: Scene) -> str:
    """Create a task with a wrong callback address."""
    return at.said(at.call("create_task", at.template(), name="called", callback_url="nowhere"))


def callback_version(at: Scene) -> str:
    """Create a task that is to call back in the newer form: whether it will."""
    address = f"{at.fake.url}/called"
    answer = at.call("create_task", at.template(), name="called", callback_url=address, callback_version="v2")
    return at.fake.task(answer["data"]["task_id"]).callback_version


# ---- starting ----


def good_start(at: Scene) -> str:
    """Start a task: what is answered, and whether it counts as started already."""
    task_id = at.fake.create_task(start=False)
    answer = at.call("start_task", task_id)
    return f"{at.said(answer)}; {'started' if at.fake.task(task_id).is_started else 'queued'}"


def second_start(at: Scene) -> str:
    """Start a task that runs."""
    return at.said(at.call("start_task", at.task()))


def second_start_by_operate_task(at: Scene) -> str:
    """Start a task that runs, by operate_task."""
    return at.said(at.call("operate_task", at.task(), action="start"))


def just_started(at: Scene) -> str:
    """Ask for the status of a task in the moments after its start."""
    task_id = at.fake.create_task(start=False)
    at.call("start_task", task_id)
    answer = at.call("get_task_status", task_id)
    return str(answer["data"]["state"]) if answer["result"] else at.said(answer, task_id)


def moments_later(at: Scene) -> str:
    """Ask for the status of a task some moments after its start."""
    task_id = at.fake.create_task(start=False)
    at.call("start_task", task_id)
    at.fake.advance(0.2)
    return at.call.state(task_id)


def just_started_in_a_batch(at: Scene) -> str:
    """Ask for the statuses of two tasks, one of them just started."""
    ids = [at.task(), at.fake.create_task(start=False)]
    at.call("start_task", ids[1])
    return _batch(at, ids)


def unreadable_in_a_batch(at: Scene) -> str:
    """Ask for the statuses of two tasks, one of which cannot be read."""
    ids = [at.task(), at.task()]
    at.fake.task(ids[1]).broken = True
    return _batch(at, ids)


def _batch(at: Scene, ids: list[int]) -> str:
    if not at.fake.site.release.has_api("get_tasks_status"):
        return "-"
    reply = at.call.send("get_tasks_status", task_id_list=ids)
    if reply.status == 500 or "Status Code: 500" in reply.text:
        return "crash"
    answer = reply.json()
    return " ".join(row["status"]["state"] for row in answer["data"]) if answer["result"] else at.said(answer, ids[1])


def unclaimed_start(at: Scene) -> str:
    """Start a function task that nobody has claimed."""
    return at.said(at.call("start_task", at.fake.create_task(start=False, flow_type="common_func")))


# ---- operating ----


def revoke_finished(at: Scene) -> str:
    """Revoke a task that has finished."""
    return at.said(at.call("operate_task", at.task("Two steps with outputs", after=60), action="revoke"))


def revoke_created(at: Scene) -> str:
    """Revoke a task that has not started."""
    task_id = at.fake.create_task(start=False)
    return at.said(at.call("operate_task", task_id, action="revoke"), task_id)


def start_after_that(at: Scene) -> str:
    """Start a task that was revoked before its start, and look at it later."""
    task_id = at.fake.create_task(start=False)
    at.call("operate_task", task_id, action="revoke")
    started = at.said(at.call("start_task", task_id), task_id)
    at.fake.advance(60)
    status = at.call("get_task_status", task_id)
    return f"{started.partition('(')[0]}; {status['data']['state'] if status['result'] else at.said(status, task_id)}"


def good_revoke(at: Scene) -> str:
    """Revoke a running task."""
    return at.said(at.call("operate_task", at.task(), action="revoke"))


def retry_of_a_running_node(at: Scene) -> str:
    """Retry a node that runs."""
    task_id = at.task()
    node = next(node for node in at.fake.task(task_id).nodes.values() if node.state == "RUNNING")
    reply = at.call.send("operate_node", task_id, node_id=node.id, action="retry")
    if reply.status == 302 or "Status Code: 302" in reply.text:
        return "-"
    return at.said(reply.json()).replace(node.id, "X")


def callback_of_a_pause(at: Scene) -> str:
    """Answer a node that waits for a person, by node_callback."""
    task_id = at.task("Pause for a person", after=30)
    node = next(node for node in at.fake.task(task_id).nodes.values() if node.plugin == "pause_node")
    answer = at.call("node_callback", task_id, node_id=node.id, callback_data={})
    return f"{answer['result']} {at.fake.task(task_id).nodes[node.id].state}"


def callback_needs(at: Scene) -> str:
    """Answer a node as a user who may operate tasks and no more."""
    at.fake.site.users["operator"] = ["task_operate", "task_view"]
    task_id = at.task("Pause for a person", after=30)
    node = next(node for node in at.fake.task(task_id).nodes.values() if node.plugin == "pause_node")
    return at.said(at.of("operator")("node_callback", task_id, node_id=node.id), task_id).replace("admin", "U")


# ---- looking ----


def status_cache(at: Scene) -> float:
    """Find out for how many seconds get_task_status is cached."""
    return _cached_for(at, lambda task_id: at.call("get_task_status", task_id)["data"]["elapsed_time"])


def tasks_status_cache(at: Scene) -> float | str:
    """Find out for how many seconds get_tasks_status is cached."""
    if not at.fake.site.release.has_api("get_tasks_status"):
        return "-"
    return _cached_for(
        at, lambda task_id: at.call("get_tasks_status", task_id_list=[task_id])["data"][0]["status"]["elapsed_time"]
    )


def detail_cache(at: Scene) -> float:
    """Find out for how many seconds get_task_detail is cached."""
    return _cached_for(at, lambda task_id: at.call("get_task_detail", task_id)["data"]["elapsed_time"])


def _cached_for(at: Scene, observation: Any) -> float:
    task_id = at.task()
    first = observation(task_id)
    for seconds in (5, 15, 55, 65):
        at.fake.advance(seconds - (at.fake.clock.now() - at.fake.task(task_id).starts[0] - 0.9))
        if observation(task_id) != first:
            return {5: 0, 15: 10, 65: 60}[seconds]
    raise AssertionError("cached for ever")


def failed_flags(at: Scene) -> str:
    """Ask for all that a status may tell of failed nodes: what it told."""
    task_id = at.task("Always fails", after=60)
    flags = {f"with_{name}": 1 for name in ("ex_data", "failed_node_info", "auto_retry_status")}
    data = at.call("get_task_status", task_id, **flags)["data"]
    return " ".join(sorted(data.keys() & {"ex_data", "failed_node_info", "auto_retry_status"}))


def auto_retry(at: Scene) -> str:
    """Let a node fail that its template retries: the states in its course."""
    task_id = at.task("Retries by itself", after=0.2)
    states: list[str] = []
    for _ in range(40):
        state = at.call("get_task_status", task_id, nonce=at.fake.count())["data"]["state"]
        states += [state] if states[-1:] != [state] else []
        at.fake.advance(0.5)
    return " ".join(states)


def auto_retry_in_the_tree(at: Scene) -> str:
    """Look at the tree and at the node's count of a task that retries by itself."""
    task_id = at.task("Retries by itself", after=20)
    tree = at.call("get_task_detail", task_id)["data"]["pipeline_tree"]
    node = next(node for node in tree["activities"].values() if node["name"] == "ar")
    detail = at.call("get_task_node_detail", task_id, node_id=node["id"])["data"]
    said = "said" if detail.get("auto_retry_info") else "unsaid"
    return f"{json.dumps(node.get('auto_retry', '-'))} {detail['retry']} {said}"


def task_name_in_status(at: Scene) -> str:
    """Look at the names of a task and of its start event in a status."""
    data = at.call("get_task_status", at.task(name="mine"))["data"]
    return f"{data['name']} {next(iter(data['children'].values()))['name']!r}"


def name_of_created(at: Scene) -> str:
    """Look at the name of a task that has not started."""
    return str(at.call("get_task_status", at.fake.create_task(name="mine", start=False))["data"].get("name", "-"))


def row_of_a_deleted_task(at: Scene) -> str:
    """Ask for the statuses of a deleted task: what its row says beyond the status."""
    task_id = at.task()
    at.fake.delete_task(task_id)
    if not at.fake.site.release.has_api("get_tasks_status"):
        return "-"
    (row,) = at.call("get_tasks_status", task_id_list=[task_id])["data"]
    return " ".join(f"{name}={row[name]}" for name in ("current_flow", "flow_type", "is_deleted") if name in row)


def sixty_at_once(at: Scene) -> str:
    """Ask for the statuses of sixty tasks."""
    if not at.fake.site.release.has_api("get_tasks_status"):
        return "-"
    ids = [at.fake.create_task(start=False) for _ in range(60)]
    answer = at.call("get_tasks_status", task_id_list=ids)
    return str(len(answer["data"])) if answer["result"] else at.said(answer)


def unknown_subprocess(at: Scene) -> str:
    """Ask for the status of a subprocess that is not there."""
    answer = at.call("get_task_status", at.task(), subprocess_id="n0")
    return str(answer["data"]["state"]) if answer["result"] else at.said(answer)


def place_in_detail(at: Scene) -> str:
    """Look how the detail names the place of a task."""
    data = at.call("get_task_detail", at.task())["data"]
    return " ".join(f"{name}={data[name]}" for name in data if name.startswith(("business_", "project_")))


def node_words(at: Scene) -> str:
    """Look how a tree says that nodes can be retried and skipped."""
    template = at.call("get_template_info", at.template())["data"]["pipeline_tree"]
    task = at.call("get_task_detail", at.task())["data"]["pipeline_tree"]
    words = {"retryable", "skippable", "can_retry", "isSkipped"}
    found = {frozenset(words & node.keys()) for tree in (template, task) for node in tree["activities"].values()}
    return " | ".join(" ".join(sorted(keys)) for keys in found)


def child_tasks(at: Scene) -> int:
    """Run a template with a subprocess that may be a task of its own: how many tasks there are."""
    at.task("With an independent subprocess", after=60)
    return len(at.fake.tasks)


# ---- lists and counts ----


def list_without_flags(at: Scene) -> str:
    """List a task that has not started, one that runs and one that has finished."""
    return _listed(at)


def list_started(at: Scene) -> str:
    """List what has started."""
    return _listed(at, is_started="true")


def list_started_as_python(at: Scene) -> str:
    """List what has started, the word written as Python does."""
    return _listed(at, is_started="True")


def list_wrong_flag(at: Scene) -> str:
    """List by a flag that is neither yes nor no."""
    return _listed(at, is_started="perhaps")


def list_limit(at: Scene) -> str:
    """List more tasks than a page holds: rows by default, rows at most, ``count``."""
    for _ in range(210):
        at.fake.create_task("No outputs", start=False)
    if not at.fake.site.release.has_api("get_task_list"):
        return "-"
    few, many = at.call("get_task_list"), at.call("get_task_list", limit=500)
    without = at.call("get_task_list", without_count="true")
    return f"{len(few['data'])} {len(many['data'])} {few.get('count', '-')} {without.get('count', '-')}"


def list_filters(at: Scene) -> str:
    """List by what not every release filters by: which of them lets a row pass that should not."""
    at.fake.create_task(start=False)
    if not at.fake.site.release.has_api("get_task_list"):
        return "-"
    filters = {"create_method": "app", "template_id": "1", "create_time_start": "2099-01-01T00:00:00Z"}
    return " ".join(name for name, value in filters.items() if at.call("get_task_list", **{name: value})["data"])


def list_row(at: Scene) -> str:
    """Look which of some fields a row of the list has, and how it writes times for a time zone."""
    at.fake.create_task(start=False)
    if not at.fake.site.release.has_api("get_task_list"):
        return "-"
    wanted = ("create_method", "is_started", "is_finished", "template_id", "is_child_taskflow")
    (row,) = at.call("get_task_list")["data"]
    return " ".join(name for name in wanted if name in row)


def timezone_of_templates(at: Scene) -> bool:
    """Ask for times in a zone: whether it was read."""
    (row, *_) = at.call("get_template_list", expected_timezone="UTC")["data"]
    return bool(row["edit_time"].endswith("+0000"))


def templates_by_name(at: Scene) -> bool:
    """Search templates by name: whether only those come."""
    return len(at.call("get_template_list", name_keyword="Long sleep")["data"]) == 1


def template_constants(at: Scene) -> bool:
    """Ask for the constants of a template: whether they come."""
    return "template_constants" in at.call("get_template_info", at.template(), include_constants="true")["data"]


def _listed(at: Scene, **flags: str) -> str:
    at.fake.create_task(name="created", start=False)
    at.task(name="running")
    at.task("No outputs", name="finished", after=60)
    if not at.fake.site.release.has_api("get_task_list"):
        return "-"
    reply = at.call.send("get_task_list", **flags)
    if reply.status == 500 or "Status Code: 500" in reply.text:
        return "crash"
    answer = reply.json()
    return " ".join(row["name"] for row in answer["data"]) if answer["result"] else at.said(answer)


def count_by_name(at: Scene) -> str:
    """Count the tasks whose name contains a tag, by status."""
    for started in (False, True, True):
        at.fake.create_task(name="run [tag-1]", start=started)
    at.fake.create_task(name="run [tag-2]")
    at.fake.delete_task(at.fake.create_task(name="run [tag-1]"))
    at.fake.advance(1)
    conditions = {"pipeline_instance__name__contains": "[tag-1]"}
    data = at.call("query_task_count", group_by="status", conditions=conditions)["data"]
    return " ".join([str(data["total"]), *(f"{group['code']}={group['value']}" for group in data["groups"])])


# ---- how "no" is said ----


def unknown_task(api: str, app: str = "demo-app") -> Any:
    """Make a situation: an API is asked about a task that is not there."""

    def play(at: Scene) -> str:
        answer = at.of(app=app).send(api, 60001, **({"action": "revoke"} if api == "operate_task" else {}))
        if answer.status == 500 or "Status Code: 500" in answer.text:
            return "crash"
        return at.said(answer.json()).replace("60001", "N")

    return play


def foreign_task(at: Scene) -> str:
    """Ask for the status of another project's task."""
    task_id = at.task("Of another project")
    return at.said(at.call("get_task_status", task_id), task_id)


def deleted_task(at: Scene) -> str:
    """Ask for the status of a deleted task."""
    task_id = at.task()
    at.fake.delete_task(task_id)
    return at.said(at.call("get_task_status", task_id), task_id)


def detail_of_a_deleted_task(at: Scene) -> bool:
    """Ask for the detail of a deleted task."""
    task_id = at.task()
    at.fake.delete_task(task_id)
    return bool(at.call("get_task_detail", task_id)["result"])


def unknown_node(at: Scene) -> str:
    """Ask for a node that a task does not have."""
    task_id = at.task()
    return at.said(at.call("get_task_node_detail", task_id, node_id="n0"), task_id)


def no_permission(at: Scene, api: str = "get_task_status") -> str:
    """Ask for a status as a user who may do nothing."""
    task_id = at.task()
    reply = at.of("nobody").send(api, task_id)
    answer = reply.json()
    listed = " with a list" if isinstance(answer.get("permission"), list) else ""
    return f"{reply.status} {at.said(answer, task_id)}{listed}".replace(
        " please try again later or contact", "…"
    ).split("…")[0]


def no_permission_to_start(at: Scene) -> str:
    """Start a task as a user who may do nothing."""
    return no_permission(at, "start_task")


def stranger(at: Scene) -> str:
    """Ask as a user whom SOPS has never seen."""
    task_id = at.task()
    return at.said(at.of("stranger")("get_task_status", task_id), task_id)


def trusted_app(at: Scene) -> bool:
    """Ask as a user who may do nothing, by an app on SOPS' own list."""
    return bool(at.of("nobody", TRUSTED)("get_task_status", at.task())["result"])


def keys_of_an_answer(at: Scene) -> str:
    """Look what stands beside ``data`` in a good answer."""
    return " ".join(sorted(at.call("get_template_list").keys() - {"data"}))


def without_credentials(at: Scene) -> int:
    """Call SOPS itself without credentials."""
    return at.call.http.send("GET", f"{at.fake.direct_url}/get_template_list/2/").status
