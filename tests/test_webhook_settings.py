# SPDX-License-Identifier: Apache-2.0
"""What a connection says of webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.webhook_settings import WebhookAsset, parse_webhook_settings

ONE, TWO = "a" * 32, "b" * 40
MAP = {"101": "deployed", "*": {"asset": "others", "partition_key": "task"}}
OTHERS = WebhookAsset("others", by_task=True)


@pytest.mark.parametrize("text", [f"{ONE} {TWO}", f"{ONE},{TWO}", f" {ONE} ,\n{TWO} "])
def test_two_tokens_may_be_valid_at_once(text: str) -> None:
    settings = parse_webhook_settings(text, None)
    assert settings.tokens == (ONE, TWO)
    assert ONE not in repr(settings)


@pytest.mark.parametrize("text", ["short", f"{ONE} {TWO} {ONE}c", "ä" * 40])
def test_a_wrong_token_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SopsConfigError, match="webhook_token") as caught:
        parse_webhook_settings(text, None)
    assert text not in str(caught.value)


@pytest.mark.parametrize("given", [MAP, '{"101": "deployed", "*": {"asset": "others", "partition_key": "task"}}'])
def test_a_map_names_the_assets(given: Any) -> None:
    settings = parse_webhook_settings(ONE, given)
    assert settings.asset_of(101) == WebhookAsset("deployed")
    assert settings.asset_of(7) == settings.asset_of(None) == OTHERS


def test_a_name_stands_for_all_templates() -> None:
    assert parse_webhook_settings(ONE, "deployed").asset_of(None) == WebhookAsset("deployed")
    assert parse_webhook_settings(ONE, {"asset": "others", "partition_key": "task"}).asset_of(1) == OTHERS
    assert parse_webhook_settings(ONE, {"101": "deployed"}).asset_of(7) is None


@pytest.mark.parametrize(
    "given", ["{", "{1}", {"x": "deployed"}, {"101": 7}, {"101": ""}, {"asset": "a", "partition_key": "x"}, [1], 7]
)
def test_a_wrong_map_is_refused(given: Any) -> None:
    with pytest.raises(SopsConfigError, match="webhook_asset"):
        parse_webhook_settings(ONE, given)
