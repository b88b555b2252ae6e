# SPDX-License-Identifier: Apache-2.0
"""The table of situations on every older SOPS, through both endpoints, poked and deferred."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_sops.testing.releases import RELEASES, find_release
from tests.sensors.test_sops import Run, check, start  # noqa: F401 (a fixture)
from tests.triggers.test_verdict_cases import busy, defer  # noqa: F401 (fixtures)
from tests.verdict_cases import CASES, MINUTE, Case

MODES = ("poked", "deferred")
#: What a situation needs to be one, by words in its name.
NEEDS = {"expires": "engine v2", "SOPS retries by itself": "auto retry of nodes"}
#: Words of what an old site answers, which these situations put into the newest one's answers.
SIMULATED = ("nothing is told", "only the counts are told", "a batch does not say", "named after a class")


def of_release(case: Case, release: str) -> Case | None:
    """Return a situation as it is on a release; ``None`` where it is none, or is of a release by itself."""
    sops = find_release(release)
    if "release" in case.fake or any(words in case.name for words in SIMULATED):
        return None
    if any(words in case.name and not sops.has(needed) for words, needed in NEEDS.items()):
        return None
    says, within = case.says, case.within
    if not sops.has("get_task_node_log"):
        says = tuple(words for words in says if "log: [" not in words and "][ERROR]" not in words)
    if not sops.has("permission by code"):  # nor does it say which permission is missing, and asks no IAM
        says = tuple(words.replace("the permission 'task_view'", "this permission in SOPS") for words in says)
    if "deleted" in case.name and not sops.has("get_tasks_status.is_deleted"):
        within = max(within, 15 * MINUTE)  # a batch does not tell, but a read for the log does every ten minutes
    return replace(case, fake={**case.fake, "release": release}, says=says, within=within)


SITUATIONS = [
    (release, situation)
    for case in CASES
    for release in RELEASES[1:]
    if (situation := of_release(case, release)) is not None
]


@pytest.mark.one_way_each(mode=MODES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("release", "case"), SITUATIONS, ids=str)
def test_situation(
    release: str,
    case: Case,
    api_type: str,
    mode: str,
    start: Callable[..., Run],  # noqa: F811
    defer: Callable[..., None],  # noqa: F811
) -> None:
    run = start(case, api_type)
    if mode == "poked":
        run.poke()
    else:
        defer(run)
    check(run)
