# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_sops.testing``: a fake SOPS in the foreground."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import urllib.parse
from collections.abc import Sequence
from typing import Any

from airflow_provider_sops.testing.fake import FakeSops
from airflow_provider_sops.testing.releases import NEWEST, RELEASES


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_sops.testing",
        description="A fake SOPS server for tests and demonstrations. It speaks both endpoints of BlueKing SOPS.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0: a free one (default)")
    parser.add_argument(
        "--release", choices=RELEASES, default=NEWEST, help="which SOPS it is (default: %(default)s, as measured)"
    )
    parser.add_argument("--templates", metavar="FILE", help="TOML file with templates instead of the default set")
    parser.add_argument(
        "--grant", dest="granted", metavar="API", nargs="+", help="the only APIs that the app may call (default: all)"
    )
    parser.add_argument("--replicas", type=int, default=1, help="web processes, each with its own caches")
    parser.add_argument(
        "--no-caches", dest="caches", action="store_false", help="without SOPS' caches of 10 and 60 seconds"
    )
    parser.add_argument("--start-delay", type=float, default=0.1, help="seconds from start_task to the start")
    parser.add_argument(
        "--seed-tasks", metavar="TEMPLATE", nargs="+", default=[], help="make and start a task of each of these"
    )
    return parser.parse_args(argv)


def connection_uri(connection: dict[str, Any]) -> str:
    """The connection as an Airflow URI."""

    def quoted(text: str) -> str:
        return urllib.parse.quote(text, safe="")

    extra = urllib.parse.urlencode({"__extra__": json.dumps(connection["extra"])}, quote_via=urllib.parse.quote)
    login = f"{quoted(connection['login'])}:{quoted(connection['password'])}"
    return f"{connection['conn_type']}://{login}@{quoted(connection['host'])}/?{extra}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM.

    :return: exit code.
    """
    options = vars(_arguments(argv))  # those of FakeSops, and:
    seed_tasks = options.pop("seed_tasks")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        fake = FakeSops(**options)
        seeds = [fake.site.template(int(name) if name.isdigit() else name) for name in seed_tasks]
        fake.start()
    except KeyError as error:  # no such template
        print(error.args[0], file=sys.stderr)
        return 1
    except ValueError as error:  # the template file is wrong
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        what = error.filename or f"{options['host']}:{options['port']}"
        print(f"cannot use {what}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        print(fake.url)
        print(json.dumps(fake.connection(), ensure_ascii=False))
        print(f"AIRFLOW_CONN_SOPS_DEFAULT={connection_uri(fake.connection())}", flush=True)
        for template in seeds:
            print(f"task {fake.create_task(template.id)}: {template.name}", flush=True)
        stopped.wait()
    finally:
        fake.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
