# SPDX-License-Identifier: Apache-2.0
"""The watch: what it announces of tasks that anybody runs, what it remembers, and how it goes through bad times."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pendulum
import pytest

from airflow_provider_sops.compat import HAS_ASSETS
from airflow_provider_sops.core.api.project import Project
from airflow_provider_sops.core.poll.poller import Poller
from airflow_provider_sops.testing import FakeSops
from airflow_provider_sops.triggers import shared_pollers, watch_loop
from airflow_provider_sops.triggers.watch_log import WatchLog
from airflow_provider_sops.triggers.watch_loop import WatchLoop
from airflow_provider_sops.watch_spec import make_watch_spec

pytestmark = pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 has no watchers")
INTERVAL = 0.2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll faster than SOPS' cache, which the fake goes without here."""
    monkeypatch.setattr(shared_pollers, "Poller", partial(Poller, min_interval=INTERVAL))
    monkeypatch.setattr(watch_loop, "GATHER", 0.05)


class Store:
    """Stands for Airflow's store: keeps what is written, unless Airflow is away."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.is_away = False
        self.reads = 0

    async def read(self) -> Any:
        self._check()
        self.reads += 1
        return None if self.text is None else json.loads(self.text)

    async def write(self, value: Any) -> None:
        self._check()
        self.text = json.dumps(value)

    def _check(self) -> None:
        if self.is_away:
            raise ConnectionError("Airflow's database is away")


class Watch:
    """A watch that a test steers: what it has announced, and what it has said."""

    def __init__(self, store: Store, **arguments: Any) -> None:
        self.spec = make_watch_spec(**{"name": "test", "bk_biz_id": 2, "scope": "cmdb_biz", **arguments})
        self.spec = self.spec._replace(poll_interval=INTERVAL)
        self.store = store
        self.lines: list[str] = []
        self.events: list[list[dict[str, Any]]] = []
        logger = logging.Logger("watch")  # noqa: LOG001 (in no tree, so that nothing else hears it)
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        logger.addHandler(handler)
        self.log = WatchLog(logger, self.spec.name)

    @property
    def announced(self) -> list[dict[str, Any]]:
        return [ended for event in self.events for ended in event]

    def ids(self) -> list[tuple[int, str]]:
        return [(ended["sops_task_id"], ended["state"]) for ended in self.announced]

    def said(self, part: str) -> list[str]:
        return [line for line in self.lines if part in line]

    def run(self, *steps: Callable[[], Any] | Callable[[], bool]) -> None:
        """Let it watch while the steps are done: one that returns a bool is asked until it is true."""
        asyncio.run(self._run(steps))

    async def _run(self, steps: tuple[Callable[[], Any], ...]) -> None:
        loop = WatchLoop(self.spec, Project(2), self.store, self.log)
        events = loop.events()

        async def collect() -> None:
            async for payload in events:
                assert payload.keys() == {"version", "watch", "ended_tasks"}
                self.events.append(json.loads(json.dumps(payload["ended_tasks"])))

        try:
            await do_while(collect(), steps)
        finally:
            loop.close()


async def do_while(watching: Coroutine[Any, Any, None], steps: tuple[Callable[[], Any], ...]) -> None:
    """Do the steps while something watches, and end it then: a step that returns a bool is asked until it is true."""
    task = asyncio.create_task(watching)
    try:
        for step in steps:
            async with asyncio.timeout(30):
                while await asyncio.to_thread(step) is False:
                    assert not task.done(), task.exception()
                    await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def connected(sops: FakeSops, connect: Callable[..., None]) -> FakeSops:
    connect(sops)
    return sops


def running_task(sops: FakeSops) -> int:
    """Make a task that runs for long."""
    task_id = sops.create_task("Long sleep")
    sops.advance(1)
    return task_id


def two_looks(sops: FakeSops) -> Callable[[], bool]:
    """Make a step that waits for more looks at the list, so that what was before was seen."""
    before: list[int] = []

    def more() -> bool:
        if not before:
            before.append(sops.count("get_task_list"))
        return sops.count("get_task_list") >= before[0] + 5

    return more


def run_within(watch: Watch, sops: FakeSops, template: str) -> int:
    """Let a task begin and end between two looks: one that ends at once could have ended before the watch began."""
    made: list[int] = []

    def whole_task() -> None:
        made.append(sops.create_task(template))
        sops.advance(30)

    watch.run(two_looks(sops), whole_task, lambda: len(watch.announced) >= 1)
    return made[0]


def remembered(store: Store) -> Any:
    return json.loads(store.text or "null")


def unfinished(store: Store) -> set[int]:
    return {one for ids in remembered(store)["watched_since_day"].values() for one in ids}


def test_every_end_is_announced_once_whoever_started_it(connected: FakeSops) -> None:
    store, watch = Store(), None
    running = connected.create_task()
    connected.advance(1)
    watch = Watch(store)
    new: list[int] = []

    def more() -> None:
        new.extend(connected.create_task() for _ in range(3))

    watch.run(
        two_looks(connected),
        more,
        two_looks(connected),
        lambda: connected.advance(10),
        lambda: len(watch.announced) >= 4,
        two_looks(connected),
    )
    assert sorted(watch.ids()) == [(one, "FINISHED") for one in [running, *new]]
    assert len(watch.events) <= 2, "those that are seen together are told together"
    ended = watch.announced[0]
    assert ended["outputs"]["IP"] == "127.0.0.1"
    assert ended["template_id"]
    assert ended["task_name"]
    assert "/taskflow/execute/" in ended["task_url"]
    assert pendulum.parse(ended["end_time"]) >= pendulum.parse(ended["start_time"])  # type: ignore[operator]


def test_a_task_that_begins_and_ends_between_two_looks_is_announced(connected: FakeSops) -> None:
    watch = Watch(Store())
    task_id = run_within(watch, connected, "Two steps with outputs")
    assert watch.ids() == [(task_id, "FINISHED")]


def test_what_had_ended_before_the_first_start_is_not_announced(connected: FakeSops) -> None:
    done, revoked = connected.create_task(), running_task(connected)
    connected.operate(revoked, "revoke")
    connected.advance(10)
    assert connected.task(done).state == "FINISHED"
    watch = Watch(Store(), states=["FINISHED", "REVOKED"])
    running = running_task(connected)
    watch.run(two_looks(connected), lambda: connected.operate(running, "revoke"), lambda: len(watch.announced) >= 1)
    assert watch.ids() == [(running, "REVOKED")]
    assert watch.announced[0]["outputs"] == {}
    assert watch.announced[0]["end_time"], "the detail has it, though the status does not"


def test_since_looks_back_at_the_first_start(connected: FakeSops) -> None:
    connected.create_task()
    connected.advance(10)
    since = pendulum.from_timestamp(connected.clock.now() + 1)
    connected.advance(5)
    late, revoked = connected.create_task(), running_task(connected)
    connected.operate(revoked, "revoke")
    connected.advance(10)
    watch = Watch(Store(), since=since, states=["FINISHED", "REVOKED"])
    watch.run(lambda: len(watch.announced) >= 2)
    assert sorted(watch.ids()) == [(late, "FINISHED"), (revoked, "REVOKED")]


def test_a_failure_is_announced_where_it_is_wanted_and_a_later_finish_too(connected: FakeSops) -> None:
    watch, quiet = Watch(Store(), states=["FAILED", "FINISHED"]), Watch(Store(), name="quiet")
    task_id = run_within(watch, connected, "Always fails")
    watch.run(two_looks(connected), two_looks(connected))
    assert set(watch.ids()) == {(task_id, "FAILED")}, "again after it broke off, and then no more"
    assert watch.announced[0]["end_time"], "when the node failed"
    quiet.run(two_looks(connected), two_looks(connected))
    assert quiet.ids() == []
    watch.run(
        two_looks(connected),
        lambda: connected.operate_node(task_id, "call", "skip"),
        lambda: connected.advance(30),
        lambda: watch.ids()[-1] == (task_id, "FINISHED"),
    )


def test_a_filter_leaves_out_all_else(connected: FakeSops) -> None:
    wanted = connected.create_task("Two steps with outputs", name="nightly load")
    connected.create_task("Two steps with outputs", name="other")
    connected.create_task("Parallel branches", name="nightly load too")
    template = connected.task(wanted).template_id
    watch = Watch(Store(), template_ids=[template], keyword="nightly")
    named = Watch(Store(), template_names=["Two steps with outputs"], keyword="nightly")
    end = partial(connected.advance, 60)
    watch.run(two_looks(connected), end, lambda: len(watch.announced) >= 1, two_looks(connected))
    assert watch.ids() == [(wanted, "FINISHED")]
    again = connected.create_task("Two steps with outputs", name="nightly again")
    connected.create_task("Parallel branches", name="nightly again too")
    named.run(two_looks(connected), end, lambda: len(named.announced) >= 1, two_looks(connected))
    assert named.ids() == [(again, "FINISHED")]


def test_outputs_of_password_variables_are_left_out(connected: FakeSops) -> None:
    watch = Watch(Store())
    run_within(watch, connected, "Password output")
    assert watch.announced[0]["outputs"].keys() == {"IP"}


@pytest.mark.parametrize("value", ["x" * 70_000, float("nan"), "half \ud800"])
def test_outputs_that_an_event_cannot_hold_are_left_out_and_it_says_so(connected: FakeSops, value: Any) -> None:
    watch = Watch(Store())
    task_id = connected.create_task()

    def finish() -> None:
        connected.advance(10)
        connected.task(task_id).outputs.append({"key": "${BIG}", "value": value, "name": "BIG"})

    watch.run(two_looks(connected), finish, lambda: len(watch.announced) >= 1)
    assert watch.announced[0]["outputs"] is None
    assert watch.announced[0]["outputs_omitted"]
    assert watch.said(f"The asset event of SOPS task {task_id} has no outputs")


def test_an_end_is_remembered_only_when_airflow_has_surely_stored_it(connected: FakeSops) -> None:
    store, watch = Store(), None
    task_id = connected.create_task()
    watch = Watch(store)
    watch.run(two_looks(connected), lambda: connected.advance(10), lambda: len(watch.announced) >= 1)
    assert task_id in unfinished(store), "it broke off right after the event"
    watch.run(lambda: len(watch.announced) >= 2, lambda: task_id not in unfinished(store), two_looks(connected))
    first, again = watch.announced
    assert first == again, "the same end twice has the same identity"
    watch.run(two_looks(connected), two_looks(connected))
    assert len(watch.announced) == 2


def test_while_airflow_does_not_answer_nothing_is_taken_for_stored(connected: FakeSops) -> None:
    store, watch = Store(), None
    task_id = connected.create_task()
    watch = Watch(store)

    def away(is_away: bool) -> None:
        store.is_away = is_away

    watch.run(
        two_looks(connected),
        lambda: connected.advance(10),
        partial(away, True),
        lambda: len(watch.announced) >= 1,
        two_looks(connected),
        two_looks(connected),
        lambda: task_id in unfinished(store),
        partial(away, False),
        lambda: task_id not in unfinished(store),
    )
    assert len(watch.announced) == 1


def test_what_ends_while_no_triggerer_runs_is_announced_later(connected: FakeSops) -> None:
    store, watch = Store(), None
    before = connected.create_task()
    watch = Watch(store)
    watch.run(two_looks(connected), lambda: before in unfinished(store))
    connected.advance(10)
    meanwhile = [connected.create_task() for _ in range(3)]
    connected.advance(20)
    watch.run(lambda: len(watch.announced) >= 4, two_looks(connected))
    assert sorted(watch.ids()) == [(one, "FINISHED") for one in [before, *meanwhile]]


def test_an_outage_is_told_once_and_loses_nothing(connected: FakeSops) -> None:
    watch = Watch(Store())
    task_id = connected.create_task()
    calls: list[int] = []

    def fail() -> None:
        connected.faults.add(kind="status", status=502, times=None)
        calls.append(connected.count())

    watch.run(
        two_looks(connected),
        fail,
        lambda: connected.advance(10),
        lambda: bool(watch.said("loses no end")),
        lambda: connected.count() > calls[0] + 3,
        connected.faults.clear,
        lambda: len(watch.announced) >= 1,
        lambda: bool(watch.said("SOPS answers again")),
    )
    assert watch.ids() == [(task_id, "FINISHED")]
    assert len(watch.said("loses no end")) == 1


def test_what_a_person_must_mend_is_told_once_an_hour_and_the_watch_goes_on(connected: FakeSops) -> None:
    watch = Watch(Store(), template_names=["No such template"])
    wrong = "have none named 'No such template'"
    watch.run(lambda: connected.count("get_template_list") >= 4)
    assert len(watch.said(wrong)) == 1
    connected.deny("get_task_list")
    denied = Watch(Store())
    denied.run(lambda: connected.count("get_task_list") >= 3)
    assert len(denied.said("until somebody mends this")) == 1
    connected.grant("get_task_list")
    task_id = connected.create_task()
    denied.run(two_looks(connected), lambda: connected.advance(10), lambda: len(denied.announced) >= 1)
    assert denied.ids() == [(task_id, "FINISHED")]


def test_a_deleted_task_is_watched_no_more(connected: FakeSops) -> None:
    store, watch = Store(), None
    task_id = connected.create_task()
    watch = Watch(store)
    watch.run(
        two_looks(connected),
        lambda: task_id in unfinished(store),
        lambda: connected.delete_task(task_id),
        lambda: task_id not in unfinished(store),
    )
    assert watch.announced == []
    assert watch.said(f"SOPS task {task_id}")


def test_many_watched_tasks_share_requests(connected: FakeSops) -> None:
    watch = Watch(Store())
    ids = [connected.create_task("Long sleep") for _ in range(200)]
    counts: list[int] = []

    def note() -> None:
        counts.append(connected.count("get_tasks_status"))
        counts.append(connected.count("get_task_list"))

    watch.run(two_looks(connected), note, two_looks(connected), two_looks(connected), note)
    batches, lists = counts[2] - counts[0], counts[3] - counts[1]
    assert batches <= 4 * (lists + 2), "fifty tasks with a request"
    assert connected.count("get_task_status") == 0
    assert len(ids) == 200


def test_a_memory_that_cannot_be_read_begins_anew(connected: FakeSops) -> None:
    store = Store()
    store.text = '"nonsense"'
    watch = Watch(store)
    watch.run(two_looks(connected), lambda: isinstance(remembered(store), dict))
    assert watch.said("begins anew")
