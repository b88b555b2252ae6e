# SPDX-License-Identifier: Apache-2.0
"""Ids as SOPS makes them, but always the same for the same things."""

from __future__ import annotations

import hashlib


def node_id(*parts: object) -> str:
    """Id in SOPS' form (``n`` and 31 hex digits), always the same for the same parts."""
    return "n" + digest(*parts)[1:]


def line_id(*parts: object) -> str:
    """Id of a flow in SOPS' form (``l`` and 31 hex digits)."""
    return "l" + digest(*parts)[1:]


def version_id(*parts: object) -> str:
    """Version of a run of a node in SOPS' form (``v`` and 32 hex digits)."""
    return "v" + digest(*parts)


def digest(*parts: object) -> str:
    return hashlib.md5(":".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
