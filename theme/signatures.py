# SPDX-License-Identifier: Apache-2.0
"""Puts values in the place of the names of constants, and shows the arguments of a named tuple."""

from __future__ import annotations

import ast
from typing import Any

from griffe import (
    Attribute,
    Class,
    Expr,
    ExprAttribute,
    ExprCall,
    ExprName,
    ExprSubscript,
    ExprTuple,
    Extension,
    Function,
    Module,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)


class Signatures(Extension):
    """Makes the signatures say what a caller wants to know."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Complete all signatures of a package that has been read."""
        self._package = pkg
        self._complete(pkg)

    def _complete(self, found: Object) -> None:
        for member in [*found.members.values()]:
            if member.is_alias:
                continue
            if isinstance(member, Class) and any(str(base) == "NamedTuple" for base in member.bases):
                member.set_member("__init__", _constructor(member))
            if isinstance(member, Function):
                for parameter in member.parameters:
                    parameter.default = self._shown(parameter.default)
            elif isinstance(member, Object):
                self._complete(member)

    def _shown(self, default: str | Expr | None) -> str | Expr | None:
        if not isinstance(default, Expr):
            return default
        try:
            return repr(self._value(default))
        except (KeyError, ValueError):
            return default  # such as dict(), or a function

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return ast.literal_eval(value)
            case ExprTuple():
                return tuple(self._value(element) for element in value.elements)
            case ExprSubscript():
                return self._value(value.left)[self._value(value.slice)]
            case ExprCall() if str(value.function) == "float":
                return float(self._value(value.arguments[0]))
            case ExprAttribute() | ExprName():
                path = value.canonical_path.removeprefix(f"{self._package.path}.").removesuffix(".value")
                if (constant := self._package[path]).is_attribute:
                    return self._value(constant.value)
        raise ValueError(value)


def _constructor(named_tuple: Class) -> Function:
    """Make the constructor that a named tuple gets from its fields."""
    fields = [
        Parameter(
            field.name, annotation=field.annotation, kind=ParameterKind.positional_or_keyword, default=field.value
        )
        for field in named_tuple.members.values()
        if isinstance(field, Attribute) and "instance-attribute" in field.labels
    ]
    itself = Parameter("self", kind=ParameterKind.positional_or_keyword)
    return Function("__init__", parameters=Parameters(itself, *fields))
