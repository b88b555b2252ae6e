# SPDX-License-Identifier: Apache-2.0
"""The operator that asks in Airflow what a SOPS task waits for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_sops.compat.required_actions import HAS_REQUIRED_ACTIONS, REQUIRED_ACTIONS_SINCE, params_of
from airflow_provider_sops.connection import DEFAULT_CONN_ID
from airflow_provider_sops.core.states import TaskState
from airflow_provider_sops.core.wait.policy import check_choice
from airflow_provider_sops.links.sops import SopsTaskLink
from airflow_provider_sops.operator_arguments import (
    TASK,
    Duration,
    Field,
    Templated,
    as_seconds,
    make_policy,
    read_text,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context, XComArg

#: Seconds between two reads of the SOPS task: for so long SOPS answers from its cache.
_POLL_INTERVAL = 10.0
ON_REJECT = ("fail", "skip", "revoke")
ON_TIMEOUT = ("approve", "reject", "fail")


def _check_airflow() -> None:
    if not HAS_REQUIRED_ACTIONS:
        raise ValueError(
            f"SopsApprovalOperator needs Airflow {REQUIRED_ACTIONS_SINCE} or newer, which has Required Actions. "
            "Before, confirm the node from the DAG with SopsOperateNodeOperator (action='callback'), or in SOPS."
        )


class SopsApprovalOperator(Templated, BaseOperator):
    """Ask in Airflow (Required Actions) what a SOPS task waits for at a pause node, and carry the answer out.

    It waits, deferred throughout, until the SOPS task has come to the node, then asks. *Approve* confirms the node, at
    most once; *Reject* does what ``on_reject`` says. Where somebody is quicker in SOPS, the question is closed and the
    task succeeds. It returns ``{sops_task_id, sops_node_id, sops_node_name, answer, answered_in, answered_by,
    answered_at, params}``: ``answer`` is ``Approve``, or ``Reject`` where ``on_reject`` lets it return;
    ``answered_in`` is ``airflow``, ``sops`` or ``timeout``. Airflow 3.1 and newer.

    :param sops_task_id: the SOPS task, an int, a string or an XComArg (templated).
    :param sops_node_name: the name of the pause node (templated).
    :param sops_node_id: its id in the SOPS task (templated). Without either, the only pause node there is.
    :param on_reject: what a rejection does: ``fail``, ``skip`` this task, or ``revoke`` the SOPS task and fail.
    :param response_timeout: how long an answer may take (seconds or ``timedelta``), from the question on; ``None``: any
        time.
    :param on_timeout: what follows when nobody has answered in time: ``approve``, ``reject`` or ``fail``.
    :param assigned_users: who may answer, ``{"id": …, "name": …}`` or a list of such; by default everyone who may
        answer Required Actions.
    :param notifiers: notifiers to call when it has asked, one or several.
    :param params: fields of a form beside the question, as of Airflow's ``ApprovalOperator``; the values go along as
        the callback's data.
    :param allowed_states: final states of the SOPS task that count as success, should it end meanwhile.
    :param on_failed: ``fail`` when the SOPS task fails meanwhile, or ``wait`` for a person to retry or skip its node.
    :param failed_grace: how long the SOPS task may stay FAILED before this fails (seconds or ``timedelta``); by default
        not at all for ``fail`` and for ever for ``wait``.
    :param max_outage: how long SOPS may be away, also when an answer is to be carried out (seconds or ``timedelta``).
    :param poll_interval: seconds or ``timedelta`` between two reads; not less than the 10 seconds of SOPS' cache.
    :param bk_biz_id: the business (or project, see ``scope``); by default the connection's (templated).
    :param scope: what ``bk_biz_id`` is, ``cmdb_biz`` or ``project``; by default the connection's (templated).
    :param sops_conn_id: the connection (templated).
    :raises ValueError: an argument is wrong, or Airflow is older than 3.1.
    :raises SopsApprovalRejectedException: it was rejected.
    :raises SopsApprovalTimeoutException: nobody has answered in time.
    :raises SopsTaskFailedException: the SOPS task failed or ended badly meanwhile, or nothing has come of the answer.
    :raises SopsOutageException: SOPS was away for longer than ``max_outage``.
    :raises SopsException: (one of its kinds) SOPS or its gateway refused, in its own words.
    :raises SopsConfigException: the SOPS task has no such pause node, or several.
    """

    fields_read: ClassVar[Mapping[str, Field]] = {
        **TASK,
        "sops_node_name": Field(read_text),
        "sops_node_id": Field(read_text),
    }
    template_fields = tuple(fields_read)
    operator_extra_links: Collection[BaseOperatorLink] = (SopsTaskLink(),)
    ui_color = "#e1ecff"

    def __init__(
        self,
        *,
        sops_task_id: int | str | XComArg,
        sops_node_name: str | XComArg | None = None,
        sops_node_id: str | XComArg | None = None,
        on_reject: str = "fail",
        response_timeout: Duration | None = None,
        on_timeout: str = "fail",
        assigned_users: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
        notifiers: Any = (),
        params: Any = None,
        allowed_states: Iterable[str] = (TaskState.FINISHED.value,),
        on_failed: str = "fail",
        failed_grace: Duration | None = None,
        max_outage: Duration = 600.0,
        poll_interval: Duration = _POLL_INTERVAL,
        bk_biz_id: int | str | XComArg | None = None,
        scope: str | XComArg | None = None,
        sops_conn_id: str | XComArg = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        _check_airflow()
        super().__init__(**kwargs)
        _check_choices(sops_node_id, sops_node_name, on_reject, on_timeout)
        self.policy = make_policy(
            allowed_states=allowed_states,
            on_failed=on_failed,
            failed_grace=failed_grace,
            on_suspended="wait",
            max_outage=max_outage,
        )
        self.sops_task_id: Any = sops_task_id
        self.sops_node_name: Any = sops_node_name
        self.sops_node_id: Any = sops_node_id
        self.on_reject = on_reject
        self.response_timeout = None if response_timeout is None else as_seconds("response_timeout", response_timeout)
        self.on_timeout = on_timeout
        self.assigned_users = _users(assigned_users)
        self.notifiers = [notifiers] if callable(notifiers) else list(notifiers or ())
        self.params = params_of(params)
        self.poll_interval = max(_POLL_INTERVAL, as_seconds("poll_interval", poll_interval))
        self.bk_biz_id: Any = bk_biz_id
        self.scope: Any = scope
        self.sops_conn_id: Any = sops_conn_id
        self.note_given()

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Begin a mapped task, as Airflow does."""
        _check_airflow()
        return super().partial(**kwargs)

    def execute(self, context: Context) -> Any:
        """Ask, if the SOPS task has come to the node, and defer."""
        from airflow_provider_sops.operators.approval_work import ApprovalWork

        return ApprovalWork(self, context).begin()

    def execute_complete(self, context: Context, event: Any, state: Any = None) -> Any:
        """Go on after a deferral.

        :param event: what the trigger has sent; or, on Airflow 3.3, the response with which Airflow resumes the task.
        :param state: what was known at the deferral.
        """
        from airflow_provider_sops.operators.approval_work import ApprovalWork

        return ApprovalWork(self, context).resume(event, state)


def _check_choices(sops_node_id: Any, sops_node_name: Any, on_reject: str, on_timeout: str) -> None:
    """Refuse what cannot be.

    :raises ValueError: names the argument.
    """
    if sops_node_id is not None and sops_node_name is not None:
        raise ValueError("sops_node_id, sops_node_name: give one of them, or none for the only pause node")
    check_choice("on_reject", on_reject, ON_REJECT)
    check_choice("on_timeout", on_timeout, ON_TIMEOUT)


def _users(users: Any) -> list[dict[str, str]]:
    """Read who may answer.

    :raises ValueError: it is none.
    """
    given = [users] if isinstance(users, Mapping) else list(users or ())
    for user in given:
        if not isinstance(user, Mapping) or not {"id", "name"} <= set(user):
            raise ValueError(f'assigned_users: each is a dict {{"id": …, "name": …}}, not {user!r}')
    return [{"id": str(user["id"]), "name": str(user["name"])} for user in given]
