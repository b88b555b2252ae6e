# SPDX-License-Identifier: Apache-2.0
"""A sensor that takes the outputs too, in every mode: poked, rescheduled, deferred and resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_sops import exceptions
from airflow_provider_sops.compat import NONE_IS_PUSHED
from airflow_provider_sops.operators.sops import SopsGetTaskOutputsOperator
from airflow_provider_sops.sensors.sops import SopsTaskSensor
from tests.sensors.test_sops import Run, start  # noqa: F401 (a fixture)
from tests.tasks import TaskInstance
from tests.triggers.test_verdict_cases import busy, defer  # noqa: F401 (a fixture)
from tests.verdict_cases import DETAIL_ONLY, HOUR, Act, Case, change_secret, fault, heal, later, operate, restore_secret

THREE = {"IP": "127.0.0.1", "EXIT": "0", "job_script_type": "1"}
LONG = "Long sleep"
#: seconds after which the task of that template ends, less what no test needs to know
JUST_BEFORE_THE_END = 590.0

Wait = Callable[..., Run]


@pytest.fixture(params=["poke", "reschedule", "defer"])
def wait(
    request: pytest.FixtureRequest,
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
) -> Wait:
    """Wait for the end of a case in one of the modes, with the outputs."""

    def wait(case: Case, **arguments: Any) -> Run:
        run = start(case)
        arguments = {"push_outputs": True, **arguments}
        if request.param == "defer":
            defer(run, **arguments)
        else:
            getattr(run, request.param)(**arguments)
        return run

    return wait


def put_out(outputs: dict[str, Any]) -> Act:
    """Let the task have these outputs in the end."""

    def act(fake: Any, task_id: int) -> None:
        items = [{"key": f"${{{name}}}", "value": value, "name": name} for name, value in outputs.items()]
        fake.on_request = lambda when, request: setattr(fake.task(task_id), "outputs", items)

    return act


def pushed(run: Run) -> dict[str, Any]:
    assert run.ti.xcoms.get("sops_task_url", "").startswith(f"{run.world.fake.url}/taskflow/execute/")
    return {key: value for key, value in run.ti.xcoms.items() if key != "sops_task_url"}


def twins(outputs: dict[str, Any]) -> dict[str, Any]:
    return outputs | {f"${{{name}}}": value for name, value in outputs.items()}


@pytest.mark.parametrize(
    "case",
    [
        Case("has ended before it looks", "success", before=later(30)),
        Case("ends", "success"),
        Case("ends much later", "success", LONG, within=HOUR),
    ],
    ids=str,
)
def test_it_does_what_the_operator_does(wait: Wait, case: Case) -> None:
    run = wait(case)
    assert run.error is None
    assert run.result["state"] == "FINISHED"
    assert run.result["outputs"] == THREE
    assert pushed(run) == twins(THREE)
    ti = TaskInstance()
    operator = SopsGetTaskOutputsOperator(task_id="outputs", sops_task_id=run.world.task_id)
    assert operator.execute(ti.context) == THREE
    assert ti.xcoms == run.ti.xcoms
    assert sum("with outputs: " in line for line in run.lines) == 1


def test_without_it_the_result_has_none(wait: Wait) -> None:
    run = wait(Case("ends", "success"), push_outputs=False)
    assert run.error is None
    assert "outputs" not in run.result
    assert pushed(run) == {}


@pytest.mark.parametrize("keys", ["IP", ["IP"], ("${IP}",), {"$<IP>"}])
def test_selected_keys(wait: Wait, keys: Any) -> None:
    run = wait(Case("ends", "success", LONG, within=HOUR), keys=keys)
    assert run.result["outputs"] == {"IP": "127.0.0.1"}
    assert pushed(run) == twins({"IP": "127.0.0.1"})


def test_names_that_are_its_own_and_none(wait: Wait) -> None:
    run = wait(Case("ends", "success", LONG, before=put_out({"sops_task_url": 1, "n": None}), within=HOUR))
    assert run.result["outputs"] == {"sops_task_url": 1, "n": None}
    assert pushed(run) == {"${sops_task_url}": 1} | (twins({"n": None}) if NONE_IS_PUSHED else {})


def test_what_pushes_no_xcoms_pushes_none(wait: Wait) -> None:
    run = wait(Case("ends", "success", before=put_out({"bad": float("nan")})), do_xcom_push=False)
    assert repr(run.result["outputs"]) == "{'bad': nan}"
    assert run.ti.xcoms == {}


@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_absent_key_is_an_error_and_no_skip(wait: Wait, soft_fail: bool) -> None:
    run = wait(Case("ends", "success", LONG, within=HOUR), keys=["IP", "HOST"], soft_fail=soft_fail)
    assert type(run.error) is exceptions.SopsOutputsException
    assert "has no output ${HOST}; there are: ${EXIT}, ${IP}, ${job_script_type}" in str(run.error)
    assert pushed(run) == {}


@pytest.mark.parametrize("value", [float("nan"), "\0", {"__classname__": "builtins.set"}])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_output_that_cannot_be_pushed_is_an_error_and_no_skip(wait: Wait, soft_fail: bool, value: Any) -> None:
    case = Case("ends", "success", LONG, before=put_out({"IP": "1", "bad": value}), within=HOUR)
    run = wait(case, soft_fail=soft_fail)
    assert type(run.error) is exceptions.SopsOutputsException
    assert str(run.error).endswith("nothing was pushed. Name the outputs you need in keys.")
    assert pushed(run) == {}


@pytest.mark.parametrize("keys", [None, ["IP"]])
def test_an_allowed_end_that_is_no_finish_has_none(wait: Wait, keys: Any) -> None:
    case = Case("is revoked", "success", LONG, events=((30, operate("revoke")),), within=HOUR)
    run = wait(case, keys=keys, allowed_states=["FINISHED", "REVOKED"])
    assert (run.error, run.result["state"], run.result["outputs"]) == (None, "REVOKED", {})
    assert pushed(run) == {}


def test_a_bad_end_takes_no_outputs(wait: Wait) -> None:
    run = wait(Case("fails", "failure", "Always fails"), soft_fail=True)
    assert type(run.error) is AirflowSkipException
    assert pushed(run) == {}


def test_where_the_detail_alone_may_be_read(wait: Wait) -> None:
    run = wait(Case("ends", "success", fake=DETAIL_ONLY))
    assert (run.result["state"], run.result["outputs"]) == ("FINISHED", THREE)
    run = wait(Case("ends", "success", "No outputs", fake=DETAIL_ONLY), assume_finished=True)
    assert (run.result["state"], run.result["outputs"]) == ("ENDED", {})
    every = ["FINISHED", "REVOKED", "EXPIRED"]
    run = wait(Case("ends", "success", "No outputs", fake=DETAIL_ONLY), allowed_states=every)
    assert (run.result["state"], run.result["outputs"]) == ("ENDED", {})


OUTAGES = {
    "dropped": (fault("drop", "get_task_detail", times=None), heal),
    "bad answers": (fault("html", "get_task_detail", times=None), heal),
    "no gateway": (fault("status", "get_task_detail", status=502, times=None), heal),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_at_the_end_is_waited_out(wait: Wait, outage: str) -> None:
    """It has waited for hours: what is tolerated of the status is tolerated of the outputs."""
    begin, end = OUTAGES[outage]
    events = ((JUST_BEFORE_THE_END, begin), (JUST_BEFORE_THE_END + 300, end))
    run = wait(Case("ends", "success", LONG, events=events, within=HOUR))
    assert run.error is None
    assert run.result["outputs"] == THREE
    assert pushed(run) == twins(THREE)
    assert JUST_BEFORE_THE_END + 300 <= run.world.elapsed < JUST_BEFORE_THE_END + 400
    told = f"Cannot read the outputs of SOPS task {run.world.task_id}; going on for up to 600 s (max_outage). "
    assert sum(told in line for line in run.lines) == 1


@pytest.mark.parametrize("soft_fail", [False, True])
def test_an_outage_at_the_end_that_lasts_is_told_as_one(wait: Wait, soft_fail: bool) -> None:
    begin, _ = OUTAGES["no gateway"]
    run = wait(Case("ends", "error", LONG, events=((JUST_BEFORE_THE_END, begin),), within=HOUR), soft_fail=soft_fail)
    assert type(run.error) is exceptions.SopsOutageException
    assert f"The outputs of SOPS task {run.world.task_id} could not be read for 6" in str(run.error)
    assert "(max_outage is 600 s)" in str(run.error)
    assert type(run.error.__cause__) is exceptions.SopsGatewayUnavailableException
    assert 1200 <= run.world.elapsed < 1400
    assert pushed(run) == {}


def test_credentials_that_change_just_at_the_end(wait: Wait) -> None:
    events = ((JUST_BEFORE_THE_END, fault("drop", "get_task_detail", times=None)), (650, change_secret), (700, heal))
    run = wait(Case("ends", "success", LONG, events=(*events, (800, restore_secret)), within=HOUR))
    assert run.error is None
    assert run.result["outputs"] == THREE
    assert run.world.elapsed >= 800


def test_what_waiting_does_not_mend_ends_it_at_once(wait: Wait) -> None:
    deny = (JUST_BEFORE_THE_END, lambda fake, task_id: fake.deny("get_task_detail"))
    run = wait(Case("ends", "error", LONG, events=(deny,), within=HOUR))
    assert type(run.error) is exceptions.SopsApiPermissionException
    assert run.world.elapsed < 700


def test_a_timeout_comes_while_the_outputs_cannot_be_read(start: Callable[..., Run]) -> None:  # noqa: F811
    begin, _ = OUTAGES["no gateway"]
    run = start(Case("ends", "error", LONG, events=((JUST_BEFORE_THE_END, begin),), within=HOUR))
    run.poke(push_outputs=True, timeout=700)
    assert type(run.error).__name__ == "AirflowSensorTimeout"
    assert 700 <= run.world.elapsed < 800


def test_it_asks_for_the_outputs_alone_once_the_end_is_seen(start: Callable[..., Run]) -> None:  # noqa: F811
    run = start(Case("ends", "success"))
    run.poke()
    without = run.world.fake.count()
    run = start(Case("ends", "success"))
    run.poke(push_outputs=True)
    assert run.world.fake.count() == without + 2  # status and detail, fresh


def test_keys_need_push_outputs() -> None:
    with pytest.raises(ValueError, match=r"^keys: no outputs are read without push_outputs=True$"):
        SopsTaskSensor(task_id="t", sops_task_id=1, keys=["IP"])
    assert "keys" in SopsTaskSensor.template_fields
