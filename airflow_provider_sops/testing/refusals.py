# SPDX-License-Identifier: Apache-2.0
"""How SOPS says no, by release. Texts and codes of 3.34 are measured, the others are its public source's."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_sops.testing.releases import Release

PARAMETER, FORBIDDEN, NOT_FOUND = 3540000, 3540100, 3540400
INVALID_OPERATION, OPERATION_FAILED = 3545000, 3545100
VALIDATION = 3546100
UNKNOWN = 3599999
NO_PERMISSION = 9900403

Answer = dict[str, Any]


class Crash(Exception):
    """SOPS fails inside: HTTP 500."""


class Stop(Exception):
    """The answer is known already.

    :param traced: whether SOPS puts a trace id into it; not into what it refuses before its view.
    :param status: HTTP status.
    """

    def __init__(self, answer: Answer, *, traced: bool = True, status: int = 200) -> None:
        super().__init__()
        self.answer = answer
        self.traced = traced
        self.status = status


class Refused(Exception):
    """An operation that SOPS refuses.

    :param message: SOPS' words.
    :param code: SOPS' code.
    """

    def __init__(self, message: str, code: int = UNKNOWN) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def refusal(message: Any, code: int, **more: Any) -> Answer:
    """``result: false``."""
    return {"result": False, "message": message, **more, "code": code}


def missing(release: Release, what: str, words: str) -> Stop:
    """Something that SOPS asked its database for is not there.

    :param what: the database's words, e.g. ``TaskFlowInstance(id=7) does not exist.``
    :param words: what 3.3 says.
    """
    if release.has("words of 3.28"):
        message = f"数据不存在错误: 数据不存在错误, 错误内容 {what} | process_exception"
        return Stop(refusal(message, NOT_FOUND, data=None), traced=False)
    if not release.has("scope"):
        return Stop(refusal(words, NOT_FOUND), traced=False)
    if not release.has("IAM"):
        what = re.sub(r"\(id=\d+\) does not exist", " matching query does not exist", what)
    return Stop({"result": False, "message": f"Object not found: {what}"}, traced=False)


def no_place(release: Release, scope_id: int, scope: str) -> Stop:
    """The number in the ``bk_biz_id`` place is nobody's."""
    if release.has("scope"):
        return Stop(refusal(f"project({scope_id}) with scope({scope}) does not exist.", NOT_FOUND), traced=False)
    return Stop(refusal(f"business[bk_biz_id={scope_id}] does not exist", NOT_FOUND), traced=False)


def no_user(user: str) -> Stop:
    """A user who has never been at the page of SOPS, before 3.6."""
    message = f"user[username={user}] does not exist or has not logged in this APP"
    return Stop(refusal(message, NOT_FOUND), traced=False)


def denial(release: Release, user: str, action: str, perm: str, status: int) -> Stop:
    """A user may not do something.

    :param action: the IAM action.
    :param perm: what is lacking, in the words of 3.3, e.g. ``perm[perm=task_operate] of task[id=7]``.
    :param status: HTTP status where SOPS leaves the answer to its permission centre (3.4 to 3.30): 200 or 499.
    """
    if release.has("permission by 3599999"):
        message = f"iam authentication exception, please check, action:{action}"
        return Stop({"result": False, "data": None, "message": message, "code": UNKNOWN})
    if release.has("permission by code"):
        permission = {"system_id": "bk_sops", "system_name": "标准运维", "action_id": action, "action_name": action}
        message = "you have no permission to operate"
        answer = refusal(message, NO_PERMISSION, data={}, permission=[permission])
        return Stop(answer, traced=False, status=status)
    message = f"user[username={user}] does not have {perm}"
    return Stop(refusal(message, FORBIDDEN), traced=False)


def no_node(release: Release, task_id: int, own_id: object, where: str) -> str:
    """A task has no such node.

    :param where: name of the function of SOPS that looked for it.
    """
    if not release.has("words of 3.28"):
        return f"node[node_id={own_id}] not found in task[task_id={task_id}]"
    what = f"任务[ID: {task_id}]中未找到节点[ID: {own_id}]"
    return f"节点状态请求失败: {what}. 请重试. 如持续失败可联系管理员处理 | {where}"
