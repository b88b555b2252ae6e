# SPDX-License-Identifier: Apache-2.0
"""The triggers: one waits for a SOPS task without a worker slot, one tells an asset of every SOPS task that ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from airflow.triggers import base
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sops.compat import HAS_ASSETS, end_event
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.wait_spec import WaitSpec

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.triggers.base import BaseEventTrigger

    from airflow_provider_sops.approval_spec import ApprovalState
    from airflow_provider_sops.core.call_flow import Flow
    from airflow_provider_sops.operator_arguments import Duration
    from airflow_provider_sops.watch_spec import WatchSpec
else:
    BaseEventTrigger = getattr(base, "BaseEventTrigger", BaseTrigger)  # Airflow 2 has none

__all__ = ["SopsTaskEndedTrigger", "SopsTaskTrigger"]


class SopsTaskTrigger(BaseTrigger):
    """Wait until a SOPS task has ended; all triggers of one connection and project share one poll.

    Its arguments are the fields of :class:`~airflow_provider_sops.wait_spec.WaitSpec`, by name or in their order. It
    fires one event, see :func:`airflow_provider_sops.trigger_events.make_event`; or, where ``end_from_trigger`` is
    ordered, it ends the task well by itself. With ``timeout`` it starts the wait, too.
    """

    #: the address of the SOPS task's page, if this trigger has pushed it
    pushed_url = ""
    #: the SOPS task was seen to have started, so that a kill need not read its state first
    has_started = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.spec = WaitSpec.of_row(*args, **kwargs)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which a triggerer makes the trigger again."""
        return f"{__name__}.SopsTaskTrigger", self.spec.kwargs()

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render the arguments of a wait that starts here, as Airflow asks for; any other's are data by now."""
        if self.spec.timeout is not None:
            from airflow_provider_sops.triggers.wait_start import rendering_context

            super().render_template_fields(rendering_context(context), jinja_env)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, write changes of state into the task's log, and fire one event."""
        from airflow_provider_sops.triggers.deferral_hold import hold_event
        from airflow_provider_sops.triggers.wait_loop import begin_wait

        started = time.monotonic()
        self.logger()  # one for all, which self.log then gives too: thousands of waits would each keep their own
        if self.spec.timeout is not None and not await self._start():
            from airflow_provider_sops.trigger_events import start_in_worker

            yield TriggerEvent(start_in_worker())  # type: ignore[no-untyped-call]
            return
        loop = begin_wait(self)
        try:  # here, not in a coroutine, which each of thousands of waits would hold
            while (event := await loop.step(time.time())) is None:
                await loop.sleep()
            ended = await self._end(event, loop.poller.run)
        finally:
            loop.close()
        # a worker that has deferred pushes the link of its leg; where it knew the address, it is the trigger's own
        if self._is_in_triggerer and not (ended and self.spec.task_url):
            await hold_event(started, self.spec.deferred_at)
        yield end_event() if ended else TriggerEvent(event)  # type: ignore[no-untyped-call]

    @property
    def _is_in_triggerer(self) -> bool:
        """``dag.test()`` runs it too: no scheduler, and a worker's leg at once."""
        return self.trigger_id is not None

    async def _start(self) -> bool:
        """Do what a worker does before it defers; say whether the wait can begin."""
        from airflow_provider_sops.triggers.wait_start import start_wait

        timeout_after = getattr(self, "timeout_after", None)  # set by the triggerer
        begun = await start_wait(self.spec, timeout_after, self.log, self.task_instance)
        self.spec = begun or self.spec
        return begun is not None

    async def _end(self, event: dict[str, Any], run: Callable[[Flow[Any]], Awaitable[Any]]) -> bool:
        """Do what a worker would do after a good end, if it was ordered; say whether it is done."""
        if not (self.spec.end_from_trigger and self._is_in_triggerer):
            return False
        from airflow_provider_sops.triggers.task_end import end_task

        return await end_task(self.spec, event, run, self.log, self.task_instance, pushed_url=self.pushed_url)

    async def show_link(self, url: str) -> None:
        """Push the address of the SOPS task's page for the link, where no worker has done so."""
        if self.spec.timeout is not None and self.spec.do_xcom_push:
            from airflow_provider_sops.triggers.wait_start import push_link

            if await push_link(url, self.log, self.task_instance):
                self.pushed_url = url

    def note_start(self) -> None:
        """Note that the SOPS task was seen to have started."""
        self.has_started = True

    async def on_kill(self) -> None:
        """Revoke the SOPS task, in one attempt, if a user has ended or cleared the waiting Airflow task.

        Airflow calls it from 3.3 on, and not when a triggerer restarts or the wait's time is over; but also when
        nobody has acted, so it is asked first.
        """
        spec = self.spec
        if spec.revoke_on_kill:
            from airflow_provider_sops.triggers.on_kill import revoke_when_killed, see_through

            await see_through(revoke_when_killed(spec, self.log, self.task_instance, started=self.has_started))


