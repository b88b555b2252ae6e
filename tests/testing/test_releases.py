# SPDX-License-Identifier: Apache-2.0
"""What the fake of each release answers, held to what is known of SOPS' public source. 3.34 is held to recordings, too.

A row says from which release on (of those that the fake can be) an answer is given.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops, FakeSopsClient
from airflow_provider_sops.testing.releases import RELEASES
from tests.testing import releases as play
from tests.testing.calls import Caller
from tests.testing.releases import Scene, has_api, unknown_task


@dataclass(frozen=True)
class Row:
    """One situation.

    :param what: what it is about.
    :param play: plays it and gives what is compared.
    :param answers: what is given, by the release from which on; the oldest first.
    :param esb: the same through the ESB, where that differs.
    :param fake: arguments of the fake.
    """

    what: str
    play: Callable[[Scene], Any]
    answers: Mapping[str, Any]
    esb: Mapping[str, Any] | None = None
    fake: Mapping[str, Any] | None = None

    def expected(self, release: str, endpoint: str) -> Any:
        """Return the answer of a release."""
        answers = self.answers if endpoint == "apigw" or self.esb is None else self.esb
        reached = RELEASES[RELEASES.index(release) :]
        return next(answers[older] for older in reached if older in answers)


TOO_LONG = "task params is invalid"
RAN = "no 3545000 task already started"
GONE = "matching query does not exist."
NOT_KNOWN = "node(E) does not exist, may have not by executed"
DENIED = "you have no permission to operate with a list"
THIRD_PARTY = "Request third-party interface error, Component request third-party system [SOPS] interface"
MISSING = "数据不存在错误: 数据不存在错误, 错误内容"
NO_NODE = "节点状态请求失败: 任务[ID: {}]中未找到节点[ID: {}]. 请重试. 如持续失败可联系管理员处理 | get_node_detail"

ROWS = [
    # ---- APIs: since when ----
    *(
        Row(f"{api} is there", has_api(api, **ids), {"3.3": "-", since: "yes"} if since != "3.3" else {"3.3": "yes"})
        for api, since, ids in [
            ("get_template_list", "3.3", {}),
            ("get_template_info", "3.3", {"template": True}),
            ("create_task", "3.3", {"template": True}),
            ("start_task", "3.3", {"task": True}),
            ("operate_task", "3.3", {"task": True}),
            ("get_task_status", "3.3", {"task": True}),
            ("query_task_count", "3.3", {}),
            ("get_task_detail", "3.3", {"task": True}),
            ("get_task_node_detail", "3.3", {"task": True}),
            ("node_callback", "3.3", {"task": True}),
            ("fast_create_task", "3.5.5", {}),
            ("get_tasks_status", "3.5.5", {}),
            ("operate_node", "3.5.5", {"task": True}),
            ("get_task_node_data", "3.5.5", {"task": True}),
            ("get_user_project_list", "3.5.5", {}),
            ("get_task_list", "3.6.22", {}),
            ("get_tasks_manual_intervention_state", "3.6.22", {}),
            ("modify_constants_for_task", "3.6.22", {"task": True}),
            ("create_and_start_task", "3.9", {"template": True}),
            ("get_task_node_log", "3.34", {"task": True}),
        ]
    ),
    Row(
        "an API that is not there redirects to the home page",
        play.redirected,
        {"3.3": (302, "/?page_not_found"), "3.34": (200, NO_NODE.format(50001, "n"))},
        esb={
            "3.3": (200, f"{THIRD_PARTY} [get_task_node_log] error: Status Code: 302"),
            "3.34": (200, NO_NODE.format(50001, "n")),
        },
    ),
    # ---- place: business, project, scope ----
    Row(
        "scope is read",
        play.scope_is_read,
        {"3.3": "no - business[bk_biz_id=7] does not exist", "3.5.5": "yes 0"},
    ),
    Row(
        "an unknown business",
        play.unknown_place,
        {
            "3.3": "no - business[bk_biz_id=99] does not exist",
            "3.5.5": "no 3540400 project(99) with scope(cmdb_biz) does not exist.",
        },
    ),
    # ---- create_task ----
    Row("the longest name", play.longest_name, {"3.3": 50, "3.9": 100}),
    Row("a name that is too long", play.name_too_long, {"3.3": f"no - {TOO_LONG}", "3.5.5": f"no 3540000 {TOO_LONG}"}),
    Row("nodes in the tree, one asked for: before 3.9.2 all", play.executed_nodes, {"3.3": 3, "3.9": 1}),
    Row(
        "template_schemes_id is read",
        play.scheme_nodes,
        {"3.3": "yes -", "3.5.5": "yes 0", "3.28": "no 3540400 template scheme[id=none] does not exist"},
    ),
    Row(
        "callback_url is read",
        play.callback_url,
        {
            "3.3": "yes -",
            "3.5.5": "yes 0",
            "3.28": r"no 3540000 callback_url format error, must match ^https?://\w.+$",
        },
    ),
    Row("callback_version is read", play.callback_version, {"3.3": "", "3.34": "v2"}),
    # ---- start_task ----
    # gcloud/taskflow3/models.py, task_action of V3.5.5 and V3.6.22
    Row(
        "a good start: up to 3.6.45 at once, with the code of a failure",
        play.good_start,
        {"3.3": "yes - success; started", "3.5.5": "yes 3545100 success; started", "3.9": "yes 0; queued"},
    ),
    *(
        Row(
            f"a second start, by {how.__name__}",
            how,
            {
                "3.3": "no - pipeline instance already started.",
                "3.5.5": "no 3545100 pipeline instance already started.",
                "3.9": RAN,
            },
        )
        for how in (play.second_start, play.second_start_by_operate_task)
    ),
    Row(
        "the status of a task that was started just now",
        play.just_started,
        {
            "3.3": f"no - task[id=N] get status error: {NOT_KNOWN}",
            "3.5.5": f"no 3599999 task[id=N] get status error: {NOT_KNOWN}",
            "3.9": "CREATED",
        },
    ),
    Row("its status some moments later", play.moments_later, {"3.3": "RUNNING"}),
    Row(
        "a function task that nobody has claimed is started",
        play.unclaimed_start,
        {
            "3.3": "no - task with current_flow:func_claim cannot be started",
            "3.5.5": "no 3545000 task with current_flow:func_claim cannot be started",
            "3.9": "yes 0",
        },
    ),
    # ---- operate_task, operate_node, node_callback ----
    Row(
        "a finished task is revoked",
        play.revoke_finished,
        {
            "3.3": "no - task with current_flow:finished cannot be revokeed",
            "3.5.5": "no 3545000 task with current_flow:finished cannot be revokeed",
        },
    ),
    Row("a running task is revoked", play.good_revoke, {"3.3": "yes -", "3.5.5": "yes 0", "3.9": "yes 0 success"}),
    # pipeline/engine/api.py, revoke_pipeline: V3.3.30 makes a row before it looks, V3.5.1 and later look first
    Row(
        "a task that has not started is revoked",
        play.revoke_created,
        {
            "3.3": "no - task[id=N] action failed:PipelineModel matching query does not exist.",
            "3.5.5": "no 3545100 pipeline to be revoked does not exist.",
            "3.9": "no 3545000 task not started",
        },
    ),
    # pipeline/models.py, start, and Status.objects.prepare_for_pipeline of V3.3.30
    Row(
        "such a task is started later",
        play.start_after_that,
        {
            "3.3": f"no - task[id=N] action failed:; no - task[id=N] get status error: {NOT_KNOWN}",
            "3.5.5": "yes 3545100 success; FINISHED",
            "3.9": "yes 0; FINISHED",
        },
    ),
    Row(
        "a running node is retried",
        play.retry_of_a_running_node,
        {
            "3.3": "-",
            "3.5.5": "no 3599999 X state is not FAILED, actual RUNNING",
            "3.9": "no 3599999 fail: Traceback (most recent call last):",
        },
    ),
    Row("node_callback answers a pause", play.callback_of_a_pause, {"3.3": "True FINISHED"}),
    Row(
        "node_callback by a user who may operate tasks",
        play.callback_needs,
        {
            "3.3": "no - user[username=operator] does not have perm of business:[bk_biz_id=2]",
            "3.5.5": "yes 0 success",
        },
    ),
    # ---- get_task_status, get_tasks_status, get_task_detail ----
    Row("seconds of get_task_status' cache", play.status_cache, {"3.3": 0, "3.9": 60, "3.28": 10}),
    Row("seconds of get_tasks_status' cache", play.tasks_status_cache, {"3.3": "-", "3.5.5": 0, "3.9": 10}),
    Row("seconds of get_task_detail's cache", play.detail_cache, {"3.3": 0, "3.9": 60}),
    Row(
        "what a status tells of failed nodes",
        play.failed_flags,
        {"3.3": "", "3.6.22": "ex_data", "3.34": "auto_retry_status ex_data failed_node_info"},
    ),
    Row(
        "an unknown subprocess_id",
        play.unknown_subprocess,
        {
            "3.3": "RUNNING",
            "3.5.5": "no 3599999 task[id=50001] get status error: node(n0) does not exist, may have not by executed",
            "3.6.22": "CREATED",
        },
    ),
    Row(
        "names of a running task and its start event",
        play.task_name_in_status,
        {
            "3.3": "<class 'pipeline.core.pipeline.Pipeline'> \"<class 'pipeline.core.flow.event.EmptyStartEvent'>\"",
            "3.9": "mine ''",
        },
    ),
    Row("name of a task that has not started", play.name_of_created, {"3.3": "-", "3.9": "mine"}),
    Row(
        "the mark of a deleted task in get_tasks_status",
        play.row_of_a_deleted_task,
        {"3.3": "-", "3.5.5": "", "3.6.22": "current_flow=execute_task flow_type=common is_deleted=True"},
    ),
    Row(
        "sixty tasks in one get_tasks_status",
        play.sixty_at_once,
        {"3.3": "-", "3.5.5": "60", "3.20": "no 3540000 task_id_list is too long, maximum length is 50"},
    ),
    Row(
        "one task just started in a get_tasks_status",
        play.just_started_in_a_batch,
        {"3.3": "-", "3.5.5": "crash", "3.9": "CREATED RUNNING"},
    ),
    Row(
        "one unreadable task in a get_tasks_status",
        play.unreadable_in_a_batch,
        {
            "3.3": "-",
            "3.5.5": "crash",
            "3.9": "no 3599999 task[id=N] get status error: node states of the task cannot be read",
        },
    ),
    Row(
        "how the detail names the place",
        play.place_in_detail,
        {"3.3": "business_id=2 business_name=蓝鲸", "3.5.5": "project_id=7 project_name=蓝鲸"},
    ),
    # ---- automatic retry of nodes, trees ----
    Row(
        "states of a task whose node is to be retried",
        play.auto_retry,
        {"3.3": "FAILED", "3.20": "FAILED FINISHED"},
    ),
    Row(
        "auto_retry in the tree, retries counted, auto_retry_info in the node's detail",
        play.auto_retry_in_the_tree,
        {
            "3.3": '"-" 0 unsaid',
            "3.20": '{"enable": true, "interval": 4, "times": 2} 2 unsaid',
            "3.34": '{"enable": true, "interval": 4, "times": 2} 2 said',
        },
    ),
    Row(
        "how a tree says that nodes can be retried and skipped",
        play.node_words,
        {"3.3": "can_retry isSkipped", "3.6.22": "retryable skippable"},
    ),
    Row("tasks of a template with an independent subprocess", play.child_tasks, {"3.3": 1, "3.28": 2}),
    # ---- get_task_list, query_task_count, templates ----
    # gcloud/apigw/views/get_task_list.py: V3.6.22 hands flags to its database, V3.9.2 reads them by a form
    Row(
        "a list without flags: in 3.9 what has not started",
        play.list_without_flags,
        {"3.3": "-", "3.6.22": "finished running created", "3.9": "created", "3.20": "finished running created"},
    ),
    Row(
        "a list of what has started: in 3.9 and not finished",
        play.list_started_as_python,
        {"3.3": "-", "3.6.22": "finished running", "3.9": "running", "3.20": "finished running"},
    ),
    Row(
        "the same, asked for by a small letter",
        play.list_started,
        {"3.3": "-", "3.6.22": "crash", "3.9": "running", "3.20": "finished running"},
    ),
    Row(
        "the same, asked for by a word that is none",
        play.list_wrong_flag,
        {
            "3.3": "-",
            "3.6.22": "crash",
            "3.9": "running",
            "3.20": "finished running",
            "3.34": "no 3540000 {'is_started': ['Must be a valid boolean.']}",
        },
    ),
    Row(
        "rows by default, rows at most, count, count when it is not wanted",
        play.list_limit,
        {"3.3": "-", "3.6.22": "15 210 - -", "3.9": "100 200 210 210", "3.34": "100 200 210 -1"},
    ),
    Row(
        "filters of lists that are not read",
        play.list_filters,
        {"3.3": "-", "3.6.22": "create_method template_id create_time_start", "3.34": ""},
    ),
    Row(
        "fields of a row of the list",
        play.list_row,
        {
            "3.3": "-",
            "3.6.22": "create_method is_started is_finished template_id",
            "3.34": "create_method is_started is_finished template_id is_child_taskflow",
        },
    ),
    Row("expected_timezone is read", play.timezone_of_templates, {"3.3": False, "3.20": True}),
    Row("name_keyword is read", play.templates_by_name, {"3.3": False, "3.6.22": True}),
    Row("include_constants is read", play.template_constants, {"3.3": False, "3.34": True}),
    # gcloud/contrib/analysis/analyse_items/task_flow_instance.py, dispatch
    Row("tasks by a tag in their name", play.count_by_name, {"3.3": "3 CREATED=1 EXECUTING=2 FINISHED=0"}),
    # ---- how "no" is said ----
    *(
        Row(
            f"an unknown task, asked for by {api}",
            unknown_task(api),
            {
                "3.3": first,
                "3.5.5": f"no - Object not found: TaskFlowInstance {GONE}",
                "3.6.22": "no - Object not found: TaskFlowInstance(id=N) does not exist.",
                "3.28": f"no 3540400 {MISSING} TaskFlowInstance(id=N) does not exist. | process_exception",
            },
        )
        for api, first in [
            ("get_task_detail", "no - task[id=N] of business[bk_biz_id=2] does not exist"),
            ("operate_task", "no - task[id=N] does not exist"),
            ("start_task", "no - task[id=N] does not exist"),
            (
                "get_task_status",
                "no - task[id=N] get status error: node(N) does not exist, may have not by executed",
            ),
        ]
    ),
    Row(
        "an unknown task, asked for by an app on SOPS' own list",
        unknown_task("get_task_detail", play.TRUSTED),
        {
            "3.3": "no - task[id=N] of business[bk_biz_id=2] does not exist",
            "3.5.5": "crash",
            "3.6.22": "no 3540400 [API] get_task_detail task[id=N] of project[project_id=7, biz_id2] does not exist",
        },
    ),
    Row(
        "the status of another project's task",
        play.foreign_task,
        {
            "3.3": "no - task[id=N] get status error: node(N) does not exist, may have not by executed",
            "3.5.5": f"no - Object not found: TaskFlowInstance {GONE}",
            "3.6.22": f"no 3599999 task[id=N] get status error: TaskFlowInstance {GONE}",
        },
    ),
    Row(
        "the status of a deleted task",
        play.deleted_task,
        {
            "3.3": "no - task[id=N] get status error: node(N) does not exist, may have not by executed",
            "3.5.5": f"no 3599999 task[id=N] get status error: TaskFlowInstance {GONE}",
        },
    ),
    Row("a deleted task has a detail", play.detail_of_a_deleted_task, {"3.3": True}),
    Row(
        "an unknown node",
        play.unknown_node,
        {
            "3.3": "no - node[node_id=n0] not found in task[task_id=N]",
            "3.5.5": "no 3540000 node[node_id=n0] not found in task[task_id=N]",
            "3.28": f"no 3540000 {NO_NODE.format('N', 'n0')}",
        },
    ),
    # gcloud/apigw/decorators.py of V3.3.30; auth_backend/plugins/http.py of V3.5.5
    Row(
        "a permission that the user does not have",
        play.no_permission,
        {
            "3.3": "200 no - user[username=nobody] does not have perm of business:[bk_biz_id=2]",
            "3.5.5": f"200 no 9900403 {DENIED}",
            "3.34": "200 no 3599999 iam authentication exception, please check, action:task_view",
        },
    ),
    Row(
        "a permission to operate that the user does not have",
        play.no_permission_to_start,
        {
            "3.3": "200 no - user[username=nobody] does not have perm[perm=task_operate] of task[id=N]",
            "3.5.5": f"200 no 9900403 {DENIED}",
            "3.34": "200 no 3599999 iam authentication exception, please check, action:task_operate",
        },
    ),
    Row(
        "a permission that the user does not have, at a site whose prefix is set otherwise",
        play.no_permission,
        {
            "3.3": "200 no - user[username=nobody] does not have perm of business:[bk_biz_id=2]",
            "3.5.5": f"499 no 9900403 {DENIED}",
            "3.34": "200 no 3599999 iam authentication exception, please check, action:task_view",
        },
        esb={
            "3.3": "200 no - user[username=nobody] does not have perm of business:[bk_biz_id=2]",
            "3.5.5": f"200 no 1306201 {THIRD_PARTY} [get_task_status] error: Status Code: 499,",
            "3.34": "200 no 3599999 iam authentication exception, please check, action:task_view",
        },
        fake={"denial_status": 499},
    ),
    Row(
        "a user whom SOPS has never seen",
        play.stranger,
        {
            "3.3": "no - user[username=stranger] does not exist or has not logged in this APP",
            "3.5.5": "no 3540400 user[username=stranger] does not exist or has not logged in this APP",
            "3.6.22": f"no 9900403 {DENIED.removesuffix(' with a list')}",
            "3.34": "no 3599999 iam authentication exception, please check, action:task_view",
        },
    ),
    Row("an app on SOPS' own list skips the user's permissions", play.trusted_app, {"3.3": True}),
    Row(
        "what stands beside data",
        play.keys_of_an_answer,
        {"3.3": "result", "3.5.5": "code result", "3.9": "code result trace_id"},
    ),
    Row("SOPS itself without credentials", play.without_credentials, {"3.3": 405, "3.5.5": 403}),
]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_release(row: Row, release: str) -> None:
    endpoints = ("apigw", "esb")
    found = {}
    for endpoint in endpoints:
        with play.scene(release, endpoint, **(row.fake or {})) as fake:
            caller = Caller(fake, endpoint)
            found[endpoint] = row.play(Scene(fake, caller))
            caller.http.close()
    assert found == {endpoint: row.expected(release, endpoint) for endpoint in endpoints}


def test_a_release_that_it_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"cannot be release '3\.7'; there are 3\.34, 3\.28, .*, 3\.3$"):
        FakeSops(release="3.7")


def test_old_releases_have_no_expired() -> None:
    with FakeSops(release="3.6.22") as fake, pytest.raises(ValueError, match=r"SOPS 3\.6\.22 has no EXPIRED"):
        fake.expire_task(fake.create_task())


def test_the_command_makes_an_older_sops() -> None:
    command = [sys.executable, "-m", "airflow_provider_sops.testing", "--release", "3.6.22"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert FakeSopsClient(process.stdout.readline().strip()).status()["release"] == "3.6.22"
        finally:
            process.terminate()


@pytest.mark.parametrize("release", ["3.5.5", "3.3"])
def test_the_first_engine_neither_starts_nor_operates_what_nobody_has_claimed(release: str) -> None:
    with FakeSops(release=release) as fake:
        call = Caller(fake)
        task_id = fake.create_task(start=False, flow_type="common_func")
        answers = [
            call("start_task", task_id),
            *(call("operate_task", task_id, action=do) for do in ("pause", "revoke")),
        ]
        assert [answer["result"] for answer in answers] == [False] * 3
        assert all("current_flow:func_claim" in answer["message"] for answer in answers)
        assert (fake.task(task_id).state, fake.task(task_id).reserved) == ("CREATED", False)
        fake.claim(task_id)
        fake.advance(60)
        assert fake.task(task_id).state == "FINISHED"
        assert "current_flow:finished cannot be started" in call("start_task", task_id)["message"]


def test_a_count_by_what_the_database_does_not_have_is_refused() -> None:
    with FakeSops() as fake:
        answer = Caller(fake)("query_task_count", group_by="status", conditions={"name": "x", "color": "red"})
    assert (answer["result"], "Cannot resolve keyword 'color' into field" in answer["message"]) == (False, True)
