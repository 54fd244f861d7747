"""Bytes to values and back, in the two media types of the wire, within bounds.

A message is untrusted until it has passed ``decode``: size, nesting and the kinds of values are
bounded here, so that no later layer meets a surprise. What the fields mean is ``messages``' part.
"""

from __future__ import annotations

import msgpack

from .errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

JSON = "application/json"
MSGPACK = "application/msgpack"
PROBLEM_JSON = "application/problem+json"
PROBLEM_MSGPACK = "application/problem+msgpack"

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_ITEMS = 10_000
NESTS_TOO_DEEP = f"a message nests at most {MAX_DEPTH} deep"

_LEAVES = (str, int, float, type(None))
"""What a message is made of besides objects and lists; a bool is an int here. msgpack could carry
binary and timestamps too, which would have no counterpart in JSON."""


def _packer() -> Callable[[object], bytes]:
    """``msgpack.packb`` without making a packer for each message."""
    made = msgpack.Packer(use_bin_type=True)
    if made.__class__.__module__ == "msgpack._cmsgpack":
        # In C it packs plain values without letting go of the interpreter: threads may share it.
        pack: Callable[[object], bytes] = made.pack
        return pack
    return lambda value: msgpack.packb(value, use_bin_type=True)


pack = _packer()
"""A plain value as msgpack."""


def encode(value: object, media_type: str) -> bytes:
    """``value``, made of dicts, lists, strings, numbers, booleans and None, as bytes."""
    if media_type == MSGPACK:
        return pack(value)
    import json  # noqa: PLC0415 - clients speak msgpack and need not pay for it

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode(data: bytes, media_type: str) -> object:
    """The value in ``data``.

    Raises ``Problem``: ``too_large``, ``malformed`` or ``unsupported_type``.
    """
    _check_size(data)
    if media_type == MSGPACK:
        value = unpack(data)
    elif media_type == JSON:
        value = _parse_json(data)
    else:
        raise Problem("unsupported_type", f"send {JSON} or {MSGPACK}, not {media_type!r}")
    check_bounds(value)
    return value


def unpack(data: bytes) -> object:
    """The msgpack value in ``data``, for who calls ``check_bounds`` where it is needed.

    Raises ``Problem``: ``too_large`` or ``malformed``.
    """
    _check_size(data)
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            ext_hook=_refuse_extension,
        )
    except _NotSpoken as error:
        raise Problem("malformed", f"not a msgpack message: {error}") from None
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError, OverflowError) as error:
        raise Problem("malformed", f"not a msgpack message: {_msgpack_fault(error)}") from None


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise Problem("too_large", f"a message has at most {MAX_BYTES} bytes, this one {len(data)}")


def _parse_json(data: bytes) -> object:
    import json  # noqa: PLC0415 - see encode

    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        why = f"it is broken at line {error.lineno}, column {error.colno}"
    except _NotSpoken as error:
        why = str(error)
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except RecursionError:
        why = NESTS_TOO_DEEP
    except ValueError:  # the only one left: Python reads no longer numbers
        why = "a number has too many digits"
    raise Problem("malformed", f"not a JSON message: {why}")


def _refuse_extension(code: int, _data: bytes) -> object:
    raise _NotSpoken(f"extension type {code} is not part of the protocol")


def _refuse_constant(name: str) -> object:
    raise _NotSpoken(f"{name} is not a JSON number")


class _NotSpoken(ValueError):
    """A value that a message cannot hold, in our own words."""


def _msgpack_fault(error: Exception) -> str:
    """What is wrong, in words that are not the library's: those name its own arguments."""
    if isinstance(error, (msgpack.StackError, RecursionError)):
        return NESTS_TOO_DEEP
    if isinstance(error, msgpack.ExtraData):
        return "something follows it"
    if isinstance(error, UnicodeDecodeError):
        return "a string is not UTF-8 text"
    return "it ends early, or holds what is not part of the protocol, such as keys that are no text"


def check_bounds(value: object) -> None:
    """Bound nesting and the number of values, without recursion of our own.

    Raises ``Problem`` ``malformed``.
    """
    level: list[object] = [value]
    count = 0
    for _ in range(MAX_DEPTH):
        following: list[object] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
            elif not isinstance(item, _LEAVES):
                raise Problem("malformed", f"{type(item).__name__} is not part of the protocol")
        if not following:
            return
        count += len(following)
        if count > MAX_ITEMS:
            raise Problem("malformed", f"a message holds at most {MAX_ITEMS} values")
        level = following
    raise Problem("malformed", NESTS_TOO_DEEP)
