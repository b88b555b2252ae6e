# SPDX-License-Identifier: Apache-2.0
"""Waits that their trigger ends: the same results, XComs and texts as by a worker, and a worker where one is needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider_sops import compat, exceptions
from airflow_provider_sops.links.sops import SopsTaskLink
from airflow_provider_sops.triggers import deferral_hold, task_end, wait_loop
from airflow_provider_sops.triggers.sops import SopsTaskTrigger
from tests.sensors.test_outputs import JUST_BEFORE_THE_END, LONG, THREE, put_out, twins
from tests.sensors.test_sops import BAD, Run, check, start  # noqa: F401 (a fixture)
from tests.triggers.ended import Supervisor, needs_end_from_trigger
from tests.triggers.test_verdict_cases import busy, defer, in_triggerer  # noqa: F401 (fixtures)
from tests.verdict_cases import CASES, HOUR, Case, fault, heal, operate

pytestmark = needs_end_from_trigger

LINK = compat.link_key(SopsTaskLink())
LEFT = "A worker will end this task, not its trigger"


class Ended:
    """A wait that was ended by its trigger, or else by a worker."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.supervisor = Supervisor(run.ti)
        #: what the triggerer has sent; ``success`` when it has ended the task
        self.event: Any = None

    @property
    def by_trigger(self) -> bool:
        return bool(self.event == "success")


@pytest.fixture
def wait(
    busy: list[int],  # noqa: F811
    start: Callable[..., Run],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ended]:
    """Wait deferred, and let the trigger end it, as a triggerer of Airflow does; what it leaves goes to a worker."""

    def wait(
        case: Case, prepare: Callable[[Ended], object] = lambda ended: None, *, again: int = 0, **arguments: Any
    ) -> Ended:
        from airflow.sdk.execution_time import task_runner

        ended = Ended(start(case))
        run, supervisor = ended.run, ended.supervisor
        run.pokes = 2
        arguments = {"deferrable": True, "end_from_trigger": True, **arguments}
        prepare(ended)
        try:
            run.result = run.sensor(**arguments).execute(run.ti.context)
            return ended
        except TaskDeferred as deferral:
            run.lines += run.lines_of_sensor
            went = deferral
        except Exception as error:
            run.error = error
            run.lines += run.lines_of_sensor
            return ended
        try:
            with monkeypatch.context() as patch:
                patch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
                for _ in range(again):  # the triggerer is killed so many times
                    with pytest.raises(Killed):
                        in_triggerer(run, went.trigger.serialize(), busy, 7, run.ti)
                    busy[0] = 0
                ended.event = in_triggerer(run, went.trigger.serialize(), busy, 7, run.ti)
            if ended.by_trigger:
                run.ti.xcoms.update(supervisor.pushed)
                run.result = run.ti.xcoms.pop("return_value", None)
                return ended
            sensor = run.sensor(**arguments)
            run.result = sensor.resume_execution(went.method_name, {"event": ended.event}, run.ti.context)
        except Exception as error:
            run.error = error
        run.lines += run.lines_of_sensor
        return ended

    return wait


