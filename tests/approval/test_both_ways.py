# SPDX-License-Identifier: Apache-2.0
"""What happens in SOPS while Airflow asks: confirmed there, ended, revoked, failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_sops.exceptions import (
    SopsNotFoundException,
    SopsTaskFailedException,
    SopsTaskStoppedException,
)
from airflow_provider_sops.testing import FakeSops
from tests.approval.airflow_task import Approval
from tests.approval.required_actions import RequiredActions
from tests.operators.conftest import World

Make = Callable[..., Approval]
#: After the pause node comes one that takes long.
LONG_AFTER = """
[[template]]
id = 1
name = "long after"

  [[template.node]]
  key = "confirm"
  plugin = "pause_node"
  inputs = { description = "" }

  [[template.node]]
  key = "sleep"
  plugin = "sleep_timer"
  inputs = { bk_timing = "3600", force_check = true }
"""
#: A node that fails, or goes on failing, beside the pause node.
FAILS_BESIDE = """
[[template]]
id = 1
name = "fails beside"
flow = [["confirm", "broken"]]

  [[template.node]]
  key = "confirm"
  plugin = "pause_node"
  inputs = { description = "" }

  [[template.node]]
  key = "broken"
  plugin = "bk_http_request"
  inputs = { bk_http_request_method = "GET", bk_http_request_url = "http://a", bk_http_request_body = "" }
  fail = "always"
  seconds = 60
  message = "no such host"
"""


def create(world: World, tmp_path: Path, template: str) -> int:
    """Make a task of a template that is written here."""
    file = tmp_path / "templates.toml"
    file.write_text(template)
    world.fake.site.templates[1] = FakeSops(templates=file).site.templates[1]
    return world.fake.create_task(1)


@pytest.mark.parametrize("told", [True, False])
def test_confirmed_in_sops(world: World, approval: Make, actions: RequiredActions, told: bool) -> None:
    task = approval()
    task_id = task.arguments["sops_task_id"]
    if not told:
        world.fake.deny("get_task_operate_record")
    world.later(60, lambda: world.fake.operate_node(task_id, "confirm", "callback", user="wang"))
    result = task.run().outcome
    assert (result["answer"], result["answered_in"]) == ("Approve", "sops")
    assert result["answered_by"] == ("wang" if told else "")
    assert ("was confirmed in SOPS by wang." in task.log) is told
    assert actions.closed
    assert actions.detail.response is not None
    assert actions.detail.response["chosen_options"] == ["Approve"]
    assert task.sent() == 0


def test_confirmed_in_sops_and_the_task_goes_on(
    world: World, approval: Make, actions: RequiredActions, tmp_path: Path, resumes: bool
) -> None:
    task_id = create(world, tmp_path, LONG_AFTER)
    task = approval(sops_task_id=task_id)
    began = world.now
    world.later(60, lambda: world.fake.operate_node(task_id, "confirm", "callback", user="wang"))
    assert task.run().outcome["answered_by"] == "wang"
    assert world.now - began < 120
    assert world.fake.task(task_id).state == "RUNNING"
    assert actions.closed
    assert actions.detail.response is not None
    assert actions.detail.response["params_input"] == {"_closed": "confirmed in SOPS"}


def test_a_question_that_cannot_be_closed_ends_the_task_all_the_same(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval()
    task_id = task.arguments["sops_task_id"]
    world.later(55, lambda: setattr(actions, "away", True))
    world.later(60, lambda: world.fake.operate_node(task_id, "confirm", "callback", user="wang"))
    assert task.run().outcome["answered_by"] == "wang"
    assert "The question in Airflow could not be closed: AirflowRuntimeError" in task.log
    assert actions.detail.response is None


def test_confirmed_in_sops_before_it_was_asked(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    world.fake.operate_node(task.arguments["sops_task_id"], "confirm", "callback", user="wang")
    assert task.run().outcome["answered_by"] == "wang"
    assert actions.asked == 0


def test_sops_was_quicker_than_an_approval(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    task_id = task.arguments["sops_task_id"]

    def both() -> None:
        world.fake.operate_node(task_id, "confirm", "callback", user="wang")
        actions.answer("Approve")

    world.later(60, both)
    result = task.run().outcome
    assert (result["answered_in"], result["answered_by"]) == ("sops", "wang")
    assert "SOPS was quicker" in task.log
    assert task.sent() == 0


def test_sops_is_quicker_between_the_reading_and_the_call(
    world: World, approval: Make, actions: RequiredActions
) -> None:
    task = approval()
    task_id = task.arguments["sops_task_id"]

    def confirm(when: str, request: object) -> None:
        if when == "before" and getattr(request, "api", "") == "operate_node":
            world.fake.on_request = None
            world.fake.operate_node(task_id, "confirm", "callback", user="wang")

    world.fake.on_request = confirm
    world.later(60, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_in"] == "sops"


@pytest.mark.parametrize("asked", [True, False])
def test_revoked_meanwhile(world: World, approval: Make, actions: RequiredActions, asked: bool) -> None:
    task = approval(seconds=10 if asked else 0)
    task_id = task.arguments["sops_task_id"]
    world.later(60 if asked else 0.5, lambda: world.fake.operate(task_id, "revoke"))
    with pytest.raises(SopsTaskStoppedException, match="has ended as REVOKED"):
        task.run().outcome  # noqa: B018
    assert actions.closed if asked else not actions.asked


def test_revoked_meanwhile_and_that_is_allowed(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval(allowed_states=["FINISHED", "REVOKED"])
    task_id = task.arguments["sops_task_id"]
    world.later(60, lambda: world.fake.operate(task_id, "revoke"))
    assert task.run().outcome["answered_in"] == "sops"
    assert "is REVOKED" in task.log
    assert actions.closed


def test_deleted_meanwhile(world: World, approval: Make, actions: RequiredActions) -> None:
    task = approval()
    world.later(60, lambda: world.fake.delete_task(task.arguments["sops_task_id"]))
    with pytest.raises(SopsTaskFailedException, match="was deleted"):
        task.run().outcome  # noqa: B018
    assert actions.closed


def test_no_such_task(approval: Make) -> None:
    with pytest.raises(SopsNotFoundException):
        approval(sops_task_id=999_999).run().outcome  # noqa: B018


@pytest.fixture
def beside(world: World, tmp_path: Path) -> int:
    """A task of which a node fails after a minute, beside the pause node."""
    return create(world, tmp_path, FAILS_BESIDE)


def test_failed_meanwhile(world: World, approval: Make, actions: RequiredActions, beside: int) -> None:
    task = approval(sops_task_id=beside)
    with pytest.raises(SopsTaskFailedException, match=r"(?s)has FAILED.*no such host"):
        task.run().outcome  # noqa: B018
    assert actions.closed


def test_failed_meanwhile_and_waited_for(world: World, approval: Make, actions: RequiredActions, beside: int) -> None:
    task = approval(sops_task_id=beside, on_failed="wait")
    world.later(200, lambda: actions.answer("Approve"))
    assert task.run().outcome["answered_by"] == "alice"
    assert world.fake.task(beside).state == "FAILED"
    assert task.sent() == 1
