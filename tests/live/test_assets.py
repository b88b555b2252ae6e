# SPDX-License-Identifier: Apache-2.0
"""DAGs that start when a SOPS task ends: by an outlet, a watcher and a webhook, in a real Airflow on PostgreSQL."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_sops.compat import HAS_ASSETS, HAS_PARTITION_KEYS
from airflow_provider_sops.testing import FakeSopsClient
from tests.live.airflow import Standalone
from tests.live.conftest import DAGS as WAITS
from tests.live.conftest import SETTINGS
from tests.live.fake import connection_json, fake_process
from tests.live.logs import find_tracebacks
from tests.live.postgres import Postgres
from tests.live.processes import family, kill, wait_until
from tests.live.triggerers import second_triggerer

pytestmark = pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 has no assets")

DAGS = Path(__file__).parent / "dags_of_assets"
TOKEN = "live-token-" + "x" * 40
BY_TASK = {"asset": "sops_by_task", "partition_key": "task"}
ASSETS = {"101": "sops_webhook", "103": "sops_webhook"}
CONSUMERS = ("on_outlet", "on_watch", "on_webhook")
#: Seconds for what takes seconds on a quiet machine.
PATIENCE = 240


def told_by(extra: Any) -> list[dict[str, Any]]:
    """The ended tasks of an event's ``extra``, as Airflow's database gives it."""
    value = json.loads(extra) if isinstance(extra, str) else extra
    told: list[dict[str, Any]] = value.get("payload", {}).get("ended_tasks", [value])
    return told


class Site:
    """An Airflow whose DAGs start when SOPS tasks end, and its fake SOPS."""

    def __init__(self, airflow: Standalone, fake: FakeSopsClient) -> None:
        self.airflow, self.fake = airflow, fake
        self.upgraded_run = ""
        self.made_while_down: list[int] = []

    def unpause(self) -> None:
        """Let the DAGs run, once they are known; one that is paused misses what comes."""
        dags = {*CONSUMERS, "produces", *(["on_webhook_by_task"] if HAS_PARTITION_KEYS else [])}
        for dag_id in dags:
            wait_until(f"DAG {dag_id} is known", lambda: self.airflow.api._knows(dag_id), seconds=120)  # noqa: B023
            self.airflow.api.ask("PATCH", f"dags/{dag_id}", {"is_paused": False})
        wait_until("the watcher is there", self.watches, seconds=PATIENCE)

    def watches(self) -> bool:
        """Whether the watcher has had its first look."""
        return bool(self.fake.count("get_task_list"))

    def post(self, task_id: int, token: str = TOKEN, conn: str = "sops_default", **more: Any) -> int:
        """Post as SOPS does.

        :return: the status of the answer; 0 where nobody has answered.
        """
        body = {"event": {"code": "task_finished", "info": {"task_id": task_id}}, "delivery_id": task_id}
        url = f"http://127.0.0.1:{self.airflow.port}/sops/webhook/{conn}"
        options: dict[str, Any] = {"json": body, "headers": {"Authorization": f"Bearer {token}"}} | more
        try:
            return requests.post(url, timeout=60, **options).status_code
        except requests.RequestException:
            return 0

    def used(self, dag_id: str) -> dict[int, dict[str, Any]]:
        """What the runs of a DAG have used, by the id of the SOPS task."""
        found: dict[int, dict[str, Any]] = {}
        query = "SELECT run_id FROM dag_run WHERE dag_id = :dag AND state = 'success'"
        for (run_id,) in self.airflow.sql(query, dag=dag_id):
            with suppress(AssertionError):
                found |= {one["id"]: one for one in self.airflow.api.xcom(dag_id, run_id, "use")}
        return found

    def events(self, asset: str) -> dict[int, float]:
        """When the first event of an asset told of each SOPS task: seconds since the epoch, by its id."""
        query = (
            "SELECT e.extra, extract(epoch FROM e.timestamp) FROM asset_event e JOIN asset a ON a.id = e.asset_id"
            " WHERE a.name = :asset ORDER BY e.id DESC"
        )
        found: dict[int, float] = {}
        for extra, moment in self.airflow.sql(query, asset=asset):
            for one in told_by(extra):
                found[one["sops_task_id"]] = float(moment)
        return found

    def identities(self, asset: str) -> list[tuple[int, str, str]]:
        """The id, state and end of each SOPS task as often as events of an asset tell it."""
        query = "SELECT e.extra FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.name = :asset"
        values = [
            json.loads(extra) if isinstance(extra, str) else extra for (extra,) in self.airflow.sql(query, asset=asset)
        ]
        told = [one for value in values for one in value.get("payload", {}).get("ended_tasks", [value])]
        return [(one["sops_task_id"], one["state"], one["end_time"]) for one in told]

    def events_of_webhooks(self) -> int:
        """How many events the asset has that webhooks alone tell."""
        query = "SELECT count(*) FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.name = 'sops_webhook'"
        return int(self.airflow.sql(query)[0][0])

    def first_runs(self, dag_id: str, asset: str) -> dict[int, float]:
        """When the first run that an event of an asset has started was created, by the id of the SOPS task."""
        query = (
            "SELECT e.extra, extract(epoch FROM r.queued_at) FROM dag_run r"
            " JOIN dagrun_asset_event x ON x.dag_run_id = r.id JOIN asset_event e ON e.id = x.event_id"
            " JOIN asset a ON a.id = e.asset_id WHERE r.dag_id = :dag AND a.name = :asset ORDER BY r.id DESC"
        )
        found: dict[int, float] = {}
        for extra, moment in self.airflow.sql(query, dag=dag_id, asset=asset):
            for one in told_by(extra):
                found[one["sops_task_id"]] = float(moment)
        return found

    def restart(self, meanwhile: Callable[[], None]) -> None:
        """Stop all of Airflow, do something, and start it again."""
        self.airflow.__exit__()
        meanwhile()
        self.airflow.__enter__()

    def kill_and_start(self, command: str) -> None:
        """``kill -9`` one command of Airflow, and start another of it."""
        everyone = self.airflow.members()
        # the API server gives itself another title
        heads = [one for one in everyone if command in one.command.replace("api_server", "api-server")]
        assert heads, f"no {command} in {[one.command for one in everyone]}"
        kill(one for head in heads for one in family(head.pid, everyone))
        arguments = ["--skip-serve-logs"] if command == "triggerer" else []
        self.airflow.start(command, *arguments)
        wait_until(f"{command} is up", self.airflow.api.is_up, seconds=PATIENCE)

    def wait_for(self, dag_id: str, ids: list[int]) -> dict[int, dict[str, Any]]:
        """Wait until runs of a DAG have used these SOPS tasks."""
        wait_until(f"{dag_id} has used {ids}", lambda: set(ids) <= self.used(dag_id).keys(), seconds=PATIENCE, every=2)
        return self.used(dag_id)


def settings_of(fake: FakeSopsClient, **extra: Any) -> dict[str, str]:
    own = {"bk_biz_id": 2, "webhook_token": TOKEN, "webhook_asset": ASSETS} | extra
    by_task = own | {"webhook_asset": BY_TASK}
    return SETTINGS | {
        "AIRFLOW_CONN_SOPS_DEFAULT": connection_json(fake, **own),
        "AIRFLOW_CONN_SOPS_BY_TASK": connection_json(fake, **by_task),
    }


@pytest.fixture(scope="module")
def assets_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that is upgraded while a run waits: before, it had neither assets nor webhooks."""
    home, dags = tmp_path_factory.mktemp("assets"), tmp_path_factory.mktemp("dags")
    shutil.copy(WAITS / "live.py", dags)
    with fake_process(tmp_path_factory.mktemp("fake")) as fake, Postgres(home / "postgres.out") as postgres:
        database = f"postgresql+psycopg2://{postgres.address}"
        with Standalone(home, dags, database=database, **settings_of(fake, webhook_token="")) as before:
            run_id = before.api.trigger("run_one")
            waits = {"deferred": 1}
            wait_until("it waits", lambda: before.states("run_one", run_id, "run") == waits, seconds=PATIENCE)
            assert Site(before, fake).post(1) == 401, "off, unless the connection has a token"
        shutil.copy(DAGS / "assets.py", dags)
        fake.clear_requests()
        with Standalone(home, dags, database=database, **settings_of(fake)) as airflow:
            site = Site(airflow, fake)
            site.unpause()
            site.upgraded_run = run_id
            yield site
            assert airflow.members("triggerer"), "the triggerer has ended"
            found = find_tracebacks(airflow.written())
            assert not found, "\n".join(found)


