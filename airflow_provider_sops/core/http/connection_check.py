# SPDX-License-Identifier: Apache-2.0
"""What the button ``Test`` of a connection says: whether a wait can work, tried by a few cheap questions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_sops.core import errors
from airflow_provider_sops.core.api.refusals import APP_NOT_LISTED
from airflow_provider_sops.core.api.sops_releases import since
from airflow_provider_sops.core.errors import looks_missing, perhaps_missing
from airflow_provider_sops.core.http.client import SopsClient

PROJECTS, TASKS, TEMPLATES = "get_user_project_list", "get_task_list", "get_template_list"
DETAIL, STATUS = "get_task_detail", "get_task_status"
#: What it means that the app may not call an API; of the others it is said how to get the permission.
_NOT_NEEDED: Mapping[str, str] = {PROJECTS: "which only this test calls"}
_APPLY = "apply for it in the BlueKing developer center"
#: What it costs that a site does not have an API.
_COSTS: Mapping[str, str] = {TASKS: ", so a retry cannot find its SOPS task again"}


@dataclass(frozen=True, slots=True)
class _Probe:
    """What trying one API gave."""

    name: str
    text: str
    #: the app may call it
    granted: bool = False
    #: the credentials were looked at and found right
    known: bool = True
    #: nothing more can be found out
    fatal: bool = False
    #: SOPS itself has answered
    answered: bool = False
    #: it is not there, or nothing is, for now; this says what was met
    unsure: str = ""
    #: a redirect was met, as a login page has too
    redirected: bool = False
    #: the site does not have it
    missing: bool = False
    #: SOPS does not know the business
    no_business: bool = False
    #: the user may not see what was asked for; which permission is missing
    denied: str = ""
    #: SOPS trusts the app, and so asks IAM for nothing
    trusted: bool = False
    #: the answer's data
    data: Any = None


class _Stop(Exception):
    """Nothing more can be found out; says why."""


def probe(client: SopsClient, bk_biz_id: int | None) -> tuple[bool, str]:
    """Try a few APIs, each once or twice, and put what was seen into one sentence.

    Tried are ``get_user_project_list``, the cheapest API that proves the credentials; ``get_task_list``, to look at a
    task of the business, where it is granted, or ``get_template_list`` where SOPS does not have it; and
    ``get_task_detail``, else ``get_task_status``, of which every wait needs one. An API that is redirected is asked
    once more when another has answered: then this SOPS does not have it, which the sentence says with what it costs.

    :param client: one that tries each call once: whoever presses a button does not want to wait.
    :param bk_biz_id: business (or project) of the connection, if it names one.
    :return: whether a wait can work, and the sentence.
    :raises errors.SopsConfigError: certificates or proxy cannot be used.
    """
    try:
        return _Probing(client, bk_biz_id).run()
    except _Stop as stop:
        return False, str(stop)


class _Probing:
    def __init__(self, client: SopsClient, bk_biz_id: int | None) -> None:
        self.client, self.bk_biz_id = client, bk_biz_id
        self._params: dict[str, dict[str, Any]] = {}
        #: by API, in the order in which they are shown
        self.seen: dict[str, _Probe] = {}

    def run(self) -> tuple[bool, str]:
        """Ask, and say what was seen.

        :raises _Stop: nothing more can be found out.
        """
        self._try(PROJECTS)
        if self.bk_biz_id is not None:
            self._try(TASKS, bk_biz_id=self.bk_biz_id, limit=1, without_count=True)
        task_id = _task_in(self.seen.get(TASKS))
        # else any id will do: that there is no such task says that it may be asked for
        task = {"task_id": task_id or 1, "bk_biz_id": self.bk_biz_id or 1}
        if not self._try(DETAIL, **task).granted:  # the status alone would do
            self._try(STATUS, **task)
        self._settle()
        shown = [one for one in self.seen.values() if one.name != TASKS or one.missing]
        address = self.client.endpoint.base_url
        text = "; ".join(one.text for one in shown)
        if not any(one.known for one in shown):
            return False, (
                f"{address} answers, but seems to be no address of SOPS' API ({text}): "
                "check the connection's host and api_type."
            )
        problem = self._obstacle(task_id)
        if problem:
            text += f"; but {problem}"
        works = not problem and any(read.granted for read in self._reads)
        return works, f"{address} answers and the credentials are right; {text}."

    @property
    def _reads(self) -> list[_Probe]:
        return [self.seen[name] for name in (DETAIL, STATUS) if name in self.seen]

    def _try(self, name: str, **params: Any) -> _Probe:
        found = _probe_one(self.client, name, params)
        if found.fatal:
            raise _Stop(found.text)
        self._params[name] = params
        self.seen[name] = found
        return found

    def _settle(self) -> None:
        """Find out what the site does not have, and what is just away.

        The client decides it, see :class:`~airflow_provider_sops.core.http.api_availability.ApiAvailability`; for that,
        what may be either has to be asked for once more, after another API that has answered and answers again.

        :raises _Stop: it is the whole site that redirects, or it does so now and then.
        """
        unsure = [one for one in self.seen.values() if one.unsure]
        answered = next((one.name for one in self.seen.values() if one.answered), None)
        if unsure and answered is not None:
            self._try(answered, **self._params[answered])
            unsure = [self._try(one.name, **self._params[one.name]) for one in unsure]
        for one in unsure:
            if one.redirected:
                raise _Stop(one.unsure)
            if one.unsure and answered is not None:
                self.seen[one.name] = replace(one, text=one.unsure.rstrip("."))

    def _newest(self) -> _Probe | None:
        """Return what the list of tasks gave, or in its place, for what the user may see, that of templates."""
        newest = self.seen.get(TASKS)
        if newest is None or not newest.missing:
            return newest
        return _probe_one(self.client, TEMPLATES, {"bk_biz_id": self.bk_biz_id})

    def _obstacle(self, task_id: int | None) -> str:
        """Return why no wait could work though the credentials are right; empty when no obstacle is known.

        :param task_id: the task that was looked at, where there is one.
        """
        projects, newest, reads = self.seen[PROJECTS], self._newest(), self._reads
        scope, bk_biz_id = self.client.scope, self.bk_biz_id
        project = f"{scope} {bk_biz_id}"
        if bk_biz_id is not None and any(read.no_business for read in reads):
            return f"SOPS knows no {project}: check bk_biz_id and scope"
        name = self.client.endpoint.credentials.bk_username
        user = f"user {name!r}" if name else "the user of the token"
        advice = "give this user project_view and task_view in BlueKing's permission center (IAM)"
        if newest is not None and newest.denied:
            return f"{user} may not see {project} ({newest.denied}): {advice}"
        if task_id is not None and reads[-1].denied:  # of a task that is made up, a denial says nothing
            return f"{user} may not see its newest task {task_id} ({reads[-1].denied}): {advice}"
        if newest is not None and newest.granted:
            return ""
        if not isinstance(projects.data, list) or any(read.trusted for read in reads):
            return ""
        if not projects.data:
            return f"{user} may see no project: {advice}"
        field = "bk_biz_id" if scope == "cmdb_biz" else "project_id"
        visible = {str(row.get(field)) for row in projects.data if isinstance(row, dict)}
        if bk_biz_id is not None and str(bk_biz_id) not in visible:
            return f"{user} may not see {project}: {advice}"
        return ""


def _task_in(newest: _Probe | None) -> int | None:
    rows = newest.data if newest is not None else None
    row = rows[0] if isinstance(rows, list) and rows else None
    task_id = row.get("id") if isinstance(row, dict) else None
    return task_id if isinstance(task_id, int) and task_id > 0 else None


def _probe_one(client: SopsClient, name: str, params: Mapping[str, Any]) -> _Probe:
    granted = f"{name}: granted"
    try:
        answer = client.call(name, **params)
    except errors.SopsApiPermissionError as error:
        # SOPS' own list of apps is another one than the gateway's
        of_sops = error.code == APP_NOT_LISTED
        whose = "SOPS does not let this app call it" if of_sops else "no permission for this API"
        return _Probe(name, f"{name}: {whose}, {_NOT_NEEDED.get(name, _APPLY)}", answered=of_sops)
    except errors.SopsNotFoundError as error:
        said = error.remote_message or ""
        project = params.get("bk_biz_id")
        # 3.3 names the business of a task that it does not know, too
        no_business = bool(re.search(rf"project\({project}\)|^business\[(bk_biz_id=)?{project}\]", said))
        # for an app that it does not trust, SOPS looks for the task when it asks IAM, and then has other words
        trusted = f"[API] {name} task[id=" in said
        return _Probe(name, granted, answered=True, granted=True, no_business=no_business, trusted=trusted)
    except errors.SopsIamDeniedError as error:
        denied = error.remote_message or "IAM denies it"
        return _Probe(name, granted, answered=True, granted=True, denied=denied)
    except errors.SopsApiError as error:
        return _Probe(name, f"{granted}, but SOPS says {error.remote_message}", answered=True)
    except errors.SopsError as error:
        if not looks_missing(error):
            return _Probe(name, str(error), fatal=True)
        text = f"{name}: this site does not have it{since(name)}{_COSTS.get(name, '')}"
        if not perhaps_missing(error):
            return _Probe(name, text, known=False, missing=True)
        redirected = not isinstance(error, errors.SopsApiNotFoundError)
        return _Probe(name, text, known=False, unsure=str(error), redirected=redirected)
    counts = name == PROJECTS and isinstance(answer.data, list)
    seen = f" ({len(answer.data)} projects)" if counts else ""
    return _Probe(name, f"{granted}{seen}", answered=True, granted=True, data=answer.data)
