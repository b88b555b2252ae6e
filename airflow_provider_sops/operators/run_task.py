# SPDX-License-Identifier: Apache-2.0
"""The operator that runs a SOPS task exactly once and waits for its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, BaseOperator, conf

from airflow_provider_sops.compat import TaskDeferralError, is_trigger_timeout, resumed_context
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.api.calls import parse_id
from airflow_provider_sops.core.api.catalogue import STATUS_CACHE_SECONDS
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.policy import check_choice
from airflow_provider_sops.links.sops import SopsTaskLink
from airflow_provider_sops.operator_arguments import (
    PROJECT_FIELDS,
    Duration,
    Field,
    Templated,
    as_seconds,
    listed,
    make_policy,
    read_mapping,
    read_schemes,
    read_some_texts,
    read_template_source,
    read_text,
    read_texts,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, XComArg

    from airflow_provider_sops.hooks.sops import SopsHook
    from airflow_provider_sops.operators.run_attempt import RunAttempt


class SopsRunTaskOperator(Templated, BaseOperator):
    """Run a SOPS task from a template, wait until it has ended, and push its outputs.

    The SOPS task is started at most once, whatever happens to the worker or to an answer on its way: it is created with
    a tag at the end of its name, found again by this tag, and only then started. A retry goes on with what it finds:

    - not yet started: it starts it; running or paused: it goes on waiting; finished: it uses the outputs;
    - failed: as ``on_retry`` says; revoked by this Airflow task itself: it runs a new one;
    - revoked or deleted by a person, or expired: it fails without further Airflow retries. (That one was deleted,
      a retry knows on Airflow 3.3 alone; before, it runs a new one, since SOPS lists no deleted task.)

    :param template_id: the template, an int or a string (templated); or:
    :param template_name: the name of the one template in the business that is called so (templated).
    :param template_source: ``business`` or ``common`` (templated).
    :param task_name: name of the SOPS task, by default those of DAG and task; the tag is added, and what is longer than
        100 characters with it (50 before SOPS 3.6.31) is cut (templated).
    :param constants: values by name, bare or as ``${IP}`` (templated); sent as they are, and an XComArg keeps its type.
    :param flow_type: ``common``, or ``common_func`` for a task that waits to be claimed by a person (templated).
    :param exclude_task_nodes_id: the template's nodes to leave out, by id or name (templated).
    :param execute_task_nodes_id: the template's nodes to run, by id or name; all others are left out (templated). A
        SOPS before 3.9.2 drops it, which is an error before anything is started.
    :param template_schemes_id: id or ids of execution schemes (templated).
    :param simplify_vars: variables to be replaced by their values in the task (templated).
    :param bk_biz_id: the business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :param wait_for_completion: wait for the end; else return ``{}`` as soon as the SOPS task has started.
    :param deferrable: wait in the triggerer, without a worker slot; by default as ``[operators] default_deferrable``
        says.
    :param end_from_trigger: after a good end the trigger pushes the XComs and ends the Airflow task, without another
        worker process, see :class:`~airflow_provider_sops.sensors.sops.SopsTaskSensor`.
    :param poll_interval: seconds or ``timedelta`` between two reads, by default the 10 seconds for which SOPS answers
        from its cache.
    :param push_outputs: push each output as an XCom of its own, as
        :class:`~airflow_provider_sops.operators.sops.SopsGetTaskOutputsOperator` does.
    :param start_timeout: how long the SOPS task may take to start (seconds or ``timedelta``); one that has not started
        then may still start later, as SOPS revokes nothing that has not started; a retry goes on with it.
    :param on_failed: ``fail`` as soon as a node failed and SOPS will not retry it by itself, or ``wait`` for a person
        to retry or skip it.
    :param failed_grace: how long the SOPS task may stay FAILED before this one fails (seconds or ``timedelta``); by
        default not at all for ``fail`` and for ever for ``wait``.
    :param on_suspended: ``wait`` for a person to resume a paused task, or ``fail``.
    :param allowed_states: final states that count as success: FINISHED, REVOKED, EXPIRED.
    :param max_outage: how long failed reads of the status are tolerated (seconds or ``timedelta``).
    :param assume_finished: where only ``get_task_detail`` may be called, an end without outputs may be a finish or a
        revoke; take it for a finish.
    :param revoke_on_kill: revoke the SOPS task when a user ends this one (marks it failed, success or skipped) or
        clears it, or when its time is over. Not when nobody has acted, as when a worker shuts down: a retry goes on
        with the same SOPS task. Before Airflow 3.3 the end of a deferred task is not noticed; a clear is by the next
        try.
    :param on_retry: what a retry does with a failed SOPS task: ``rerun`` (revoke it and run a new one), or
        ``retry_failed_nodes``, which saves what has finished.
    :param on_clear: what a cleared task does: run a ``new`` SOPS task, or ``reattach`` to the one there is, as after a
        person has repaired it.
    :return: the outputs by bare name; empty after an allowed end other than FINISHED.
    :raises SopsTaskFailedException: the SOPS task failed or ended in a state that is not allowed.
    :raises SopsTaskStoppedException: a person has stopped it: no further retries.
    :raises SopsTimedOutException: it has not started, or not ended, in time.
    :raises SopsOutageException: its status could not be read for ``max_outage``.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused.
    :raises SopsConfigException: there is no such template, constant or node.
    """

    fields_read: ClassVar[Mapping[str, Field]] = {
        "template_id": Field(parse_id),
        "template_name": Field(read_text),
        "template_source": Field(read_template_source, required=True),
        "task_name": Field(read_text),
        "constants": Field(read_mapping),
        "flow_type": Field(read_text),
        "exclude_task_nodes_id": Field(read_texts),
        "execute_task_nodes_id": Field(read_some_texts),
        "template_schemes_id": Field(read_schemes),
        "simplify_vars": Field(read_texts),
        **PROJECT_FIELDS,
    }
    template_fields = tuple(fields_read)
    template_fields_renderers: ClassVar[dict[str, str]] = {"constants": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#cde1ff"

    def __init__(
        self,
        *,
        template_id: int | str | XComArg | None = None,
        template_name: str | XComArg | None = None,
        template_source: str | XComArg = "business",
        task_name: str | XComArg | None = None,
        constants: Mapping[str, Any] | XComArg | None = None,
        flow_type: str | XComArg | None = None,
        exclude_task_nodes_id: Iterable[str] | XComArg | None = None,
        execute_task_nodes_id: Iterable[str] | XComArg | None = None,
        template_schemes_id: int | str | Iterable[int | str] | XComArg | None = None,
        simplify_vars: Iterable[str] | XComArg | None = None,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        wait_for_completion: bool = True,
        deferrable: bool | None = None,
        poll_interval: Duration = STATUS_CACHE_SECONDS,
        push_outputs: bool = True,
        start_timeout: Duration = 60.0,
        on_failed: str = "fail",
        failed_grace: Duration | None = None,
        on_suspended: str = "wait",
        allowed_states: Iterable[str] = (TaskState.FINISHED.value,),
        max_outage: Duration = 600.0,
        assume_finished: bool = False,
        revoke_on_kill: bool = True,
        on_retry: str = "rerun",
        on_clear: str = "new",
        end_from_trigger: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (template_id is None) == (template_name is None):
            were = f"template_id={template_id!r}, template_name={template_name!r}"
            raise ValueError(f"template_id, template_name: give one of them, not {were}")
        check_choice("on_retry", on_retry, ("rerun", "retry_failed_nodes"))
        check_choice("on_clear", on_clear, ("new", "reattach"))
        self.template_id: Any = template_id
        self.template_name: Any = template_name
        self.template_source: Any = template_source
        self.task_name: Any = task_name
        self.constants: Any = constants
        self.flow_type: Any = flow_type
        self.exclude_task_nodes_id = listed(exclude_task_nodes_id)
        self.execute_task_nodes_id = listed(execute_task_nodes_id)
        self.template_schemes_id = listed(template_schemes_id)
        self.simplify_vars = listed(simplify_vars)
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.wait_for_completion = wait_for_completion
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.poll_interval = as_seconds("poll_interval", poll_interval)
        if not self.poll_interval:
            raise ValueError("poll_interval: must be more than 0")
        self.push_outputs = push_outputs
        self.start_timeout = as_seconds("start_timeout", start_timeout)
        self.policy = make_policy(
            allowed_states=allowed_states,
            on_failed=on_failed,
            failed_grace=failed_grace,
            on_suspended=on_suspended,
            max_outage=max_outage,
            assume_finished=assume_finished,
        )
        self.revoke_on_kill = revoke_on_kill
        self.on_retry = on_retry
        self.on_clear = on_clear
        # as it was given: Airflow refuses one that is true where it has listeners
        self.end_from_trigger = end_from_trigger
        self._killed = False
        self._attempt: RunAttempt | None = None
        self.note_given()
        if end_from_trigger:
            from airflow_provider_sops.trigger_end import check_end_from_trigger

            check_end_from_trigger(self, defers=deferrable and wait_for_completion)

    @cached_property
    def hook(self) -> SopsHook:
        """The hook of the operator's connection and business."""
        from airflow_provider_sops.hooks.sops import SopsHook

        return SopsHook(self.sops_conn_id, bk_biz_id=self.bk_biz_id, scope=self.scope)

    def execute(self, context: Context) -> dict[str, Any]:
        """Find or start the SOPS task, wait for its end, and push its outputs."""
        return self._begin(context).execute()

    def execute_complete(
        self,
        context: Context,
        event: Any,
        sops_task_id: int | None = None,
        generation: int = 1,
        tag: str = "",
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Go on after the wait in the triggerer.

        :param event: what the trigger has sent. ``dag.test()`` hands over this alone; the rest is found again then.
        """
        return self._begin(context).complete(event, sops_task_id, generation, tag, deadline)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, also after one that Airflow has ended by itself."""
        self._attempt = None
        try:
            return self._resume(next_method, next_kwargs, context)
        except Exception:  # not a further deferral, which is none
            if self._attempt is not None:
                self._attempt.note_bad_end()
            raise

    def _resume(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (AirflowException, TaskDeferralError) as error:
            if not is_trigger_timeout(error) or not self._begin(context).time_out_without_trigger():
                raise

    def on_kill(self) -> None:
        """Revoke the SOPS task, once."""
        if self._killed:
            return
        if self._attempt is not None:
            self._killed = True
            self._attempt.kill()
        elif (context := resumed_context()) is not None:
            self._begin(context).kill_deferred()
        self._killed = True

    def _begin(self, context: Context) -> RunAttempt:
        """Check the arguments and hand the order over; imported now, as an operator is made at each parse of its DAG.

        :raises SopsConfigException: names the argument that was rendered to something wrong.
        """
        from airflow_provider_sops.exceptions import airflow_errors
        from airflow_provider_sops.operators.run_attempt import RunAttempt
        from airflow_provider_sops.operators.run_deferral import run_trigger_end
        from airflow_provider_sops.operators.run_spec import run_spec_of

        with airflow_errors():
            self.read_fields()
        self._attempt = RunAttempt(
            run_spec_of(self),
            context,
            self.hook,
            self.log,
            defer=self.defer,
            trigger_end=run_trigger_end(self, context),
            is_killed=lambda: self._killed,
        )
        return self._attempt