def end_some(site: Site, count: int = 1, template: str = "Two steps with outputs") -> list[int]:
    """Let SOPS tasks run and end, and be listed in between."""
    ids = site.fake.create_tasks(count, template)
    looks = site.fake.count("get_task_list")
    wait_until("they were seen", lambda: site.fake.count("get_task_list") >= looks + 2, seconds=PATIENCE)
    site.fake.advance(60)
    return ids


def percentiles(what: str, lags: Iterable[float]) -> None:
    """Print how long something took."""
    ordered = sorted(lags)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    print(f"\n{what}: {len(ordered)} ends, median {statistics.median(ordered):.1f} s, p95 {p95:.1f} s")


def test_a_wait_goes_through_the_upgrade(assets_site: Site) -> None:
    assets_site.fake.advance(36000)
    airflow = assets_site.airflow
    assert airflow.api.wait_for_run("run_one", assets_site.upgraded_run, seconds=PATIENCE) == "success"


def test_an_outlet_starts_a_dag_with_the_outputs(assets_site: Site) -> None:
    run_id = assets_site.airflow.api.trigger("produces")
    wait_until("its SOPS task runs", lambda: assets_site.fake.tasks, seconds=PATIENCE)

    def ended() -> bool:
        assets_site.fake.advance(60)
        return assets_site.airflow.api.run_state("produces", run_id) in ("success", "failed")

    wait_until("it has ended", ended, seconds=PATIENCE, every=2)
    task_id = assets_site.airflow.api.xcom("produces", run_id, "run", "sops_task_id")
    used = assets_site.wait_for("on_outlet", [task_id])
    assert used[task_id] == {"id": task_id, "state": "FINISHED", "command": "ping 127.0.0.1"}


