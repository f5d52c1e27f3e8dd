"""Frozen values to JSON and back.

An address is written as its text, and its version is read from that text. Reading is strict: an unknown or missing
field, a wrong type and a wrong address are each reported with their place.
"""

from __future__ import annotations

import ipaddress
import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from cattrs import IterableValidationError, transform_error
from cattrs.preconf.json import make_converter
from cattrs.v import format_exception

from netlab.errors import InvalidInputError
from netlab.kernel.values import IPAddress, IPInterface, IPNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    from cattrs.preconf.json import JsonConverter

T = TypeVar("T")

_ADDRESSES: tuple[tuple[Any, Callable[[str], Any]], ...] = (
    (IPAddress, ipaddress.ip_address),
    (IPInterface, ipaddress.ip_interface),
    (IPNetwork, ipaddress.ip_network),
)


def to_json(value: Any) -> str:
    """Return a frozen value, or a tuple of them, as JSON of one line."""
    return _converter().dumps(value, ensure_ascii=False)


def from_json(text: str, kind: type[T]) -> T:
    """Read what `to_json` wrote, as a value of the given kind.

    Raises InvalidInputError that names each wrong place, such as ``$.hosts[0].routes[2].metric``.
    """
    try:
        return _converter().structure(json.loads(text), kind)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"This is no JSON: {error}.") from error
    except Exception as error:  # cattrs lets through whatever a wrong document causes in its code
        problems = "; ".join(transform_error(error, format_exception=_words))
        raise InvalidInputError(f"This is not the JSON of a {kind.__name__}: {problems}.") from error


@cache
def _converter() -> JsonConverter:
    converter = make_converter(forbid_extra_keys=True)
    for union, parse in _ADDRESSES:
        members = frozenset(get_args(union))
        # A predicate, so that the union is met alone, with None, and as one of its two members.
        converter.register_structure_hook_func(partial(_is_one_of, members), partial(_address, parse))
        for member in members:
            converter.register_unstructure_hook(member, str)
    for exact in (str, int, bool, float):
        converter.register_structure_hook(exact, _strict)
    return converter


def _words(error: BaseException, kind: type | None) -> str:
    """Return an error's own words, where they say more than what cattrs makes of it."""
    if isinstance(error, AttributeError) or "iterable" in str(error):
        return "expected an object with fields, or a list of values"
    if isinstance(error, (ValueError, TypeError)) and not isinstance(error, IterableValidationError):
        return str(error)
    return format_exception(error, kind)


def _is_one_of(members: frozenset[Any], kind: Any) -> bool:
    return (frozenset(get_args(kind)) or {kind}) - {type(None)} == members or kind in members


def _address(parse: Callable[[str], Any], value: Any, kind: Any) -> Any:
    if value is None and type(None) in get_args(kind):
        return None
    return parse(_strict(value, str))


def _strict(value: Any, kind: type[T]) -> T:
    """Refuse what Python would convert: "5" is no number, and 1 no truth."""
    if type(value) is kind:
        return value
    raise TypeError(f"expected {kind.__name__}, got {value!r}")
