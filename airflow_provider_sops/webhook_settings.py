# SPDX-License-Identifier: Apache-2.0
"""What a connection says of SOPS' webhooks: the tokens that are taken, and the asset that a SOPS task goes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_sops.core.errors import SopsConfigError

#: Fewest characters of a token: it is all that keeps others out.
SHORTEST_TOKEN = 32
#: Tokens that are valid at once, so that one can be changed.
MOST_TOKENS = 2
#: Stands for all templates that are not named, and for tasks without one.
ANY_TEMPLATE = "*"


@dataclass(frozen=True, slots=True)
class WebhookAsset:
    """An asset whose events come of webhooks.

    :param name: of the asset.
    :param by_task: give each event the SOPS task's id as partition key (Airflow 3.2 and newer).
    """

    name: str
    by_task: bool = False


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """What a connection says of webhooks; without a token none is taken."""

    tokens: tuple[str, ...] = field(default=(), repr=False)
    #: by template id, or ``*``
    assets: Mapping[str, WebhookAsset] = field(default_factory=dict)

    def asset_of(self, template_id: int | None) -> WebhookAsset | None:
        """Return the asset that tasks of a template go to; ``None`` where none is named."""
        return self.assets.get(str(template_id)) or self.assets.get(ANY_TEMPLATE)


def parse_webhook_settings(tokens: str, assets: object) -> WebhookSettings:
    """Read the connection's ``webhook_token`` and ``webhook_asset``.

    :raises SopsConfigError: names the field, and what is wrong with it; no token is shown.
    """
    return WebhookSettings(_parse_tokens(tokens), _parse_assets(assets))


def _parse_tokens(text: str) -> tuple[str, ...]:
    tokens = tuple(text.replace(",", " ").split())
    if len(tokens) > MOST_TOKENS:
        raise SopsConfigError("webhook_token", f"holds {len(tokens)} tokens; at most {MOST_TOKENS} are valid at once")
    for token in tokens:
        if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
            raise SopsConfigError(
                "webhook_token",
                f"must have {SHORTEST_TOKEN} or more printable ASCII characters; make one with `openssl rand -hex 32`",
            )
    return tokens


def _parse_assets(given: object) -> dict[str, WebhookAsset]:
    value = given
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            value = json.loads(given)
        except ValueError as error:
            raise SopsConfigError("webhook_asset", f"is no JSON: {error}") from error
    if value in (None, ""):
        return {}
    if isinstance(value, Mapping) and "asset" not in value:
        for template_id in value:
            if template_id != ANY_TEMPLATE and not str(template_id).isdigit():
                raise SopsConfigError("webhook_asset", f"must name templates by id, or *, not {template_id!r}")
        return {str(template_id): _parse_asset(one) for template_id, one in value.items()}
    return {ANY_TEMPLATE: _parse_asset(value)}


def _parse_asset(value: object) -> WebhookAsset:
    options = {"asset": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("asset"), str) or not options["asset"].strip():
        raise SopsConfigError("webhook_asset", 'must be the name of an asset, or like {"asset": "deployed"}')
    partition_key = options.get("partition_key")
    if partition_key not in (None, "", "task") or set(options) - {"asset", "partition_key"}:
        raise SopsConfigError("webhook_asset", 'knows besides "asset" only "partition_key": "task"')
    return WebhookAsset(options["asset"].strip(), by_task=partition_key == "task")