def test_a_watcher_starts_a_dag_with_five_ends_of_one_poll(assets_site: Site) -> None:
    ids = end_some(assets_site, 5)
    used = assets_site.wait_for("on_watch", ids)
    assert {used[one]["command"] for one in ids} == {"ping 127.0.0.1"}
    (failed,) = end_some(assets_site, 1, "Fails until retried with good inputs")
    assert assets_site.wait_for("on_watch", [failed])[failed]["state"] == "FAILED"


@contextmanager
def webhook_of(site: Site, conn: str = "sops_default", template: str = "Two steps with outputs") -> Iterator[None]:
    """Let SOPS itself tell of the ends of tasks."""
    url = f"http://127.0.0.1:{site.airflow.port}/sops/webhook/{conn}"
    bearer = {"type": "bearer", "token": TOKEN}
    site.fake.set_webhook(template, url, authorization=bearer)
    try:
        yield
    finally:
        site.fake.remove_webhook(template)


def test_a_webhook_starts_a_dag_once_for_each_end(assets_site: Site) -> None:
    with webhook_of(assets_site):
        (task_id,) = end_some(assets_site)
        used = assets_site.wait_for("on_webhook", [task_id])
    assert used[task_id]["command"] == "ping 127.0.0.1"
    assert [assets_site.post(task_id) for _ in range(3)] == [200] * 3
    assert assets_site.events_of_webhooks() == 1, "four deliveries of one end"
    assert assets_site.post(task_id, token="x" * 50) == 401


@pytest.mark.skipif(not HAS_PARTITION_KEYS, reason="this Airflow has no partition keys")
def test_with_partition_keys_each_task_has_a_run_of_its_own(assets_site: Site) -> None:
    with webhook_of(assets_site, "sops_by_task"):
        ids = end_some(assets_site, 3)
        assets_site.wait_for("on_webhook_by_task", ids)
    runs = assets_site.airflow.sql("SELECT count(*) FROM dag_run WHERE dag_id = 'on_webhook_by_task'")
    assert runs == [(3,)]


@pytest.mark.long
def test_what_ends_while_all_of_airflow_is_down_is_announced_later(assets_site: Site) -> None:
    known = assets_site.fake.create_task()
    looks = assets_site.fake.count("get_task_list")
    # two looks, and the memory that is written after them
    wait_until("it was seen", lambda: assets_site.fake.count("get_task_list") >= looks + 3, seconds=PATIENCE)
    assets_site.restart(lambda: end_while_down(assets_site))
    new = assets_site.made_while_down
    assets_site.wait_for("on_watch", [known, *new])


