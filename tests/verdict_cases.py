# SPDX-License-Identifier: Apache-2.0
"""What a wait must come to: one table of situations, to be run through every mode of waiting.

Each case is a fake SOPS, a task in it, what happens to it and when, the arguments of the wait, and the outcome. Time is
the fake's: it stands still, and whoever runs a case moves it with :meth:`World.sleep` where the wait would sleep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from airflow_provider_sops.testing import FakeSops, Request
from tests.clients import secret_sops
from tests.old_answers import (
    BARE_ROWS,
    COUNTS_ALONE,
    NO_WORD_OF_RETRIES,
    leave_out,
    with_class_names,
    without_end_times,
)

Act = Callable[[FakeSops, int], object]
Expected = Literal["success", "failure", "error", "wait"]
MINUTE, HOUR = 60.0, 3600.0
DETAIL_ONLY = {"granted": ["get_task_detail"]}
FAILS_LATE = Path(__file__).parent / "fails_late.toml"
RETRIES_IN_VAIN = Path(__file__).parent / "retries_in_vain.toml"


@dataclass(frozen=True)
class Case:
    """One situation and its outcome."""

    name: str
    #: ``success``; ``failure``: a bad end, which ``soft_fail`` skips; ``error``: it cannot be read, which ``soft_fail``
    #: does not skip; ``wait``: still waiting after ``within``
    expected: Expected
    template: str = "Two steps with outputs"
    #: arguments of the sensor
    arguments: dict[str, Any] = field(default_factory=dict)
    #: arguments of the fake
    fake: dict[str, Any] = field(default_factory=dict)
    #: what has happened when the wait begins; the task was created and its start queued
    before: Act | None = None
    #: what happens later: (seconds after the beginning, what)
    events: tuple[tuple[float, Act], ...] = ()
    #: state of the result, or of the failure
    state: str = "FINISHED"
    #: class of the exception of a failure or an error
    exception: str = "SopsTaskFailedException"
    #: words in the exception's message
    says: tuple[str, ...] = ()
    #: seconds by which the clock of Airflow's machines is ahead of SOPS'
    ahead: float = 0.0
    #: seconds in which the outcome must be there, and before which it must not
    within: float = 10 * MINUTE
    not_before: float = 0.0
    #: words of a log line that must be written once (where each poke is a process of its own, perhaps once more)
    logs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


class StillWaiting(Exception):
    """The time of a case is over."""


class World:
    """The fake SOPS of a case, its task and its time."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.fake = secret_sops(**{"caches": True, **case.fake})
        self._events = sorted(case.events, key=lambda event: event[0])

    def __enter__(self) -> World:
        self.fake.start()
        self.fake.clock.stop()
        self.task_id = self.fake.create_task(self.case.template)
        if self.case.before is not None:
            self.case.before(self.fake, self.task_id)
        self.begin = self.now
        return self

    def __exit__(self, *exc: object) -> None:
        self.fake.stop()

    @property
    def now(self) -> float:
        """Seconds since the epoch, by the clock of Airflow's machines."""
        return self.fake.clock.now() + self.case.ahead

    @property
    def elapsed(self) -> float:
        """Seconds since the wait has begun."""
        return self.now - self.begin

    def sleep(self, seconds: float) -> None:
        """Let time pass, and happen what is to happen in it.

        :raises StillWaiting: the time of the case is over.
        """
        until = self.elapsed + seconds
        while self._events and self._events[0][0] <= until:
            at, act = self._events.pop(0)
            self.fake.advance(max(0.0, at - self.elapsed))
            act(self.fake, self.task_id)
        self.fake.advance(until - self.elapsed)
        if self.elapsed > self.case.within:
            raise StillWaiting(self.case.name)


# ---- what happens to a task ----


def later(seconds: float) -> Act:
    return lambda fake, task_id: fake.advance(seconds)


