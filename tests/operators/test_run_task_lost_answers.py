# SPDX-License-Identifier: Apache-2.0
"""Each answer of a run lost on its way, and each effect late: the SOPS task is started once all the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from airflow_provider_sops.exceptions import SopsTaskFailedException
from airflow_provider_sops.testing import Request
from tests.operators.airflow_task import AirflowTask, Triggerer
from tests.operators.conftest import World
from tests.operators.foreign_answers import FOREIGN, answer_instead

ARGUMENTS = {"template_name": "Two steps with outputs", "constants": {"IP": "10.0.0.1"}, "start_timeout": 30}
FAULTS: dict[str, dict[str, Any]] = {
    **{kind: {"kind": kind} for kind in ("drop_after", "delayed_effect", "drop", "truncate")},
    # what answers is not SOPS, or not itself: before anything was done, and after
    **FOREIGN,
}
#: How a retry finds out what there is.
SEARCHES = ("get_task_list", "query_task_count")
OUTPUTS = {"IP": "10.0.0.1", "EXIT": "0", "job_script_type": "1"}


def lose_each_answer(
    world: World, triggerer: Triggerer, mode: str, kind: str, *, not_knowing: Collection[str] = (), lacking: str = ""
) -> None:
    """Let a run lose each of its answers, one in each run.

    :param mode: where it waits.
    :param kind: how they are lost.
    :param not_knowing: APIs whose lost answer a retry may not find out, so that it starts nothing.
    :param lacking: an API that SOPS does not have, so that the last of several tries may be the one that is lost.
    """
    world.fake.start_delay = 0

    def task(number: int) -> AirflowTask:
        of_mode = triggerer if mode == "deferred" else None
        return AirflowTask(ARGUMENTS, run_id=f"run {number}", retries=5, triggerer=of_mode)

    assert task(0).run().outcome == OUTPUTS
    requests = world.fake.count()
    assert requests >= 10
    for number in range(1, requests + 1):
        seen, hit = 0, ""

        def lose(when: str, request: Request, number: int = number) -> None:
            nonlocal seen, hit
            seen += when == "before"
            if seen == number and when == "before":
                hit = request.api
                world.fake.faults.add(request.api, **FAULTS[kind])
            if when == "after" and request.api in SEARCHES and seen > number:
                world.fake.release()  # what was late comes true after the retry has searched

        world.fake.on_request = lose
        before = {one.id for one in world.fake.tasks}
        airflow_task = task(number)
        tries = [airflow_task.run()]
        while tries[-1].error is not None and len(tries) < 4:
            tries.append(airflow_task.run())
        where = (number, hit, [str(one.error) for one in tries])
        assert hit, where
        world.fake.release()
        world.fake.advance(60)
        made = [one for one in world.fake.tasks if one.id not in before]
        starts = [len(one.starts) for one in made if one.starts]
        if tries[-1].error is not None and hit in not_knowing:
            assert starts == [], where
            continue
        assert tries[-1].error is None, where
        assert tries[-1].result == OUTPUTS, where
        assert len(tries) == 1 or not hit.startswith("get_") or hit == lacking, where  # a read is repeated
        assert starts == [1], where


@pytest.mark.parametrize("mode", ["in the worker", "deferred"])
@pytest.mark.parametrize("kind", FAULTS)
def test_whichever_answer_is_lost(world: World, triggerer: Triggerer, mode: str, kind: str) -> None:
    lose_each_answer(world, triggerer, mode, kind)


@pytest.mark.parametrize("fault", FOREIGN.values(), ids=FOREIGN)
class TestSomethingElseAnswers:
    """What was asked has taken effect: the same try goes on with it."""

    def test_a_create(self, world: World, fault: dict[str, Any]) -> None:
        def create(request: Request) -> None:
            world.fake.create_task(101, name=request.params["name"], start=False)

        answer_instead(world.fake, "create_task", fault, create)
        assert AirflowTask({"template_id": 101}).run().outcome["EXIT"] == "0"
        assert len(world.fake.tasks) == len(world.started()) == world.fake.count("create_task") == 1

    def test_a_start(self, world: World, fault: dict[str, Any]) -> None:
        answer_instead(world.fake, "start_task", fault, lambda request: world.fake.start_task(request.task_ids[0]))
        one = AirflowTask({"template_id": 101}).run()
        assert one.outcome["EXIT"] == "0"
        assert len(world.fake.tasks) == len(world.started()) == 1
        assert f"Whether SOPS task {world.started()[0]} was started is not known." in one.log

    def test_the_revoke_before_a_rerun(self, world: World, fault: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 106})
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        answer_instead(world.fake, "operate_task", fault, lambda request: world.fake.operate(first, "revoke"))
        assert isinstance(task.run().error, SopsTaskFailedException)
        assert sorted(world.states().values()) == ["FAILED", "REVOKED"]

    def test_the_retry_of_a_failed_node(self, world: World, fault: dict[str, Any]) -> None:
        task = AirflowTask({"template_id": 120, "on_retry": "retry_failed_nodes"})
        assert isinstance(task.run().error, SopsTaskFailedException)
        (first,) = world.started()
        (failed,) = [node.name for node in world.fake.task(first).nodes.values() if node.state == "FAILED"]
        answer_instead(
            world.fake, "operate_node", fault, lambda request: world.fake.operate_node(first, failed, "retry")
        )
        assert task.run().error is None
        assert world.fake.count("operate_node") == 1
        assert world.started() == [first]