def end_while_down(site: Site) -> None:
    site.made_while_down = site.fake.create_tasks(3)
    site.fake.advance(60)


@pytest.mark.long
def test_with_two_triggerers_each_end_is_one_ended_task(assets_site: Site) -> None:
    """Airflow 3.0 and 3.1 hand an asset's trigger to and fro between them; an end that is told twice is the same."""
    with second_triggerer(assets_site.airflow):
        ids = [one for _ in range(5) for one in end_some(assets_site, 2)]
        used = assets_site.wait_for("on_watch", ids)
    assert {used[one]["state"] for one in ids} == {"FINISHED"}
    identities = [identity for identity in assets_site.identities("sops_watched") if identity[0] in ids]
    print(f"\n{len(ids)} ends, told {len(identities)} times by two triggerers")
    assert len(set(identities)) == len(ids)


@pytest.mark.long
def test_how_soon_a_dag_run_is_created(assets_site: Site) -> None:
    ends: dict[int, float] = {}
    with webhook_of(assets_site, template="Long sleep"):
        for _ in range(20):
            task_id = assets_site.fake.create_task("Long sleep", constants={"seconds": "600"})
            time.sleep(random.uniform(5, 15))  # noqa: S311 (anywhere between two looks)
            assets_site.fake.advance(900)
            ends[task_id] = time.time()
        assets_site.wait_for("on_watch", list(ends))
        assets_site.wait_for("on_webhook", list(ends))
    for dag_id, asset in (("on_watch", "sops_watched"), ("on_webhook", "sops_webhook")):
        created = assets_site.first_runs(dag_id, asset)
        percentiles(f"end to DAG run, {dag_id}", [created[one] - ended for one, ended in ends.items()])


@pytest.mark.long
def test_ten_thousand_bad_posts_are_no_event(assets_site: Site) -> None:
    running, (ended,) = assets_site.fake.create_task("Long sleep"), end_some(assets_site)
    assert assets_site.post(ended) == 200
    before = assets_site.events_of_webhooks()
    bad: list[Callable[[], int]] = [
        lambda: assets_site.post(ended, token="y" * 50),
        lambda: assets_site.post(ended, token=TOKEN[:-1]),
        lambda: assets_site.post(ended, conn=f"guess_{random.random()}"),  # noqa: S311
        lambda: assets_site.post(ended),  # replayed
        lambda: assets_site.post(ended, json=None, data=b"x" * 1_100_000),
        lambda: assets_site.post(ended, json=None, data=b'{"event": {"info": {"task_id": "${jndi}"}}}'),
    ]
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(pool.map(lambda number: bad[number % len(bad)](), range(9_900)))
        # SOPS is asked several times whether it has ended
        codes += Counter(pool.map(lambda _: assets_site.post(running), range(100)))
    print(f"\n10,000 bad posts were answered with {dict(codes)}")
    assert set(codes) <= {200, 400, 401, 413, 503}
    assert assets_site.airflow.api.is_up()
    assert assets_site.events_of_webhooks() == before
    for path in assets_site.airflow.written():
        assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_kills_lose_no_end(assets_site: Site, request: pytest.FixtureRequest) -> None:
    """``kill -9`` of triggerer and API server at random moments, while tasks end all the time."""
    kills = request.config.getoption("--kills")
    stop, ids = threading.Event(), []

    def end_all_the_time() -> None:
        while not stop.is_set():
            ids.append(assets_site.fake.create_task())
            stop.wait(random.uniform(0.2, 1.5))  # noqa: S311
            assets_site.fake.advance(20)

    ending = threading.Thread(target=end_all_the_time)
    ending.start()
    try:
        for number in range(kills):
            time.sleep(random.uniform(0, 15))  # noqa: S311 (at a random moment)
            assets_site.kill_and_start("triggerer" if number % 2 else "api-server")
    finally:
        stop.set()
        ending.join()
    assets_site.fake.advance(60)
    print(f"\n{len(ids)} ends, {kills} kills")

    def lost() -> set[int]:
        return set(ids) - assets_site.events("sops_watched").keys()

    wait_until("all are told", lambda: not lost(), seconds=PATIENCE)