def operate(action: str, *, after: float = 1.0) -> Act:
    def act(fake: FakeSops, task_id: int) -> None:
        fake.advance(after)
        fake.operate(task_id, action)

    return act


def operate_node(name: str, action: str) -> Act:
    return lambda fake, task_id: fake.operate_node(task_id, name, action)


def fault(kind: str, api: str | None = None, **options: Any) -> Act:
    return lambda fake, task_id: fake.faults.add(api, kind=kind, **options)


def heal(fake: FakeSops, task_id: int) -> None:
    fake.faults.clear()


def both(*acts: Act) -> Act:
    def act(fake: FakeSops, task_id: int) -> None:
        for one in acts:
            one(fake, task_id)

    return act


def in_state(word: str) -> Act:
    """Let the task be in a state that this provider does not know."""

    def act(fake: FakeSops, task_id: int) -> None:
        def answer(request: Request) -> tuple[int, Any] | None:
            status: dict[str, Any] = {
                "id": "n1",
                "state": word,
                "start_time": None,
                "finish_time": None,
                "children": {},
            }
            if request.api == "get_task_status":
                return 200, {"result": True, "data": status, "code": 0}
            if request.api == "get_tasks_status":
                row = {"id": task_id, "name": "x", "status": status, "is_deleted": False, "url": ""}
                return 200, {"result": True, "data": [row], "code": 0}
            return None

        fake.faults.add(kind="function", times=None, function=answer)

    return act


def crash(request: Request) -> tuple[int, Any]:
    """What SOPS says of a fault inside it (recorded on SOPS 3.34)."""
    return 500, {"result": False, "code": "50000", "message": "系统异常,请联系管理员处理", "data": None}


def refuse_reasons(fake: FakeSops, task_id: int) -> None:
    """Let the status be read, but not why a node failed."""

    def answer(request: Request) -> tuple[int, Any] | None:
        return (502, {"result": False, "code": 1650201}) if "with_ex_data" in request.params else None

    fake.faults.add("get_task_status", kind="function", times=None, function=answer)


def old(*fields: str, **more: Any) -> Act:
    """Let SOPS leave fields out of a status, as an old one does."""
    return lambda fake, task_id: leave_out(fake, *fields, **more)


def delete(fake: FakeSops, task_id: int) -> None:
    fake.delete_task(task_id)


def change_secret(fake: FakeSops, task_id: int) -> None:
    fake.apps["demo-app"] = "changed"


def restore_secret(fake: FakeSops, task_id: int) -> None:
    fake.apps["demo-app"] = fake.app_secret


def forbid(fake: FakeSops, task_id: int) -> None:
    fake.site.users["admin"] = ()


# ---- the table ----