class Killed(BaseException):
    """The triggerer is gone."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_table_of_situations(case: Case, wait: Callable[..., Ended]) -> None:
    ended = wait(case)
    check(ended.run)
    # good ends that the first leg has not seen already
    assert ended.by_trigger == (case.expected == "success" and ended.event is not None)


@pytest.mark.parametrize("case", BAD, ids=str)
def test_soft_fail(case: Case, wait: Callable[..., Ended]) -> None:
    ended = wait(case, soft_fail=True)
    expected = AirflowSkipException if case.expected == "failure" else getattr(exceptions, case.exception)
    assert type(ended.run.error) is expected, ended.run.error


def test_a_timeout_is_a_worker_s(wait: Callable[..., Ended]) -> None:
    ended = wait(Case("long", "wait", LONG, within=HOUR), timeout=300)
    assert type(ended.run.error) is AirflowSensorTimeout
    assert ended.supervisor.pushes == []


ODD = {"sops_task_url": 1, "n": None, "a?b": 2, "nested": {"a": [1, 2.5, "x"]}, "return_value": "r"}
SAME: list[tuple[Case, dict[str, Any]]] = [
    (Case("ends", "success", LONG, within=HOUR), {}),
    (Case("ends", "success", LONG, within=HOUR), {"push_outputs": True}),
    (Case("ends", "success", LONG, within=HOUR), {"push_outputs": True, "keys": ["${IP}", "EXIT"]}),
    (Case("odd", "success", LONG, before=put_out(ODD), within=HOUR), {"push_outputs": True}),
    (Case("none", "success", LONG, before=put_out({}), within=HOUR), {"push_outputs": True}),
    (
        Case("is revoked", "success", LONG, events=((30, operate("revoke")),), within=HOUR),
        {"push_outputs": True, "allowed_states": ["FINISHED", "REVOKED"]},
    ),
    (Case("ends", "success", LONG, within=HOUR), {"push_outputs": True, "do_xcom_push": False}),
]


@pytest.mark.parametrize(("case", "arguments"), SAME, ids=[str(number) for number in range(len(SAME))])
def test_it_pushes_what_a_worker_pushes(
    case: Case,
    arguments: dict[str, Any],
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
    wait: Callable[..., Ended],
) -> None:
    ended = wait(case, **arguments)
    assert ended.by_trigger
    worker = start(case)
    defer(worker, **arguments)
    assert worker.error is None
    assert _without_site(ended.run) == _without_site(worker)
    if arguments.get("do_xcom_push", True):
        assert ended.supervisor.pushes[0][0] == "return_value"
        assert ended.supervisor.pushed[LINK] == ended.run.ti.xcoms["sops_task_url"]
        told = [line for line in worker.lines if "pushed as" in line or "returned dict only" in line]
        assert [line for line in ended.run.lines if line in told] == told
    else:
        assert ended.supervisor.pushes == []
    assert any("is FINISHED" in line or "is REVOKED" in line for line in ended.run.lines)


def _without_site(run: Run) -> Any:
    """What a run has pushed and returned, without what differs between two sites or two moments."""
    xcoms = {key: value for key, value in run.ti.xcoms.items() if key not in ("sops_task_url", LINK)}
    dropped = ("task_url", "start_time", "end_time")
    # with do_xcom_push off a worker returns what Airflow drops
    result = run.result and {key: value for key, value in run.result.items() if key not in dropped}
    return xcoms, result if xcoms else None


def test_outputs_in_both_spellings(wait: Callable[..., Ended]) -> None:
    ended = wait(Case("ends", "success", LONG, within=HOUR), push_outputs=True)
    assert twins(THREE).items() <= ended.supervisor.pushed.items()
    assert ended.run.result["outputs"] == THREE
    assert {length for _, _, length in ended.supervisor.pushes} == {None}


def test_the_length_for_what_is_expanded_over_it(wait: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_sops.trigger_end.is_mapped_over", lambda operator, ti: True)
    ended = wait(Case("ends", "success", LONG, within=HOUR), push_outputs=True)
    lengths = {key: length for key, _, length in ended.supervisor.pushes if length is not None}
    assert lengths == {"return_value": len(ended.run.result)}


@pytest.mark.parametrize(
    ("outputs", "why"),
    [({"IP": "x" * 70_000}, "the outputs have 7"), ({"IP": "中" * 30_000}, "the outputs have 9")],
)
def test_large_outputs_are_a_worker_s(wait: Callable[..., Ended], outputs: dict[str, Any], why: str) -> None:
    ended = wait(Case("large", "success", LONG, before=put_out(outputs), within=HOUR), push_outputs=True)
    assert not ended.by_trigger
    assert ended.supervisor.pushes == []
    assert ended.run.result["outputs"] == outputs
    assert sum(f"{LEFT}: {why}" in line for line in ended.run.lines) == 1


@pytest.mark.parametrize("value", [float("nan"), "\0", {"__classname__": "builtins.set"}])
def test_what_cannot_be_stored_is_a_worker_s_error(wait: Callable[..., Ended], value: Any) -> None:
    case = Case("bad", "success", LONG, before=put_out({"IP": "1", "bad": value}), within=HOUR)
    ended = wait(case, push_outputs=True)
    assert ended.supervisor.pushes == []
    assert type(ended.run.error) is exceptions.SopsOutputsException
    assert str(ended.run.error).endswith("nothing was pushed. Name the outputs you need in keys.")


def test_an_absent_key_is_a_worker_s_error(wait: Callable[..., Ended]) -> None:
    ended = wait(Case("ends", "success", LONG, within=HOUR), push_outputs=True, keys=["IP", "HOST"])
    assert ended.supervisor.pushes == []
    assert type(ended.run.error) is exceptions.SopsOutputsException


def test_outputs_that_cannot_be_read_are_waited_for_by_a_worker(wait: Callable[..., Ended]) -> None:
    lost = fault("drop", api="get_task_detail", times=None)
    events = ((JUST_BEFORE_THE_END, lost), (JUST_BEFORE_THE_END + 300, heal))
    ended = wait(Case("out", "success", LONG, events=events, within=HOUR), push_outputs=True)
    assert not ended.by_trigger
    assert ended.run.result["outputs"] == THREE


@pytest.mark.parametrize("lost", range(4))
def test_what_airflow_does_not_take_is_a_worker_s(wait: Callable[..., Ended], lost: int) -> None:
    def prepare(ended: Ended) -> None:
        def refuse(number: int) -> None:
            if number == lost:
                raise RuntimeError("API_SERVER_ERROR")

        ended.supervisor.before_push = refuse

    ended = wait(Case("ends", "success", LONG, within=HOUR), prepare, push_outputs=True)
    assert not ended.by_trigger
    assert len(ended.supervisor.pushes) == lost
    assert ended.run.result["outputs"] == THREE
    assert sum(f"{LEFT}: its XComs could not be pushed, RuntimeError." in line for line in ended.run.lines) == 1


@pytest.mark.parametrize("state", ["success", "running", "scheduled", None])
def test_a_task_that_does_not_wait_any_more_gets_nothing(wait: Callable[..., Ended], state: Any) -> None:
    def prepare(ended: Ended) -> None:
        ended.supervisor.state = state

    ended = wait(Case("ends", "success", LONG, within=HOUR), prepare, push_outputs=True)
    assert not ended.by_trigger
    assert ended.supervisor.pushes == []


@pytest.mark.parametrize("at", range(4))
def test_killed_between_two_pushes_it_pushes_all_again(wait: Callable[..., Ended], at: int) -> None:
    kills = itertools.count()

    def prepare(ended: Ended) -> None:
        def kill(number: int) -> None:
            if number == at and next(kills) == 0:
                raise Killed

        ended.supervisor.before_push = kill

    ended = wait(Case("ends", "success", LONG, within=HOUR), prepare, again=1, push_outputs=True)
    assert ended.by_trigger
    keys = [key for key, _, _ in ended.supervisor.pushes]
    assert keys[at:] == list(ended.supervisor.pushed)
    assert keys[:at] == keys[at:][:at]
    assert keys[0] == "return_value"


def test_passwords_are_masked(wait: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_sops.xcom_outputs.mask_secret", masked.append)
    monkeypatch.setattr("airflow_provider_sops.xcom_outputs.maskable", lambda secrets: ["a secret"])
    assert wait(Case("ends", "success", LONG, within=HOUR), push_outputs=True).by_trigger
    assert masked == ["a secret"]


@pytest.mark.parametrize(
    ("event", "task_url", "held"),
    [
        (None, "https://sops.example.com/7", False),
        (None, "", True),
        ({"version": 1}, "https://sops.example.com/7", True),
    ],
)
def test_an_end_is_held_back_only_where_a_worker_may_push_another_link(
    event: Any, task_url: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds: list[Any] = []

    class Loop:
        """A wait that is over."""

        poller = SimpleNamespace(run=None)

        async def step(self, now: float) -> Any:
            return event or {}

        def close(self) -> None: ...

    async def end(*args: Any, **kwargs: Any) -> bool:
        return event is None

    async def hold(started: float, deferred_at: float | None) -> None:
        holds.append(deferred_at)

    monkeypatch.setattr(wait_loop, "begin_wait", lambda waiter: Loop())
    monkeypatch.setattr(task_end, "end_task", end)
    monkeypatch.setattr(deferral_hold, "hold_event", hold)
    one = SopsTaskTrigger(
        7, 2, "cmdb_biz", "sops_default", 10.0, task_url=task_url, deferred_at=5.0, end_from_trigger=True
    )
    one.trigger_id = 1

    async def fire() -> Any:
        return [fired async for fired in one.run()]

    (fired,) = asyncio.run(fire())
    assert holds == ([5.0] if held else [])
    assert fired.payload == ("success" if event is None else event)


def test_dag_test_ends_it_in_a_worker(
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
) -> None:
    run = start(Case("ends", "success", LONG, within=HOUR))
    defer(run, end_from_trigger=True)
    assert run.error is None
    assert run.result["state"] == "FINISHED"
