# SPDX-License-Identifier: Apache-2.0
"""The run operator's tables on every older SOPS, through both endpoints; and what a release cannot do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sops.testing.releases import RELEASES, find_release
from tests.operators.airflow_task import Try
from tests.operators.conftest import World


@pytest.fixture(params=RELEASES[1:])
def release(request: pytest.FixtureRequest) -> str:
    """An older release."""
    return str(request.param)


@pytest.fixture
def world(make_world: Callable[..., World], connect: Callable[..., None], release: str, api_type: str) -> World:
    """A fake SOPS of that release, through one of its endpoints."""
    world = make_world(release=release)
    connect(world.fake, api_type)
    return world


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What tries have failed with, in full."""
    seen: list[str] = []
    execute = Try.execute

    def execute_and_see(one: Try) -> Try:
        executed = execute(one)
        seen.append(str(executed.error))
        return executed

    monkeypatch.setattr(Try, "execute", execute_and_see)
    return seen


@dataclass(frozen=True)
class Lack:
    """What rows of the tables need that not every release has.

    :ivar needs: what a release has that has it, as its table calls it.
    :ivar tests: words in the names of the tests.
    :ivar unless: words in the names of those among them that do without.
    :ivar says: words of what they fail with; empty where the situation is none.
    """

    needs: str
    tests: tuple[str, ...]
    unless: tuple[str, ...] = ()
    says: tuple[str, ...] = ()

    def concerns(self, name: str, release: str) -> bool:
        """Return whether a test meets it."""
        if find_release(release).has(self.needs) or any(word in name for word in self.unless):
            return False
        return any(word in name for word in self.tests)


LACKS = (
    Lack("engine v2", ("test_expired",)),
    Lack("auto retry of nodes", ("sops_retries_by_itself",)),
    Lack("independent subprocesses", ("in_a_task_of_its_own",)),
    Lack("operate_node", ("RetryFailedNodes",), ("may_not_be_retried",), says=("operate_node", "3.5.5")),
    Lack(
        "get_task_list",
        (
            # a retry that would have to find the SOPS task again, and has no memory of it
            "without a store",
            "a_retry_goes_on_with_it",
            "reattached_none_is",
            "one_new_one_is_started",
            "has_just_ended",
            "before_it_is_resumed",
            "a_new_one_is_run",
            "reads_after_its_own_revoke",
            "does_not_say_why_it_is_left_running",
        ),
        unless=("none_creates_one", "Store", "store0", "store1", "3.1 and newer", "3.3 and newer"),
        says=("SOPS counts ", " with the tag ", "get_task_list (SOPS has it since 3.6.22)"),
    ),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out rows that make a world of their own, and situations that a release does not know."""
    items[:] = [item for item in items if not _is_of_here(item) or _is_of_release(item)]


def _is_of_here(item: pytest.Item) -> bool:
    return item.path.parent == Path(__file__).parent


def _is_of_release(item: pytest.Item) -> bool:
    return bool(_release(item)) and all(lack.says for lack in _lacks(item))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Where a release cannot do something, see that it is said, and that nothing runs twice."""
    lacks = _lacks(pyfuncitem)
    if not lacks:
        return (yield)
    with pytest.raises(Exception):  # noqa: B017, PT011 (which one is for the words to say)
        yield
    said: Any = pyfuncitem.funcargs["failures"]
    assert any(all(words in text for words in lack.says) for lack in lacks for text in said), said
    world: Any = pyfuncitem.funcargs["world"]
    world.started()
    return True


def _release(item: pytest.Item) -> str:
    return str(item.callspec.params.get("release", "")) if hasattr(item, "callspec") else ""


def _lacks(item: pytest.Item) -> list[Lack]:
    release = _release(item)
    return [lack for lack in LACKS if release and _is_of_here(item) and lack.concerns(item.nodeid, release)]