CASES = [
    Case("finishes", "success"),
    Case("has finished long ago", "success", before=later(HOUR), within=0),
    Case("finishes after ten minutes", "success", "Long sleep", within=20 * MINUTE, not_before=10 * MINUTE),
    Case("was never started", "wait", fake={"start_delay": None}, within=20 * MINUTE),
    # ended otherwise
    Case(
        "is revoked",
        "failure",
        "Long sleep",
        events=((30, operate("revoke")),),
        state="REVOKED",
        exception="SopsTaskStoppedException",
        says=("has ended as REVOKED, which is not one of the allowed states", "Task page: http://"),
    ),
    Case(
        "is revoked, which is allowed",
        "success",
        "Long sleep",
        arguments={"allowed_states": ["FINISHED", "REVOKED"]},
        events=((30, operate("revoke")),),
        state="REVOKED",
    ),
    Case(
        "finishes, where only a revoke is allowed",
        "failure",
        arguments={"allowed_states": ["REVOKED"]},
        says=("has ended as FINISHED, which is not one of the allowed states",),
    ),
    Case(
        "expires",
        "failure",
        before=both(later(10), lambda fake, task_id: fake.expire_task(task_id)),
        state="EXPIRED",
        exception="SopsTaskStoppedException",
        says=("has ended as EXPIRED",),
    ),
    Case(
        "expires, which is allowed",
        "success",
        arguments={"allowed_states": ["EXPIRED"]},
        before=both(later(10), lambda fake, task_id: fake.expire_task(task_id)),
        state="EXPIRED",
    ),
    Case(
        "is deleted",
        "failure",
        "Long sleep",
        events=((30, lambda fake, task_id: fake.delete_task(task_id)),),
        state="",
        exception="SopsTaskStoppedException",
        says=("was deleted in SOPS",),
    ),
    Case(
        "was deleted before",
        "failure",
        before=both(later(10), lambda fake, task_id: fake.delete_task(task_id)),
        state="",
        exception="SopsTaskStoppedException",
        says=("was deleted in SOPS",),
        within=1,
    ),
    # failed
    Case(
        "fails",
        "failure",
        "Always fails",
        state="FAILED",
        says=(
            "'Always fails' has FAILED.",
            "Node 'call' (plugin bk_http_request, id n",
            "failed: 请求异常，详细信息: Connection refused",
            'inputs: {"bk_http_request_method": "GET"',
            # of the log the plugin's own lines, each once, and no more
            '"}\n    log: [',
            "][INFO] send GET request to http://service.example.com/nothing\n    log: [",
            "][ERROR] 请求异常，详细信息: Connection refused\n  Task page: http://",
            "Task page: http://",
            "Retry or skip the failed node on the task's page",
        ),
    ),
    Case(
        "fails in one of its branches",
        "failure",
        "Parallel, one branch fails",
        state="FAILED",
        says=("Node 'bad' (plugin bk_http_request",),
    ),
    Case(
        "fails in a subprocess",
        "failure",
        "With a subprocess that fails",
        state="FAILED",
        says=("Node 'child call' (plugin bk_http_request", "in subprocess sub failed: 请求异常"),
    ),
    Case(
        "fails, and a person skips the node",
        "success",
        "Always fails",
        arguments={"on_failed": "wait"},
        events=((300, operate_node("call", "skip")),),
    ),
    Case("fails, and nobody comes", "wait", "Always fails", arguments={"on_failed": "wait"}, within=20 * MINUTE),
    Case(
        "fails, and a person comes within the grace",
        "success",
        "Always fails",
        arguments={"failed_grace": timedelta(minutes=5)},
        events=((200, operate_node("call", "skip")),),
    ),
    Case(
        "fails, and nobody comes within the grace",
        "failure",
        "Always fails",
        arguments={"failed_grace": 300},
        state="FAILED",
        says=("has FAILED",),
        not_before=300,
    ),
    Case(
        "fails, waits, and nobody comes within the grace",
        "failure",
        "Always fails",
        arguments={"on_failed": "wait", "failed_grace": 300.0},
        state="FAILED",
        says=("Node 'call'",),
        not_before=300,
    ),
    Case("fails, and SOPS retries by itself", "success", "Retries by itself"),
    Case(
        "fails, and SOPS retries by itself in vain",
        "failure",
        "Retries in vain",
        fake={"templates": RETRIES_IN_VAIN},
        state="FAILED",
        says=("failed: no answer",),
        not_before=100,
    ),
    # SOPS retries by itself, and does not say so in its own words
    *(
        case
        for what, says in {
            "of its retries only the counts are told": old(*COUNTS_ALONE),
            "nothing is told of its retries": old(*NO_WORD_OF_RETRIES),
            "nothing is told of its retries, nor when a node failed": old(*NO_WORD_OF_RETRIES, edit=without_end_times),
        }.items()
        for case in (
            Case(f"fails, and SOPS retries by itself, where {what}", "success", "Retries by itself", before=says),
            Case(
                f"fails, and SOPS retries by itself in vain, where {what}",
                "failure",
                "Retries in vain",
                fake={"templates": RETRIES_IN_VAIN},
                before=says,
                state="FAILED",
                says=("failed: no answer",),
                not_before=100,
            ),
            Case(
                f"fails, and nothing is retried, where {what}",
                "failure",
                "Always fails",
                before=says,
                state="FAILED",
                says=("'Always fails' has FAILED.", "Node 'call'"),
                within=MINUTE + 1,
            ),
        )
    ),
    Case(
        "fails, and people have retried it as often as SOPS will, where nothing is told of its retries",
        "failure",
        "Retries soon in vain",
        fake={"templates": RETRIES_IN_VAIN},
        before=both(
            *(old(*NO_WORD_OF_RETRIES), later(3)),
            *(operate_node("call", "retry"), later(2), operate_node("call", "retry")),
        ),
        state="FAILED",
        says=("'Retries soon in vain' has FAILED.", "failed: no answer"),
        not_before=20,
    ),
    *(
        case
        for release in ("3.28", "3.20")
        for case in (
            Case(
                f"fails, and SOPS {release} retries by itself",
                "success",
                "Retries by itself",
                fake={"release": release},
            ),
            Case(
                f"fails, and SOPS {release} retries by itself in vain",
                "failure",
                "Retries in vain",
                fake={"templates": RETRIES_IN_VAIN, "release": release},
                state="FAILED",
                says=("failed: no answer",),
                not_before=100,
            ),
        )
    ),
    Case(
        "fails, and SOPS 3.9 retries nothing by itself",
        "failure",
        "Retries by itself",
        fake={"release": "3.9"},
        state="FAILED",
        says=("'Retries by itself' has FAILED.",),
        within=2 * MINUTE,
    ),
    Case(
        "fails, and neither SOPS nor the tree tells of retries",
        "failure",
        "Always fails",
        fake={"granted": ["get_task_status", "get_tasks_status", "get_task_node_detail"]},
        before=old(*NO_WORD_OF_RETRIES),
        state="FAILED",
        says=("Node 'call'",),
        not_before=190,
        logs=("the failure is believed only when it has lasted for 200 s",),
    ),
    Case(
        "is deleted, and a batch does not say so",
        "failure",
        "Pause for a person",
        before=old(*BARE_ROWS),
        events=((30, delete),),
        state="",
        exception="SopsTaskStoppedException",
        says=("was deleted in SOPS",),
        within=15 * MINUTE,
    ),
    *(
        Case(
            f"is deleted {when}, and a batch does not say so",
            "failure",
            template,
            before=old(*BARE_ROWS),
            events=((at, delete),),
            state="",
            exception="SopsTaskStoppedException",
            says=("was deleted in SOPS",),
            not_before=at,
            within=15 * MINUTE,
            arguments={"failed_grace": 300},
        )
        for when, template, at in (
            ("just before it ends", "Two steps with outputs", 3.0),
            ("when it has failed", "Always fails", 100.0),
        )
    ),
    Case("finishes, and a batch does not say whether it is deleted", "success", before=old(*BARE_ROWS)),
    Case(
        "finishes, and is named after a class",
        "success",
        "Long sleep",
        before=old(edit=with_class_names),
        within=15 * MINUTE,
        logs=("'Long sleep': RUNNING",),
    ),
    Case(
        "fails, and is named after a class",
        "failure",
        "Always fails",
        before=old(edit=with_class_names),
        state="FAILED",
        says=("'Always fails' has FAILED.", "Node 'call'"),
        logs=("'Always fails': FAILED",),
    ),
    Case(
        "fails, and is revoked then",
        "failure",
        "Always fails",
        arguments={"on_failed": "wait"},
        events=((100, operate("revoke")),),
        state="REVOKED",
        exception="SopsTaskStoppedException",
        not_before=100,
    ),
    *(
        Case(
            f"fails, and a person comes within the grace, where {whose} clock is ten minutes ahead",
            "success",
            "Always fails",
            arguments={"failed_grace": 300},
            events=((200, operate_node("call", "skip")),),
            ahead=ahead,
        )
        for whose, ahead in (("Airflow's", 10 * MINUTE), ("SOPS'", -10 * MINUTE))
    ),
    *(
        Case(
            f"fails, and nobody comes within the grace, where {whose} clock is ten minutes ahead",
            "failure",
            "Always fails",
            arguments={"failed_grace": 300},
            before=later(100),
            state="FAILED",
            says=("has FAILED",),
            ahead=ahead,
            not_before=200,
            within=5 * MINUTE,
        )
        for whose, ahead in (("Airflow's", 10 * MINUTE), ("SOPS'", -10 * MINUTE))
    ),
    # failed and then paused: SOPS shows the pause alone
    Case(
        "fails, and was paused then",
        "failure",
        "Always fails",
        before=operate("pause"),
        state="FAILED",
        says=(
            "has FAILED, and somebody has paused it then.",
            "Node 'call' (plugin bk_http_request, id n",
            "failed: 请求异常，详细信息: Connection refused",
            "Retry or skip the failed node on the task's page",
        ),
        within=MINUTE,
    ),
    Case(
        "fails in a subprocess, and was paused then",
        "failure",
        "With a subprocess that fails",
        before=operate("pause", after=10),
        state="FAILED",
        says=("Node 'child call' (plugin bk_http_request", "in subprocess sub failed: 请求异常"),
        within=MINUTE,
    ),
    Case(
        "is paused, and then a node that still ran fails",
        "failure",
        "Parallel, one branch fails late",
        fake={"templates": FAILS_LATE},
        events=((30, operate("pause", after=0)),),
        state="FAILED",
        says=("Node 'bad'",),
        not_before=100,
        logs=("failed: bad, now: pa.",),
    ),
    Case(
        "fails and is paused, and a person skips the node and resumes",
        "success",
        "Always fails",
        arguments={"on_failed": "wait"},
        before=operate("pause"),
        events=((300, operate_node("call", "skip")), (400, operate("resume"))),
        not_before=400,
    ),
    Case(
        "fails and is paused, and nobody comes within the grace",
        "failure",
        "Always fails",
        arguments={"failed_grace": 300},
        events=((60, operate("pause")),),
        state="FAILED",
        says=("has FAILED, and somebody has paused it then",),
        not_before=300,
    ),
    Case(
        "fails and is paused, and a pause is a failure",
        "failure",
        "Always fails",
        arguments={"on_failed": "wait", "on_suspended": "fail"},
        events=((60, operate("pause")),),
        state="FAILED",
        says=("is SUSPENDED: somebody paused it, and on_suspended is 'fail'", "Node 'call'"),
        not_before=60,
    ),
    # paused
    Case(
        "is paused and resumed",
        "success",
        before=operate("pause"),
        events=((300, operate("resume")),),
        not_before=300,
    ),
    Case("is paused for good", "wait", before=operate("pause"), within=20 * MINUTE),
    Case(
        "is paused, and that is a failure",
        "failure",
        "Long sleep",
        arguments={"on_suspended": "fail"},
        events=((30, operate("pause")),),
        state="SUSPENDED",
        says=("is SUSPENDED: somebody paused it, and on_suspended is 'fail'",),
    ),
    Case(
        "has a paused node, and that is a failure",
        "failure",
        arguments={"on_suspended": "fail"},
        before=both(operate_node("sleep1", "pause"), later(1)),
        state="NODE_SUSPENDED",
        says=("is NODE_SUSPENDED",),
    ),
    *(
        Case(
            f"waits for a person to confirm, where {whose}",
            "success",
            "Pause for a person",
            events=((700, operate_node("confirm", "callback")),),
            ahead=ahead,
            within=20 * MINUTE,
            not_before=700,
            logs=("waits for a person to confirm",),
        )
        for whose, ahead in (
            ("all clocks are the same", 0.0),
            ("Airflow's clock is ten minutes ahead", 10 * MINUTE),
            ("SOPS' clock is ten minutes ahead", -10 * MINUTE),
        )
    ),
    # the race at the end
    Case(
        "is FINISHED a minute before its end time is there",
        "success",
        before=fault("end_race", seconds=60),
        not_before=60,
    ),
    Case(
        "is FINISHED and never gets an end time",
        "failure",
        before=fault("end_race", seconds=HOUR),
        says=("is FINISHED, but SOPS has given no end time for two minutes, nor does its detail", "tell those who run"),
        not_before=120,
    ),
    Case(
        "is FINISHED, and only its detail has the end time",
        "success",
        before=both(
            fault("end_race", "get_task_status", reads=10_000), fault("end_race", "get_tasks_status", reads=10_000)
        ),
        not_before=120,
    ),
    Case(
        "is seen FINISHED, and then a replica answers that is behind for ever",
        "success",
        before=both(
            fault("end_race", "get_task_status", reads=10_000), fault("end_race", "get_tasks_status", reads=10_000)
        ),
        events=(
            (90, fault("stale", "get_task_status", times=None)),
            (90, fault("stale", "get_tasks_status", times=None)),
        ),
        not_before=120,
    ),
    Case("is asked of two replicas with caches of their own", "success", fake={"replicas": 2}),
    # a state that nobody knows
    Case(
        "is in an unknown state for a while",
        "success",
        "Long sleep",
        events=((30, in_state("DREAMING")), (150, heal)),
        within=HOUR,
        logs=("in a state that this provider does not know: 'DREAMING'", "SOPS answers again"),
    ),
    Case(
        "is in an unknown state for ever",
        "error",
        before=in_state("DREAMING"),
        exception="SopsOutageException",
        says=("'DREAMING'", "neither for success nor for failure"),
        within=20 * MINUTE,
        not_before=10 * MINUTE,
    ),
    # it cannot be read
    Case(
        "cannot be read for a while",
        "success",
        "Long sleep",
        events=((30, fault("drop", times=None)), (300, heal)),
        within=HOUR,
        logs=("going on for up to 600 s (max_outage)", "SOPS answers again"),
    ),
    Case(
        "cannot be read any more",
        "error",
        "Long sleep",
        arguments={"max_outage": timedelta(minutes=5)},
        events=((30, fault("status", times=None, status=502)),),
        exception="SopsOutageException",
        says=(
            "could not be read for 3",
            "(max_outage is 300 s). The task itself was not touched and may still run. Last error: ",
            "HTTP 502",
        ),
        within=20 * MINUTE,
        not_before=5 * MINUTE,
    ),
    Case(
        "is hidden by a login page for a while",
        "success",
        "Long sleep",
        events=((30, fault("html", times=None)), (300, heal)),
        within=HOUR,
    ),
    *(
        Case(f"is answered once by {what}", "success", before=once, events=((5, once), (25, once)))
        for what, once in {
            "a login page": fault("html"),
            "a redirect to a login page": fault("redirect", location="http://login.example.com/"),
            "half of a JSON": fault("not_json"),
            "SOPS whose database is away": fault("function", function=crash),
        }.items()
    ),
    Case(
        "is answered by SOPS whose database is away, and that goes on",
        "error",
        before=fault("function", times=None, function=crash),
        exception="SopsOutageException",
        says=("SOPS failed inside (code 50000, HTTP 500)", "its database or message broker may be away"),
        within=20 * MINUTE,
        not_before=10 * MINUTE,
    ),
    Case(
        "is at an address where nobody answers for a while",
        "success",
        "Long sleep",
        events=((30, fault("html", times=None, status=404)), (300, heal)),
        within=HOUR,
        logs=("going on for up to 600 s (max_outage)", "SOPS answers again"),
    ),
    Case(
        "is at an address where nobody answers any more",
        "error",
        "Long sleep",
        events=((30, fault("html", times=None, status=404)),),
        exception="SopsOutageException",
        says=("HTTP 404",),
        within=20 * MINUTE,
        not_before=10 * MINUTE,
    ),
    Case(
        "is at an address where nobody answers",
        "error",
        before=fault("html", times=None, status=404),
        exception="SopsApiNotFoundException",
        says=("Check the connection's host and api_type",),
        within=10,  # some tries
    ),
    Case(
        "fails, and whether SOPS will retry cannot be read",
        "error",
        "Always fails",
        before=refuse_reasons,
        exception="SopsOutageException",
        says=("could not be read for 6", "HTTP 502"),
        within=20 * MINUTE,
        not_before=10 * MINUTE,
        logs=("going on for up to 600 s (max_outage)",),
    ),
    Case(
        "crashes SOPS for a while",
        "success",
        "Long sleep",
        events=((30, fault("function", times=None, function=crash)), (300, heal)),
        within=HOUR,
    ),
    Case(
        "is asked too often for a while",
        "success",
        "Long sleep",
        events=((30, fault("status", times=None, status=429, retry_after=5)), (300, heal)),
        within=HOUR,
    ),
    Case(
        "is not there",
        "error",
        before=lambda fake, task_id: fake.site.tasks.clear(),
        exception="SopsNotFoundException",
        says=("Check the ids (task_id=", "bk_biz_id=2"),
        within=1,
    ),
    Case(
        "belongs to another business",
        "error",
        arguments={"bk_biz_id": 3},
        exception="SopsNotFoundException",
        says=("bk_biz_id=3",),
        within=1,
    ),
    Case(
        "is asked for with wrong credentials",
        "error",
        before=change_secret,
        exception="SopsAuthenticationException",
        says=("Check the connection's login (app code) and password (app secret)",),
        within=1,
    ),
    Case(
        "is asked for with credentials that are changed meanwhile",
        "success",
        "Long sleep",
        events=((90, change_secret), (300, restore_secret)),
        within=HOUR,
    ),
    Case(
        "may not be seen by the user",
        "error",
        before=forbid,
        exception="SopsIamDeniedException",
        says=("Give the user of the connection the permission 'task_view'",),
        within=1,
    ),
    Case(
        "may not be asked for at all",
        "error",
        fake={"granted": []},
        exception="SopsApiPermissionException",
        says=("Apply for the API permission",),
        within=1,
    ),
    # the detail alone
    Case(
        "finishes, and only its detail may be read",
        "success",
        fake=DETAIL_ONLY,
        logs=("The app may not call get_task_status, so this wait reads get_task_detail alone. It costs:",),
    ),
    Case(
        "finishes, and SOPS is too old to tell its status",
        "success",
        before=lambda fake, task_id: fake.remove_api("get_task_status", "get_tasks_status"),
    ),
    Case(
        "finishes without outputs, and only its detail may be read",
        "failure",
        "No outputs",
        fake=DETAIL_ONLY,
        state="ENDED",
        says=(
            "has ended without outputs, and its state is unknown: it may have finished or been revoked",
            "Grant the app the API get_task_status, or set assume_finished=True",
        ),
    ),
    Case(
        "finishes without outputs, only its detail may be read, and it is assumed to have finished",
        "success",
        "No outputs",
        arguments={"assume_finished": True},
        fake=DETAIL_ONLY,
        state="ENDED",
    ),
    Case(
        "ends without outputs, only its detail may be read, and every end is allowed",
        "success",
        "No outputs",
        arguments={"allowed_states": ["FINISHED", "REVOKED", "EXPIRED"]},
        fake=DETAIL_ONLY,
        state="ENDED",
    ),
    Case(
        "is revoked, and only its detail may be read",
        "failure",
        "Long sleep",
        fake=DETAIL_ONLY,
        events=((30, operate("revoke")),),
        state="ENDED",
        says=("its state is unknown",),
    ),
    Case("fails, and only its detail may be read", "wait", "Always fails", fake=DETAIL_ONLY, within=20 * MINUTE),
]
