# SPDX-License-Identifier: Apache-2.0
"""An XCom backend that stores values in a form of its own, and reads no other."""

from __future__ import annotations

from typing import Any

try:
    from airflow.sdk.bases.xcom import BaseXCom
except ImportError:  # before Airflow 3.0
    from airflow.models.xcom import BaseXCom  # type: ignore[attr-defined, no-redef, unused-ignore]

_OWN = "stored_by_the_backend"


class OwnForm(BaseXCom):
    """Wraps each value."""

    @staticmethod
    def serialize_value(value: Any, **kwargs: Any) -> Any:
        return BaseXCom.serialize_value({_OWN: value})

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        stored = BaseXCom.deserialize_value(result)
        if not isinstance(stored, dict) or set(stored) != {_OWN}:
            raise ValueError(f"not stored by this backend: {stored!r}")
        return stored[_OWN]
