# SPDX-License-Identifier: Apache-2.0
"""Who may call what: apps and their secrets, tokens of users, and the APIs that an app was granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_sops.testing.endpoints import Refusal


@dataclass(slots=True)
class Caller:
    """Who calls."""

    app: str
    user: str


@dataclass(slots=True)
class Access:
    """What the gateway, the ESB and SOPS know of those who call.

    :param apps: app code -> secret.
    :param trusted_apps: apps for which SOPS does not ask IAM.
    :param user_tokens: bk_token -> user.
    :param access_tokens: access token -> (app code, user); it is enough by itself.
    :param granted: APIs that the app may call; None: all but ``denied``.
    :param removed: APIs that the site does not have.
    :param closed: APIs that SOPS itself refuses to the app.
    """

    apps: dict[str, str]
    trusted_apps: set[str]
    user_tokens: dict[str, str]
    access_tokens: dict[str, tuple[str, str]]
    granted: set[str] | None
    denied: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=lambda: {"dispatch_plugin_query"})

    def is_granted(self, api: str) -> bool:
        """Whether the app may call an API."""
        return api not in self.denied and (self.granted is None or api in self.granted)

    def authenticate(self, given: Mapping[str, str]) -> Caller:
        """Who calls, by their credentials.

        :raises Refusal: the credentials are missing or wrong.
        """
        token = given.get("access_token")
        if token:
            if token not in self.access_tokens:
                raise Refusal(1640102, 'reason="access_token is invalid"')
            app, user = self.access_tokens[token]
            return Caller(app, user)
        app = given.get("bk_app_code", "")
        if not app:
            raise Refusal(1640101, 'reason="please provide bk_app_code"')
        if self.apps.get(app) != given.get("bk_app_secret", ""):
            raise Refusal(1640101, 'reason="bk_app_code or bk_app_secret is incorrect"')
        if given.get("bk_token"):
            if given["bk_token"] not in self.user_tokens:
                raise Refusal(1640102, 'reason="bk_token is invalid"')
            return Caller(app, self.user_tokens[given["bk_token"]])
        if not given.get("bk_username"):
            identity = "a valid user identity, such as bk_username, bk_token, access_token"
            raise Refusal(1640102, f'reason="user authentication failed, please provide {identity}"')
        return Caller(app, given["bk_username"])
