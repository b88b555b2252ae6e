# SPDX-License-Identifier: Apache-2.0
"""Fill in the connection form of Airflow 2 as a browser does, and run a DAG: `fill_in.py STEPS_JSON RESULT_FILE`.

A process of its own, since a web server and a real run change Airflow's settings for the rest of their process.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from airflow import settings
from airflow.configuration import AIRFLOW_HOME
from airflow.models import Connection
from airflow.utils.db import initdb
from airflow.utils.session import create_session

from airflow_provider_sops.connection import EXTRA_FIELDS

DAGS = Path(__file__).parent.parent / "ui" / "dags"


class Form(HTMLParser):
    """The fields of a page's forms and what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._area = self._choice = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an input's value or a chosen option."""
        given = {name: value or "" for name, value in attrs}
        if tag == "input" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "textarea":
            self._area = given["name"]
            self.fields[self._area] = ""
        elif tag == "select":
            self._choice = given.get("name", "")
        elif tag == "option" and "selected" in given:
            self.fields[self._choice] = given["value"]

    def handle_endtag(self, tag: str) -> None:
        """End a text area."""
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        """Take what stands in a text area."""
        if self._area:
            self.fields[self._area] += data


class Browser:
    """Opens and sends forms of Airflow's own web server, in this process."""

    def __init__(self) -> None:
        Path(AIRFLOW_HOME, "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n")
        from airflow.www.app import create_app

        self._client = create_app().test_client()
        self.pages: list[str] = []

    def send(self, path: str, typed: dict[str, Any]) -> None:
        """Open a form, type into some fields and send it."""
        opened = self._client.get(path)
        assert opened.status_code == 200, opened.text
        self.pages.append(opened.text)
        sent = self._client.post(path, data=_of_this_type(Form(opened.text).fields) | typed)
        wrong = re.findall(r'class="alert[^>]*>(.*?)</', sent.text, re.DOTALL)
        assert sent.status_code == 302, (path, sent.status_code, wrong)  # else the form is shown again


def _of_this_type(fields: dict[str, str]) -> dict[str, str]:
    """Leave the other types' fields out, as the page's script does."""
    return {
        name: value
        for name, value in fields.items()
        if name.startswith("extra__sops__") or not name.startswith("extra__")
    }


def spelled(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields the names that they have in the page."""
    return {f"extra__sops__{name}" if name in EXTRA_FIELDS else name: value for name, value in fields.items()}


def number_of(conn_id: str) -> int:
    with create_session() as session:
        return int(session.query(Connection.id).filter(Connection.conn_id == conn_id).scalar())


def read(conn_ids: list[str]) -> dict[str, Any]:
    """Run the DAG that says what the hook reads."""
    sys.path.insert(0, str(DAGS))
    run = importlib.import_module("read_connections").read_connections().test(run_conf={"conn_ids": conn_ids})
    assert run.state == "success", run
    instances = [instance for instance in run.get_task_instances() if instance.task_id == "read"]
    return {
        conn_ids[instance.map_index]: instance.xcom_pull("read", map_indexes=instance.map_index)
        for instance in instances
    }


def main() -> None:
    """Take each step, which is a form's fields or the ids of the connections to read; write what came of it."""
    steps, result_file = json.loads(sys.argv[1]), Path(sys.argv[2])
    settings.initialize()  # type: ignore[no-untyped-call]
    initdb()
    # after Airflow's own filters, so that they do not hide these
    warnings.filterwarnings("error", module="airflow_provider_sops")
    browser, results = Browser(), []
    for step in steps:
        if "add" in step:
            browser.send("/connection/add", spelled({"conn_id": step["add"], "conn_type": "sops", **step["fields"]}))
        elif "import" in step:
            with create_session() as session:
                session.add(Connection(conn_id=step["import"], **step["fields"]))
        elif "edit" in step:
            browser.send(f"/connection/edit/{number_of(step['edit'])}", spelled(step["fields"]))
        else:
            results.append(read(step["read"]))
    result_file.write_text(json.dumps({"pages": browser.pages, "read": results}))


if __name__ == "__main__":
    main()
