"""JSON into dataclasses, strictly: an unknown, missing or unfit value is refused by its path."""

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

T = TypeVar('T')


def read_object(cls: type[T], value: object, where: str) -> T:
    """Builds a dataclass from parsed JSON; names the path of what does not fit."""
    if not isinstance(value, dict):
        raise ValueError(f'{where}: found {type(value).__name__}, expected an object')
    require_keys(cls, value, where)
    hints = typing.get_type_hints(cls)
    return cls(
        **{key: read_value(hints[key], item, f'{where}.{key}') for key, item in value.items()}
    )


def require_keys(cls: type, value: dict[str, Any], where: str) -> None:
    """Refuses keys that are no fields of this dataclass, and fields that are missing."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(set(value) - set(fields)):
        raise ValueError(
            f'{where}: unknown {", ".join(unknown)}; known are {", ".join(sorted(fields))}'
        )
    missing = sorted(
        name
        for name, field in fields.items()
        if name not in value and field.default is dataclasses.MISSING
    )
    if missing:
        raise ValueError(f'{where}: {", ".join(missing)} missing')


def read_value(hint: Any, value: object, where: str) -> Any:
    """The value of a field, as its type says."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value in allowed and type(value) in {type(item) for item in allowed}:
            return value
        raise ValueError(f'{where}: found {value!r}, expected one of {allowed}')
    if origin is list:
        if not isinstance(value, list):
            raise ValueError(f'{where}: found {type(value).__name__}, expected a list')
        (item_hint,) = typing.get_args(hint)
        return [read_value(item_hint, item, f'{where}[{i}]') for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f'{where}: found {type(value).__name__}, expected an object')
        return value
    if origin is types.UnionType:
        inner = [option for option in typing.get_args(hint) if option is not type(None)]
        if value is None and len(inner) < len(typing.get_args(hint)):
            return None
        (only,) = inner
        return read_value(only, value, where)
    if dataclasses.is_dataclass(hint):
        return read_object(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ValueError(f'{where}: found {value!r}, expected {getattr(hint, "__name__", hint)}')
    return value


def read_tagged(kinds: dict[str, type], tag: str, value: object, where: str) -> Any:
    """Builds that dataclass of several which the value names in its tag."""
    kind = value.get(tag) if isinstance(value, dict) else None
    if kind not in kinds:
        raise ValueError(f'{where}.{tag}: found {kind!r}, expected one of {", ".join(kinds)}')
    return read_object(kinds[kind], value, where)


def check(condition: bool, message: str) -> None:
    """Refuses a configuration that cannot be used."""
    if not condition:
        raise ValueError(message)
