"""Messages as bytes: CBOR (RFC 8949), versioned, and the one door for bytes that come in.

Layout: the array ``[1, tag, fields]`` — version, the variant's name, a map of its fields by name. UUIDs are tag 37,
times tag 0, in UTC; a dataclass inside a field is ``[name, fields]``; an enum its value; a tuple an array.

The rule: :func:`decode_untrusted` raises ``Malformed`` and nothing else, at bounded cost. Unknown fields are ignored
and an unknown tag becomes :class:`~springline.protocols.message.Unknown`, so that a newer peer can be talked to; an
unknown version is refused; of a repeated field the last counts. No CBOR tag but those two is let in: others would make
objects, share references or grow numbers. Keys of maps are text: the hashes of everything else can be made to collide.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any
from uuid import UUID

import cbor2

from springline.errors import Malformed, Misuse, SpringlineError
from springline.protocols import message as messages
from springline.protocols.message import DeviceMessage, Unknown

VERSION = 1
MOST_BYTES = 16 << 20
MOST_DEPTH = 16
MOST_VALUES = 1 << 17
"""CBOR items in one message: enough for ``MOST_ITEMS`` entries, and too few to fill the memory with empty lists."""

TAGS: dict[str, type] = {
    kind.__name__: kind for kind in typing.get_args(DeviceMessage) if isinstance(kind, type) and kind is not Unknown
}
_PARTS = (
    messages.Entry,
    messages.Push,
    messages.Pull,
    messages.Conflict,
    messages.Resolution,
    messages.FileMetadata,
    messages.LocationChange,
    messages.IndexingProgress,
)
PARTS: dict[str, type] = {kind.__name__: kind for kind in _PARTS}

_UUID_TAG = 37
_TIME_TAG = 0
_BYTES, _TEXT, _ARRAY, _MAP, _TAG = 2, 3, 4, 5, 6  # major types


def encode(message: DeviceMessage) -> bytes:
    """The message as bytes. :raises Misuse: it is larger than ``MOST_BYTES``."""
    if isinstance(message, Unknown):
        data = message.encoded
    else:
        data = cbor2.dumps([VERSION, type(message).__name__, _fields(message)])
    if len(data) > MOST_BYTES:
        raise Misuse(f"a message of {len(data)} bytes is too large", "send it as a file")
    return data


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return [type(value).__name__, _fields(value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, UUID):
        return cbor2.CBORTag(_UUID_TAG, value.bytes)
    if isinstance(value, datetime):
        return cbor2.CBORTag(_TIME_TAG, value.astimezone(UTC).isoformat())
    return value


def decode_untrusted(data: bytes) -> DeviceMessage:
    """The message in ``data``. :raises Malformed: there is none."""
    whole = load_untrusted(data)
    if not (isinstance(whole, list) and len(whole) == 3):
        raise Malformed("a message is not an array of three")
    version, tag, fields = whole
    if type(version) is not int or version != VERSION:
        raise Malformed("a message of unknown version")
    if not isinstance(tag, str) or len(tag) > 64 or not isinstance(fields, dict):
        raise Malformed("a message without tag or fields")
    kind = TAGS.get(tag)
    return Unknown(tag, bytes(data)) if kind is None else _build(kind, fields)


def load_untrusted(data: bytes, most: int = MOST_BYTES) -> Any:
    """The plain CBOR value in ``data``: maps, arrays, text, bytes, numbers, and the two tags of the layout.

    :param most: bytes allowed. :raises Malformed: it is not one, or not only one.
    """
    if len(data) > most:
        raise Malformed("a message is too large")
    _check_structure(data)
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        raise Malformed("a message is not CBOR") from None


def _check_structure(data: bytes) -> None:
    """Walk over the item heads (RFC 8949 §3) before anything is built: depth, number, tags and lengths must make sense.

    :raises Malformed: they do not. The walk is linear in ``data``, whatever lengths it claims.
    """
    at = values = 0
    left, in_map = [1], [False]  # items still to come, per level
    while left:
        if left[-1] == 0:
            left.pop()
            in_map.pop()
            continue
        is_key = in_map[-1] and left[-1] % 2 == 0
        left[-1] -= 1
        values += 1
        major, argument, at = _head(data, at)
        if is_key and major != _TEXT:
            raise Malformed("a message has a map with keys that are not text")
        if major in (_BYTES, _TEXT):
            at += argument
        elif major in (_ARRAY, _MAP, _TAG):
            left.append(1 if major == _TAG else argument * (2 if major == _MAP else 1))
            in_map.append(major == _MAP)
        if major == _TAG and argument not in (_TIME_TAG, _UUID_TAG):
            raise Malformed(f"a message has the unexpected tag {argument}")
        if len(left) > MOST_DEPTH or values + left[-1] > MOST_VALUES:
            raise Malformed("a message is nested too deeply, or of too many parts")
    if at != len(data):
        raise Malformed("a message is cut off, or followed by something else")


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type and argument of the item at ``at``, and where its head ends."""
    if at >= len(data):
        raise Malformed("a message is cut off")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        return major, info, at
    if info >= 28:
        raise Malformed("a message has items of indefinite length, or reserved ones")
    size = 1 << (info - 24)
    return major, int.from_bytes(data[at : at + size], "big"), at + size


def _build(kind: type, fields: dict[Any, Any]) -> Any:
    converters = _converters(kind)
    try:
        given = {name: convert(fields[name]) for name, convert in converters.items() if name in fields}
        return kind(**given)
    except (SpringlineError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Malformed(f"a {kind.__name__} with wrong fields: {error}") from None


@cache
def _converters(kind: type) -> dict[str, Callable[[Any], Any]]:
    """How each field of a dataclass is made from plain CBOR, by its type hint."""
    hints = typing.get_type_hints(kind)
    return {field.name: _converter(hints[field.name]) for field in dataclasses.fields(kind)}


def _converter(hint: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [argument for argument in arguments if argument is not type(None)]
        if all(dataclasses.is_dataclass(option) for option in options):
            return _part(tuple(options), optional=len(options) < len(arguments))
        inner = _converter(options[0])
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        each = _converter(arguments[0])
        return lambda value: tuple(each(item) for item in _expect(value, list))
    if dataclasses.is_dataclass(hint):
        return _part((hint,), optional=False)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint)
    return lambda value: _expect(value, hint)


def _choice(kind: type[Enum]) -> Callable[[Any], Any]:
    known = {choice.value: choice for choice in kind}

    def convert(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise Malformed(f"an unknown {kind.__name__}")  # it is not repeated: it may be long
        return known[value]

    return convert


def _part(kinds: tuple[Any, ...], *, optional: bool) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if value is None and optional:
            return None
        name, fields = _expect(value, list)
        kind = PARTS.get(_expect(name, str))
        if kind not in kinds or kind is None:
            raise Malformed("a part of a message is of the wrong kind")
        return _build(kind, _expect(fields, dict))

    return convert


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} is due")
    return value
