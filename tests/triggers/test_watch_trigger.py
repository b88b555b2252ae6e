# SPDX-License-Identifier: Apache-2.0
"""The trigger of a watch from its row: where Airflow keeps its memory, and what happens when it breaks off."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Stats

from airflow_provider_sops.compat import HAS_ASSETS
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.triggers import shared_pollers, watch
from airflow_provider_sops.triggers.sops import SopsTaskEndedTrigger
from tests.tasks import _Lines
from tests.triggers.test_watch import INTERVAL, connected, do_while, quick, two_looks  # noqa: F401 (fixtures)

if not HAS_ASSETS:
    pytest.skip("Airflow 2 has no watchers", allow_module_level=True)

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, context, task_runner

HAS_STORES = hasattr(context, "AssetStateStoreAccessors")
KEY = "sops_watch_test"
needs_stores = pytest.mark.skipif(not HAS_STORES, reason="assets have stores from Airflow 3.3 on")


class Supervisor:
    """Stands for a triggerer's supervisor and Airflow's database: takes the messages that Airflow's own code sends."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        self.stores: dict[tuple[str, str], Any] = {}
        #: as what an error comes back while the database is away; empty: it is there
        self.away = ""

    def send(self, msg: Any) -> Any:
        """Take a message, and answer it."""
        kind = type(msg).__name__
        if kind == "MaskSecret":
            return None
        if self.away == "answer":
            return self._error("API_SERVER_ERROR")
        if self.away:
            raise AirflowRuntimeError(self._error("API_SERVER_ERROR"))
        if kind == "GetVariable":
            value = self.variables.get(msg.key)
            found = None if value is None else comms.VariableResult(key=msg.key, value=value)
            return found or self._error("VARIABLE_NOT_FOUND")
        if kind == "PutVariable":
            self.variables[msg.key] = msg.value
            return None
        if kind == "GetConnection":
            return self._error("CONNECTION_NOT_FOUND")
        if kind == "GetAssetStateStoreByName":
            found = self.stores.get((msg.name, msg.key))
            return self._error("ASSET_STORE_NOT_FOUND") if found is None else comms.AssetStateStoreResult(value=found)
        if kind == "SetAssetStateStoreByName":
            self.stores[msg.name, msg.key] = json.loads(json.dumps(msg.value))
            return None
        raise AssertionError(f"nobody sends {msg!r}")

    async def asend(self, msg: Any) -> Any:
        """The same for code that waits for the answer."""
        return self.send(msg)

    @staticmethod
    def _error(name: str) -> Any:
        return comms.ErrorResponse(error=ErrorType[name], detail={})

    def memory(self) -> Any:
        """What the Variable holds."""
        return json.loads(self.variables.get(KEY, "null"))


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    made = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", made, raising=False)
    return made