class _Argument:
    """An argument of the trigger as an attribute: Airflow renders the templated ones of a wait that starts here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, trigger: SopsTaskTrigger | None, owner: type) -> Any:
        return self if trigger is None else getattr(trigger.spec, self.name)

    def __set__(self, trigger: SopsTaskTrigger, value: Any) -> None:
        trigger.spec = trigger.spec._replace(**{self.name: value})


for _name in WaitSpec._fields:
    setattr(SopsTaskTrigger, _name, _Argument(_name))


class SopsApprovalTrigger(BaseTrigger):
    """Wait until the pause node of a SOPS task is reached, and then until somebody answers, in Airflow or in SOPS.

    It shares the poll with all other waits. It fires one event, see
    :func:`airflow_provider_sops.approval_spec.make_event`. It has no ``on_kill``: Airflow 3.3 calls that of every
    trigger whose task it resumes with an answer, and an approval revokes nothing by being stopped.

    :param wait: the wait for the SOPS task: the fields of :class:`~airflow_provider_sops.wait_spec.WaitSpec`.
    :param state: what the approval knows: the fields of
        :class:`~airflow_provider_sops.approval_spec.ApprovalState`.
    """

    def __init__(self, wait: dict[str, Any], state: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from airflow_provider_sops.approval_spec import state_of_fields

        self.spec = WaitSpec.of_row(**wait)
        self.state: ApprovalState = state_of_fields(state)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which a triggerer makes the trigger again."""
        return f"{__name__}.SopsApprovalTrigger", {"wait": self.spec.kwargs(), "state": self.state.fields()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, write changes of state into the task's log, and fire one event."""
        from airflow_provider_sops.triggers.approval_loop import begin_approval
        from airflow_provider_sops.triggers.deferral_hold import hold_event

        started = time.monotonic()
        self.logger()
        in_triggerer = self.trigger_id is not None
        loop = begin_approval(self, in_triggerer=in_triggerer)
        try:
            event = await loop.run()
        finally:
            loop.close()
        if in_triggerer:
            await hold_event(started, self.spec.deferred_at)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def show_link(self, url: str) -> None:
        """Do nothing: a worker has pushed the address."""

    def note_start(self) -> None:
        """Do nothing: nothing is revoked."""


class SopsTaskEndedTrigger(BaseEventTrigger):
    """Tell an asset of every SOPS task that ends, whoever started it (Airflow 3.0 and newer).

    It is the trigger of an ``AssetWatcher``. A DAG that is scheduled on the watcher's asset reads the tasks with
    :func:`airflow_provider_sops.assets.ended_tasks`.

    It fires an event for each look that has news, tells of each end at least once, and never ends by itself.

    :param name: what its memory is called: the same name goes on after a change of other arguments, and another name
        begins anew. Give each asset's watcher its own.
    :param template_ids: the templates to watch, by id.
    :param template_names: the templates to watch, by name. Without any, tasks of all templates are.
    :param template_source: where the templates are kept, ``business`` or ``common``.
    :param keyword: watch tasks with this in their names.
    :param create_method: watch tasks that were created so, in SOPS' words: ``app``, ``api``, ``periodic``, …
    :param states: what is announced: FINISHED, FAILED, REVOKED, EXPIRED. A failed task goes on being watched.
    :param with_outputs: read the outputs of tasks that have finished.
    :param since: at its first start, announce what has ended since (a datetime with a time zone, or ISO 8601); by
        default only what ends from then on.
    :param bk_biz_id: the business (or project, see ``scope``); by default the connection's.
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's.
    :param sops_conn_id: the connection.
    :param poll_interval: seconds or ``timedelta`` between two looks; at least the 10 seconds for which SOPS answers
        from its cache.
    :raises ValueError: an argument is wrong, or Airflow is older than 3.0.
    """

    def __init__(
        self,
        *,
        name: str,
        template_ids: int | str | Iterable[int | str] = (),
        template_names: str | Iterable[str] = (),
        template_source: str = "business",
        keyword: str = "",
        create_method: str = "",
        states: str | Iterable[str] = (TaskState.FINISHED.value,),
        with_outputs: bool = True,
        since: datetime | str | None = None,
        bk_biz_id: int | str | None = None,
        scope: str | None = None,
        sops_conn_id: str = DEFAULT_CONN_ID,
        poll_interval: Duration = float(STATUS_CACHE_SECONDS),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not HAS_ASSETS:
            raise ValueError("SopsTaskEndedTrigger needs Airflow 3.0 or newer, which has AssetWatcher")
        from airflow_provider_sops.watch_spec import make_watch_spec

        self.spec: WatchSpec = make_watch_spec(
            name=name,
            template_ids=template_ids,
            template_names=template_names,
            template_source=template_source,
            keyword=keyword,
            create_method=create_method,
            states=states,
            with_outputs=with_outputs,
            since=since,
            bk_biz_id=bk_biz_id,
            scope=scope,
            sops_conn_id=sops_conn_id,
            poll_interval=poll_interval,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments from which a triggerer makes the trigger again."""
        return f"{__name__}.SopsTaskEndedTrigger", self.spec.kwargs()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever, and fire an event for each look that has news."""
        from airflow_provider_sops.triggers.watch import watch

        async for payload in watch(self, self.spec):
            yield TriggerEvent(payload)  # type: ignore[no-untyped-call]
