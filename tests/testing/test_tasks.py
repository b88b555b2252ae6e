# SPDX-License-Identifier: Apache-2.0
"""Tasks of the fake: states over time, and what can be done to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from airflow_provider_sops.testing import FakeSops, Refused
from tests.gateway_tree import TO_B, gateway_tree
from tests.testing.calls import Caller, Http
from tests.testing.recorded import sample


@pytest.fixture
def fake() -> Iterator[FakeSops]:
    with FakeSops() as fake:
        fake.clock.stop()
        yield fake


@pytest.fixture
def call(fake: FakeSops) -> Caller:
    return Caller(fake)


def _outputs(call: Caller, task_id: int) -> dict[str, Any]:
    data = call("get_task_detail", task_id, nonce=call.fake.count())["data"]
    return {row["key"]: row["value"] for row in data["outputs"]}


def test_a_task_from_template_to_outputs(fake: FakeSops, call: Caller) -> None:
    created = call("create_task", 101, name="mine", constants={"${IP}": "10.0.0.1"})
    task_id = created["data"]["task_id"]
    assert created["data"]["task_url"] == f"{fake.url}/taskflow/execute/7/?instance_id={task_id}"
    assert call.state(task_id) == "CREATED"
    assert call("start_task", task_id)["result"] is True
    assert call.state(task_id) == "CREATED"
    fake.advance(0.2)
    assert call.state(task_id) == "RUNNING"
    assert call("start_task", task_id)["message"] == "task already started"
    fake.advance(3)
    assert call.state(task_id) == "FINISHED"
    assert _outputs(call, task_id) == {"${IP}": "10.0.0.1", "${EXIT}": "0", "${job_script_type}": "1"}
    task = fake.task(task_id)
    assert len(task.starts) == 1
    assert [action for _, _, action in task.operations] == ["create", "start", "start"]
    assert {user for _, user, _ in task.operations} == {"admin"}


def test_direct_use_leaves_no_trace_in_the_log(fake: FakeSops) -> None:
    task_id = fake.create_task("Long sleep", name="direct", constants={"seconds": 5})
    fake.advance(8)
    assert fake.task(task_id).state == "FINISHED"
    assert [task.name for task in fake.tasks] == ["direct"]
    assert (fake.count(), fake.connections) == (0, 0)


def test_unknown_template(fake: FakeSops) -> None:
    with pytest.raises(KeyError, match="no template 'Nothing'; there are Two steps with outputs"):
        fake.create_task("Nothing")


def test_two_starts_in_the_queue_start_once(fake: FakeSops, call: Caller) -> None:
    """start_task only queues: asked twice at once it says yes twice, and the engine starts once."""
    task_id = fake.create_task(start=False)
    assert [call("start_task", task_id)["result"] for _ in range(2)] == [True, True]
    fake.advance(1)
    assert len(fake.task(task_id).starts) == 1


def test_a_dead_worker(fake: FakeSops, call: Caller) -> None:
    fake.start_delay = None
    task_id = fake.create_task(start=False)
    assert call("start_task", task_id)["result"] is True
    fake.advance(3600)
    assert call.state(task_id) == "CREATED"
    assert call("operate_task", task_id, action="revoke")["message"] == "task not started"
    fake.revive_worker()
    assert call.state(task_id) == "RUNNING"
    assert len(fake.task(task_id).starts) == 1


def test_a_function_task_waits_to_be_claimed(fake: FakeSops, call: Caller) -> None:
    task_id = call("create_task", 101, name="func", flow_type="common_func")["data"]["task_id"]
    assert call("start_task", task_id)["result"] is True
    fake.advance(60)
    assert call.state(task_id) == "CREATED"
    refused = call("operate_task", task_id, action="revoke")
    assert refused["message"] == "task with current_flow:func_claim cannot be revokeed"
    fake.claim(task_id)
    fake.advance(10)
    assert call.state(task_id) == "FINISHED"
    with pytest.raises(Refused, match="current_flow:finished"):
        fake.claim(task_id)


def test_revoked_has_an_end_only_in_detail(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Long sleep")
    fake.advance(5)
    assert call("operate_task", task_id, action="revoke")["result"] is True
    fake.advance(3600)
    status = call("get_task_status", task_id)["data"]
    assert (status["state"], status["finish_time"]) == ("REVOKED", None)
    detail = call("get_task_detail", task_id)["data"]
    assert (detail["finish_time"] != "", detail["outputs"]) == (True, [])
    row = call("get_task_list")["data"][0]
    assert (row["is_finished"], row["finish_time"] is not None) == (False, True)


def test_pause_lets_the_running_node_end(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fake.advance(0.5)
    assert call("operate_task", task_id, action="pause")["result"] is True
    fake.advance(60)
    assert call.state(task_id) == "SUSPENDED"
    assert {node.name: node.state for node in fake.task(task_id).nodes.values() if node.name} == {
        "show vars": "FINISHED",
        "sleep1": "FINISHED",
    }
    assert "can't not transit" in call("operate_task", task_id, action="pause")["message"]
    assert call("operate_task", task_id, action="resume")["result"] is True
    fake.advance(3)
    assert call.state(task_id) == "FINISHED"


def test_one_branch_fails_while_the_other_runs(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Parallel, one branch fails")
    fake.advance(1)
    status = call("get_task_status", task_id, with_ex_data=1)["data"]
    assert status["state"] == "FAILED"
    assert sorted(row["state"] for row in status["children"].values() if row["name"] in ("pa", "bad")) == [
        "FAILED",
        "RUNNING",
    ]
    assert list(status["ex_data"].values()) == ["请求异常，详细信息: Connection refused"]
    node_id = next(own_id for own_id, row in status["children"].items() if row["name"] == "bad")
    assert call("operate_node", task_id, node_id=node_id, action="skip")["result"] is True
    assert call.state(task_id) == "RUNNING"
    fake.advance(6)
    assert call.state(task_id) == "FINISHED"


def test_retry_with_good_inputs(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Fails until retried with good inputs")
    fake.advance(1)
    node = fake.task(task_id).node("call")
    assert call("operate_node", task_id, node_id=node.id, action="retry")["result"] is True
    assert call.state(task_id) == "FAILED"
    inputs = {
        "bk_http_request_method": "GET",
        "bk_http_request_url": "http://service.example.com/good",
        "bk_http_request_body": "",
    }
    assert call("operate_node", task_id, node_id=node.id, action="retry", inputs=inputs)["result"] is True
    assert call.state(task_id) == "FINISHED"
    detail = call("get_task_node_detail", task_id, node_id=node.id, component_code="bk_http_request")["data"]
    assert (detail["retry"], len(detail["histories"]), detail["inputs"]["bk_http_request_url"]) == (
        2,
        2,
        "http://service.example.com/good",
    )


def test_a_node_that_may_not_be_retried_or_skipped(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Not retryable, not skippable")
    fake.advance(1)
    node_id = fake.task(task_id).node("x").id
    for action in ("retry", "skip"):
        answer = call("operate_node", task_id, node_id=node_id, action=action)
        assert (answer["result"], answer["code"]) == (False, 3599999)
        assert answer["message"].startswith("fail: Traceback (most recent call last):\n")
    assert call.state(task_id) == "FAILED"


def test_a_node_that_retries_by_itself(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Retries by itself")
    fake.advance(1)
    status = call("get_task_status", task_id, with_auto_retry_status=1, with_failed_node_info=1)["data"]
    node_id = fake.task(task_id).node("ar").id
    assert status["state"] == "FAILED"
    assert status["auto_retry_status"] == {"exist_auto_retry_nodes": True, "auto_retry_nodes": [node_id]}
    assert status["failed_node_info"] == {node_id: {"auto_retry_times": 0, "max_auto_retry_times": 2}}
    fake.advance(8)
    assert call.state(task_id) == "FINISHED"
    node = fake.task(task_id).node("ar")
    assert (node.retry, node.runs) == (2, 3)


def test_flags_count_when_they_are_there(fake: FakeSops, call: Caller) -> None:
    """``0`` and ``false`` count as true; on CREATED that is an error."""
    task_id = fake.create_task(start=False)
    for value in ("0", "false", "1"):
        answer = call("get_task_status", task_id, with_failed_node_info=value)
        assert answer["message"] == f"task[id={task_id}] extract failed node info error: 'id'"


def test_a_node_that_takes_too_long(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Node timeout")
    fake.advance(3.9)
    assert call.state(task_id) == "RUNNING"
    fake.advance(0.3)
    assert call.state(task_id) == "FAILED"


def test_waiting_for_a_person_looks_like_running(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Pause for a person")
    fake.advance(0.5)
    waits = call("get_tasks_manual_intervention_state", task_id_list=[task_id])["data"]
    assert waits == [{"id": task_id, "manual_intervention_required": False}]
    fake.advance(60)
    assert call.state(task_id) == "RUNNING"
    waits = call("get_tasks_manual_intervention_state", task_id_list=[task_id])["data"]
    assert waits == [{"id": task_id, "manual_intervention_required": True}]
    node_id = fake.task(task_id).node("confirm").id
    answer = call("node_callback", task_id, node_id=node_id, callback_data={"by": "me"})
    assert answer["result"] is True
    assert call.state(task_id) == "FINISHED"
    assert _outputs(call, task_id)["${answer}"] == {"by": "me"}


def test_manual_intervention_takes_nine_tasks(call: Caller) -> None:
    assert call("get_tasks_manual_intervention_state", task_id_list=list(range(9)))["data"] == []
    answer = call("get_tasks_manual_intervention_state", task_id_list=list(range(10)))
    assert (answer["result"], answer["code"]) == (False, 3540000)


def test_a_failure_in_a_subprocess(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("With a subprocess that fails")
    fake.advance(2)
    status = call("get_task_status", task_id, with_ex_data=1)["data"]
    sub = next(row for row in status["children"].values() if row["name"] == "sub")
    child = next(row for row in sub["children"].values() if row["name"] == "child call")
    assert (status["state"], sub["state"], child["state"]) == ("FAILED", "FAILED", "FAILED")
    assert list(status["ex_data"]) == [child["id"]]
    assert call("operate_node", task_id, node_id=child["id"], action="retry")["result"] is True
    assert call.state(task_id) == "FINISHED"


def test_an_independent_subprocess_is_a_task_of_its_own(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("With an independent subprocess that fails", name="parent")
    fake.advance(2)
    rows = call("get_task_list")["data"]
    assert [(row["is_child_taskflow"], row["name"].split("_")[0]) for row in rows] == [
        (True, "Failing child flow"),
        (False, "parent"),
    ]
    child_id = rows[0]["id"]
    assert (call.state(child_id), call.state(task_id)) == ("FAILED", "FAILED")
    node = fake.task(task_id).node("own task")
    assert node.plugin == "subprocess_plugin"
    assert (node.outputs["task_id"], f"instance_id={child_id}" in (node.ex_data or "")) == (child_id, True)
    fake.operate_node(child_id, "child call", "retry")
    assert (call.state(child_id), call.state(task_id)) == ("FINISHED", "FINISHED")


def test_independent_subprocess_that_succeeds(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("With an independent subprocess")
    fake.advance(1)
    assert call.state(task_id) == "RUNNING"
    fake.advance(2)
    assert call.state(task_id) == "FINISHED"
    child = fake.tasks[-1]
    assert child.outputs == [{"key": "${IP}", "value": "from-parent", "name": "IP"}]


def test_the_long_step_is_not_run_again(fake: FakeSops) -> None:
    task_id = fake.create_task("A minute, then fails once")
    fake.advance(62)
    assert fake.task(task_id).state == "FAILED"
    fake.operate_node(task_id, "deploy", "retry")
    fake.advance(2)
    task = fake.task(task_id)
    assert task.state == "FINISHED"
    assert [(node.name, node.runs) for node in task.nodes.values() if node.name] == [("prepare", 1), ("deploy", 2)]


def test_a_node_told_to_wait(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task(start=False)
    node_id = fake.task(task_id).find_id("sleep2")
    assert call("operate_node", task_id, node_id=node_id, action="pause")["result"] is True
    fake.start_task(task_id)
    fake.advance(10)
    assert call.state(task_id) == "NODE_SUSPENDED"
    assert call("operate_node", task_id, node_id=node_id, action="resume")["result"] is True
    assert call.state(task_id) == "RUNNING"
    fake.advance(2)
    assert call.state(task_id) == "FINISHED"


def test_a_paused_subprocess(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("With a subprocess")
    fake.advance(1)
    node_id = fake.task(task_id).node("sub").id
    assert call("operate_node", task_id, node_id=node_id, action="pause_subproc")["result"] is True
    fake.advance(60)
    assert call.state(task_id) == "NODE_SUSPENDED"
    assert call("operate_node", task_id, node_id=node_id, action="resume_subproc")["result"] is True
    assert call.state(task_id) == "FINISHED"


def test_a_retry_in_a_paused_task_waits(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("A minute, then fails once")
    fake.advance(62)
    fake.operate(task_id, "pause")
    fake.operate_node(task_id, "deploy", "retry")
    fake.advance(60)
    assert call.state(task_id) == "SUSPENDED"
    assert fake.task(task_id).node("deploy").state == "READY"
    fake.operate(task_id, "resume")
    fake.advance(2)
    assert call.state(task_id) == "FINISHED"


def test_outputs_that_were_never_made(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Output of a node that never succeeds")
    fake.advance(1)
    fake.operate_node(task_id, "fail", "skip")
    assert _outputs(call, task_id) == {"${IP}": "127.0.0.1", "${data}": "${data}"}


def test_outputs_keep_their_types(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Every type of output", constants={"i": 7, "l": [], "ml": "a\r\nb"})
    fake.advance(5)
    outputs = _outputs(call, task_id)
    assert len(outputs) == 19
    assert (outputs["${i}"], outputs["${l}"], outputs["${ml}"]) == (7, [], "a\r\nb")
    assert (outputs["${b}"], outputs["${none}"], outputs["${f}"]) == (True, None, 1.5)
    assert outputs["${big}"] == 12345678901234567890123
    assert outputs["${d}"] == {"k": "v", "ip": "10.1.1.1"}
    detail = call("get_task_detail", task_id)["data"]
    assert [row["key"] for row in detail["outputs"]] != list(detail["constants"])


def test_constants_that_no_node_refers_to_are_dropped(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Constants that no node refers to")
    fake.advance(1)
    data = call("get_task_detail", task_id)["data"]
    assert (data["constants"], data["outputs"], data["finish_time"] != "") == ({}, [], True)


def test_left_out_nodes_and_schemes(fake: FakeSops, call: Caller) -> None:
    info = call("get_template_info", 101)["data"]["pipeline_tree"]["activities"]
    ids = {node["name"]: own_id for own_id, node in info.items()}
    scheme = call("get_template_schemes", 101)["data"][0]
    assert scheme["name"] == "without sleep2"

    def names(**params: Any) -> list[str]:
        tree = call("create_task", 101, name="x", **params)["data"]["pipeline_tree"]
        return [node["name"] for node in tree["activities"].values()]

    assert names() == ["show vars", "sleep1", "sleep2"]
    assert names(exclude_task_nodes_id=[ids["sleep1"]]) == ["show vars", "sleep2"]
    assert names(execute_task_nodes_id=[ids["show vars"]]) == ["show vars"]
    assert names(template_schemes_id=scheme["id"]) == ["show vars", "sleep1"]
    task_id = fake.tasks[1].id
    fake.start_task(task_id)
    fake.advance(2.5)
    assert call.state(task_id) == "FINISHED"


def test_a_whole_branch_left_out(fake: FakeSops, call: Caller) -> None:
    info = call("get_template_info", 107)["data"]["pipeline_tree"]["activities"]
    pa = next(own_id for own_id, node in info.items() if node["name"] == "pa")
    task_id = call("create_task", 107, name="x", exclude_task_nodes_id=[pa])["data"]["task_id"]
    call("start_task", task_id)
    fake.advance(4)
    assert call.state(task_id) == "FINISHED"


def test_finding_tasks(fake: FakeSops, call: Caller) -> None:
    old = fake.create_task(name="deploy one [abc]")
    fake.advance(100)
    since = fake.clock.now() - 1
    new = fake.create_task(name="deploy two [abd]", start=False)
    fake.create_task(name="other")
    foreign = fake.create_task(name="deploy elsewhere", project_id=9)
    deleted = fake.create_task(name="deploy three")
    fake.delete_task(deleted)

    def found(**params: Any) -> list[int]:
        return [row["id"] for row in call("get_task_list", **params)["data"]]

    assert found(keyword="deploy") == [new, old]
    assert found(keyword="[abc]") == [old]
    assert found(keyword="deploy", is_started="false") == [new]
    assert found(keyword="deploy", is_finished="true") == [old]
    assert found(keyword="deploy", limit=1, offset=1) == [old]
    assert found(keyword="deploy", create_method="app") == []
    assert found(keyword="deploy", template_id=101) == [new, old]
    assert found(keyword="deploy", bk_biz_id=3) == [foreign]
    moment = datetime.fromtimestamp(since, UTC)
    for text in (moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S +0000")):
        assert found(keyword="deploy", create_time_start=text) == [new]
    counted = call("get_task_list", keyword="deploy", limit=1)
    assert counted["count"] == 2
    assert call("get_task_list", keyword="deploy", without_count="true")["count"] == -1
    assert call("get_task_list", offset=-1)["code"] == 3545000


def test_a_list_has_200_rows_at_most(fake: FakeSops, call: Caller) -> None:
    for _ in range(201):
        fake.create_task(start=False)
    assert [len(call("get_task_list", **limit)["data"]) for limit in ({}, {"limit": 150}, {"limit": 1000})] == [
        100,
        150,
        200,
    ]


def test_fifty_ids_at_most(fake: FakeSops, call: Caller) -> None:
    ids = [fake.create_task() for _ in range(50)]
    fake.advance(10)
    rows = call("get_tasks_status", task_id_list=ids)["data"]
    assert [row["id"] for row in rows] == sorted(ids, reverse=True)
    assert {row["status"]["state"] for row in rows} == {"FINISHED"}
    assert "children" not in rows[0]["status"]
    assert call("get_tasks_status", task_id_list=[*ids, 1])["code"] == 3540000


def test_one_broken_task_spoils_its_batch(fake: FakeSops, call: Caller) -> None:
    good, bad = fake.create_task(), fake.create_task()
    fake.task(bad).broken = True
    answer = call("get_tasks_status", task_id_list=[good, bad])
    assert (answer["result"], f"task[id={bad}]" in answer["message"]) == (False, True)
    assert call("get_tasks_status", task_id_list=[good])["result"] is True
    assert call("get_task_status", bad)["result"] is False


def test_deleted_and_expired(fake: FakeSops, call: Caller) -> None:
    deleted, expired = fake.create_task(), fake.create_task()
    fake.advance(10)
    fake.delete_task(deleted)
    fake.expire_task(expired)
    rows = {row["id"]: row for row in call("get_tasks_status", task_id_list=[deleted, expired])["data"]}
    assert (rows[deleted]["is_deleted"], rows[expired]["is_deleted"]) == (True, False)
    assert rows[expired]["status"] == {"state": "EXPIRED", "name": "Two steps with outputs"}
    assert call("get_task_status", deleted)["code"] == 3599999
    assert call("get_task_detail", deleted)["result"] is True
    detail = call("get_task_detail", expired)["data"]
    assert (detail["outputs"], detail["finish_time"] != "") == ([], True)


def test_another_projects_task(fake: FakeSops, call: Caller) -> None:
    foreign = fake.create_task("Of another project")
    assert fake.task(foreign).project_id == fake.other_project_id
    assert call("get_task_detail", foreign)["code"] == 3540400
    assert call("get_task_status", foreign)["code"] == 3599999
    assert call("get_tasks_status", task_id_list=[foreign])["data"] == []
    assert call("get_task_status", foreign, bk_biz_id=fake.other_bk_biz_id)["result"] is True
    assert call("get_task_status", foreign, bk_biz_id=9, scope="project")["result"] is True


def test_a_posted_tree_runs(fake: FakeSops, call: Caller) -> None:
    tree = call("get_template_info", 108)["data"]["pipeline_tree"]
    task_id = call("fast_create_task", name="fast", pipeline_tree=tree)["data"]["task_id"]
    assert call("get_task_detail", task_id)["data"]["template_id"] == ""
    call("start_task", task_id)
    fake.advance(7)
    assert call.state(task_id) == "FINISHED"  # what fails by its template does not fail in a bare tree


@pytest.mark.parametrize(
    ("to_a", "to_b", "default", "taken"),
    [
        ("1 == 1", "1 == 1", "", "a"),
        ("'x' == \"y\"", "'x' != \"y\"", "", "b"),
        ("1 == 2", "1 == 3", TO_B, "b"),
        ("1 == 2", "1 == 3", "", None),
        ("len(x) > 1", "1 == 2", "", "a"),  # not evaluated
    ],
)
def test_the_way_out_of_a_gateway(
    fake: FakeSops, call: Caller, to_a: str, to_b: str, default: str, taken: str | None
) -> None:
    tree = gateway_tree(to_a, to_b, default=default)
    task_id = call("fast_create_task", name="fast", pipeline_tree=tree)["data"]["task_id"]
    call("start_task", task_id)
    fake.advance(1)
    assert call.state(task_id) == ("FAILED" if taken is None else "FINISHED")
    assert {node.name for node in fake.task(task_id).nodes.values()} == {"", "which", taken} - {None}


def test_skipping_a_gateway(fake: FakeSops, call: Caller) -> None:
    tree = gateway_tree("1 == 2", "1 == 3")
    task_id = call("fast_create_task", name="fast", pipeline_tree=tree)["data"]["task_id"]
    call("start_task", task_id)
    fake.advance(1)
    task = fake.task(task_id)

    def skip(flow_id: str) -> tuple[bool, str]:
        body = {"node_id": task.find_id("which"), "action": "skip_exg", "flow_id": flow_id}
        answer = call("operate_node", task_id, **body)
        return answer["result"], answer["message"].strip().splitlines()[-1]

    (gateway,) = call("get_task_detail", task_id)["data"]["pipeline_tree"]["gateways"].values()
    assert list(gateway["conditions"]) == gateway["outgoing"]
    assert skip("nope") == (False, "KeyError: 'nope'")
    assert skip(gateway["outgoing"][1]) == (True, "success")
    assert call.state(task_id) == "FINISHED"
    assert task.node("b").state == "FINISHED"
    assert "is not FAILED, actual FINISHED" in skip(gateway["outgoing"][1])[1]


def test_a_common_template(fake: FakeSops, call: Caller) -> None:
    rows = call("get_template_list", template_source="common")["data"]
    assert [row["name"] for row in rows] == ["Common template"]
    assert call("create_task", 21, name="x")["result"] is False
    created = call("create_task", 21, name="x", template_source="common")
    assert fake.task(created["data"]["task_id"]).template_source == "common"


def test_log_of_a_failed_node(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task("Always fails")
    fake.advance(1)
    node = fake.task(task_id).node("call")
    answer = call("get_task_node_log", task_id, node_id=node.id, version=node.version)
    assert "[ERROR] 请求异常，详细信息: Connection refused" in answer["data"]


def callback(fake: FakeSops, call: Caller, task_id: int, name: str) -> tuple[bool, str]:
    answer = call("operate_node", task_id, node_id=fake.task(task_id).find_id(name), action="callback", data={})
    return answer["result"], answer["message"].strip().splitlines()[-1]


def test_a_callback_that_changes_nothing(fake: FakeSops, call: Caller) -> None:
    running, failed, revoked = (fake.create_task(name) for name in ("Long sleep", "Always fails", "Pause for a person"))
    fake.advance(10)
    fake.operate(revoked, "revoke")
    assert callback(fake, call, running, "sleep_long") == (True, "success")
    assert callback(fake, call, running, "sleep_long") == (True, "success")
    assert fake.task(running).node("sleep_long").state == "RUNNING"
    assert callback(fake, call, failed, "call") == (True, "success")
    result, message = callback(fake, call, failed, "call")
    assert not result
    assert message.endswith("InvalidOperationError: schedule is already expired")
    assert fake.task(failed).state == "FAILED"
    assert callback(fake, call, revoked, "confirm") == (True, "success")
    assert fake.task(revoked).node("confirm").state == "RUNNING"
    fake.operate_node(failed, "call", "retry")
    fake.advance(1)
    assert callback(fake, call, failed, "call") == (True, "success")


def test_a_start_without_nodes_dies(fake: FakeSops, call: Caller) -> None:
    answer = call("create_task", 101, name="x", execute_task_nodes_id=["typo"])
    assert answer["result"]
    assert answer["data"]["pipeline_tree"]["activities"] == {}
    task_id = answer["data"]["task_id"]
    assert call("start_task", task_id)["result"]
    fake.advance(60)
    assert fake.task(task_id).state == "CREATED"


def test_an_answer_is_dated_by_the_fakes_clock(fake: FakeSops) -> None:
    fake.clock.stop()
    fake.advance(7200)
    dates = Http(fake.url).send("GET", fake.url).headers.get_all("Date") or []
    assert [parsedate_to_datetime(date).timestamp() for date in dates] == [int(fake.clock.now())]


def test_what_only_apps_on_sops_own_list_may_call(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task()
    fake.close_api("get_task_status")
    recorded = sample("20f-misc-apis", "13-dispatch_plugin_query-not-whitelisted")["response"]["json"]
    answer = call("get_task_status", task_id)
    assert {**answer, "trace_id": ""} == {**recorded, "trace_id": ""}
    fake.open_api("get_task_status")
    assert call("get_task_status", task_id)["result"]


def test_a_node_that_was_not_reached(fake: FakeSops, call: Caller) -> None:
    task_id = fake.create_task(start=False)
    node_id = fake.task(task_id).find_id("sleep2")
    data = call("get_task_node_detail", task_id, node_id=node_id)["data"]
    assert (data["state"], data["name"], data["inputs"]["bk_timing"]) == ("READY", "sleep2", "2")
    for action in ("retry", "skip", "callback", "forced_fail"):
        assert call("operate_node", task_id, node_id=node_id, action=action)["result"] is False


def test_every_default_template_is_usable(fake: FakeSops) -> None:
    """Each ends, fails or waits for a person within a quarter of an hour, as its description says."""
    ids = [fake.create_task(template) for template in fake.site.templates]
    fake.advance(900)
    states = {task.name: task.state for task in fake.tasks if task.id in ids}
    assert "CREATED" not in states.values()
    assert {name for name, state in states.items() if state == "RUNNING"} == {"Pause for a person", "Outputs of nodes"}
    assert "Two steps with outputs" in {name for name, state in states.items() if state == "FINISHED"}
    assert "Always fails" in {name for name, state in states.items() if state == "FAILED"}
