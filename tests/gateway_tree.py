# SPDX-License-Identifier: Apache-2.0
"""A pipeline tree with an exclusive gateway, as one may be posted to SOPS."""

from __future__ import annotations

from typing import Any

#: Flows out of the gateway, with the nodes that they lead to.
TO_A, TO_B = "l" + "a" * 31, "l" + "b" * 31
WAYS = {TO_A: "a", TO_B: "b"}
_IDS = {name: "n" + letter * 31 for name, letter in zip(("start", "end", "which", "a", "b"), "01234", strict=True)}
_BEGIN, _FROM_A, _FROM_B = ("l" + letter * 31 for letter in "012")
_FLOWS = {
    _BEGIN: ("start", "which"),
    TO_A: ("which", "a"),
    TO_B: ("which", "b"),
    _FROM_A: ("a", "end"),
    _FROM_B: ("b", "end"),
}


def gateway_tree(to_a: str, to_b: str, *, default: str = "") -> dict[str, Any]:
    """Return a tree in which a gateway named "which" leads to node "a" or "b".

    :param to_a: condition of the first way.
    :param default: the flow that is taken where no condition holds.
    """
    return {
        "start_event": {"id": _IDS["start"], "type": "EmptyStartEvent", "name": "", "incoming": "", "outgoing": _BEGIN},
        "end_event": {
            "id": _IDS["end"],
            "type": "EmptyEndEvent",
            "name": "",
            "incoming": [_FROM_A, _FROM_B],
            "outgoing": "",
        },
        "activities": {_IDS["a"]: _display("a", TO_A, _FROM_A), _IDS["b"]: _display("b", TO_B, _FROM_B)},
        "gateways": {
            _IDS["which"]: {
                "id": _IDS["which"],
                "type": "ExclusiveGateway",
                "name": "which",
                "incoming": [_BEGIN],
                "outgoing": [TO_A, TO_B],
                "conditions": {TO_A: {"evaluate": to_a}, TO_B: {"evaluate": to_b}},
            }
        },
        "flows": {
            own: {"id": own, "is_default": own == default, "source": _IDS[source], "target": _IDS[target]}
            for own, (source, target) in _FLOWS.items()
        },
        "constants": {},
        "outputs": [],
    }


def _display(name: str, incoming: str, outgoing: str) -> dict[str, Any]:
    return {
        "id": _IDS[name],
        "type": "ServiceActivity",
        "name": name,
        "optional": True,
        "component": {"code": "bk_display", "data": {}},
        "incoming": [incoming],
        "outgoing": outgoing,
    }