@pytest.fixture(autouse=True)
def short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin again sooner."""
    monkeypatch.setattr(watch, "_PAUSE", 0.2)


class Trigger:
    """A trigger in a triggerer, made anew from its row for each run."""

    def __init__(self, *assets: str, **arguments: Any) -> None:
        given: dict[str, Any] = {"name": "test", "bk_biz_id": 2, "scope": "cmdb_biz", **arguments}
        self.row = SopsTaskEndedTrigger(**given).serialize()
        self.assets = assets
        self.lines: list[str] = []
        self.ids: list[int] = []

    def said(self, part: str) -> list[str]:
        return [line for line in self.lines if part in line]

    def run(self, *steps: Callable[[], Any]) -> None:
        """Let it run while the steps are done: one that returns a bool is asked until it is true."""
        asyncio.run(self._run(steps))

    async def _run(self, steps: tuple[Callable[[], Any], ...]) -> None:
        path, arguments = self.row
        assert path == "airflow_provider_sops.triggers.sops.SopsTaskEndedTrigger"
        trigger = SopsTaskEndedTrigger(**json.loads(json.dumps(arguments)))
        trigger.spec = trigger.spec._replace(poll_interval=INTERVAL)
        log = logging.Logger("trigger")  # noqa: LOG001 (in no tree)
        log.addHandler(_Lines(self.lines))
        trigger._log = log  # type: ignore[assignment]
        if self.assets:
            from airflow.sdk import Asset

            trigger.asset_state_store = context.AssetStateStoreAccessors([Asset(name) for name in self.assets])

        async def collect() -> None:
            async for event in trigger.run():
                assert event.payload["watch"] == "test"
                self.ids += [ended["sops_task_id"] for ended in event.payload["ended_tasks"]]

        await do_while(collect(), steps)
        assert not shared_pollers._pollers.get(asyncio.get_running_loop()), "its poller was let go"


def test_the_memory_is_in_a_variable_where_assets_have_no_stores(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
) -> None:
    before = connected.create_task()
    trigger = Trigger()
    trigger.run(two_looks(connected), lambda: supervisor.memory() is not None)
    assert before in {one for ids in supervisor.memory()["watched_since_day"].values() for one in ids}
    assert not supervisor.stores
    connected.advance(10)
    trigger.run(lambda: len(trigger.ids) >= 1, two_looks(connected))
    assert trigger.ids == [before], "it has ended while no triggerer ran"


@pytest.mark.parametrize("error", ["answer", "error frame"])
def test_while_airflow_does_not_answer_a_memory_in_a_variable_is_not_taken_for_none(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
    error: str,
) -> None:
    before = connected.create_task()
    trigger = Trigger()
    trigger.run(two_looks(connected), lambda: supervisor.memory() is not None)
    connected.advance(10)
    supervisor.away = error
    trigger.run(
        lambda: bool(trigger.said("loses no end meanwhile: AirflowRuntimeError: API_SERVER_ERROR")),
        lambda: setattr(supervisor, "away", ""),
        lambda: len(trigger.ids) >= 1,
        two_looks(connected),
    )
    assert trigger.ids == [before]


def test_a_variable_that_somebody_has_overwritten_begins_anew(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
) -> None:
    supervisor.variables[KEY] = "not JSON"
    trigger = Trigger()
    trigger.run(two_looks(connected), lambda: supervisor.variables[KEY] != "not JSON")
    assert trigger.said("what it remembered cannot be read, so it begins anew")
    assert isinstance(supervisor.memory(), dict)


@needs_stores
def test_the_memory_is_with_each_asset_that_the_trigger_watches_for(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
) -> None:
    before = connected.create_task()
    trigger = Trigger("one", "two")
    trigger.run(two_looks(connected), lambda: len(supervisor.stores) == 2)
    assert supervisor.stores.keys() == {("one", KEY), ("two", KEY)}
    assert all(str(before) in json.dumps(memory) for memory in supervisor.stores.values())
    assert not supervisor.variables
    connected.advance(10)
    trigger.assets = ("a new one", "two")
    trigger.run(lambda: len(trigger.ids) >= 1, lambda: ("a new one", KEY) in supervisor.stores)
    assert trigger.ids == [before]


@needs_stores
def test_after_an_upgrade_it_goes_on_with_the_variable_of_before(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
) -> None:
    before = connected.create_task()
    trigger = Trigger()
    trigger.run(two_looks(connected), lambda: supervisor.memory() is not None)
    connected.advance(10)
    trigger.assets = ("one",)
    trigger.run(lambda: len(trigger.ids) >= 1, lambda: ("one", KEY) in supervisor.stores)
    assert trigger.ids == [before]


def test_without_a_connection_it_is_begun_again_until_there_is_one(
    sops: FakeSops, connect: Callable[..., None], supervisor: Supervisor
) -> None:
    trigger = Trigger(bk_biz_id=None, scope=None)
    task_id = sops.create_task()
    trigger.run(
        lambda: bool(trigger.said("sops_default")),
        lambda: connect(sops, bk_biz_id=2),
        two_looks(sops),
        lambda: sops.advance(10),
        lambda: len(trigger.ids) >= 1,
    )
    assert trigger.ids == [task_id]
    assert len(trigger.lines) < 10, "it is told, but not each time"


def test_a_fault_is_told_and_the_watch_begun_again(
    connected: FakeSops,  # noqa: F811
    supervisor: Supervisor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trigger = Trigger()
    task_id = connected.create_task()

    broken: list[bool] = []

    def gauge(*_: Any, **__: Any) -> None:
        if broken:
            broken.clear()
            raise RuntimeError("no metrics today")

    monkeypatch.setattr(Stats, "gauge", gauge)
    trigger.run(
        two_looks(connected),
        lambda: broken.append(True),
        lambda: bool(trigger.said("loses no end meanwhile: RuntimeError: no metrics today")),
        two_looks(connected),
        lambda: connected.advance(10),
        lambda: len(trigger.ids) >= 1,
        two_looks(connected),
    )
    assert trigger.ids == [task_id]
    assert len(trigger.said("goes on with 1 SOPS tasks")) == 1
