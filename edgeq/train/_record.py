"""Dataclasses from the tables of a TOML file: unknown and missing keys and wrong types are refused by name."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from edgeq._errors import FormatError, UsageError

Record = TypeVar("Record")


def record(where: str, table: str, values: object, kind: type[Record]) -> Record:
    """An instance of the dataclass `kind` from a table whose keys are its fields.

    raises  FormatError naming `table.key`: unknown, missing, of another type, or refused by the dataclass itself
    """
    if not isinstance(values, dict):
        raise FormatError(f"{where}: {table} must be a table")
    types = get_type_hints(kind)
    members = {member.name: member for member in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in members:
            raise FormatError(f"{where}: unknown key {table}.{key}; known: {', '.join(members)}")
    arguments: dict[str, Any] = {}
    for key, member in members.items():
        if key in values:
            arguments[key] = typed(f"{where}: {table}.{key}", values[key], types[key])
        elif member.default is MISSING and member.default_factory is MISSING:
            raise FormatError(f"{where}: {table}.{key} is missing")
    try:
        return kind(**arguments)
    except UsageError as error:
        raise FormatError(f"{where}: {table}.{error}") from error


def typed(where: str, value: object, kind: Any) -> object:
    """`value` as `kind`: a plain type, a Literal, a tuple, or a dict with texts as keys."""
    if kind is float and type(value) is int:
        return float(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise FormatError(f"{where}: must be {' or '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        count = None if arguments[-1] is Ellipsis else len(arguments)
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            raise FormatError(f"{where}: expected {count or 'a list of'} {_plural(arguments[0])}, got {value!r}")
        return tuple(typed(where, item, arguments[0]) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise FormatError(f"{where}: must be a table")
        return {key: typed(f"{where}.{key}", item, arguments[1]) for key, item in value.items()}
    if type(value) is not kind:
        raise FormatError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value


def check_ranges(values: Mapping[str, tuple[float, float, float]]) -> None:
    """Refuse the first of name: (value, low, high) that is outside; raises UsageError."""
    for name, (value, low, high) in values.items():
        if not low <= value <= high:
            raise UsageError(f"{name} must be between {low} and {high}, got {value}")


def _plural(kind: type) -> str:
    return {int: "integers", float: "numbers", str: "texts"}.get(kind, kind.__name__)
