"""Read fields of a manifest, and say exactly which one is wrong.

A `Field` knows the way back to its document, so that an error reads
``Service default/web: spec.ports[0].port: expected a number from 1 to 65535, found "http"``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

HIGHEST_PORT = 65535


class ManifestError(InvalidInputError):
    """Report a field of a manifest that cannot be right.

    Attributes: ``document`` (which one), ``path`` (of the field), ``expected``.
    """

    def __init__(self, document: str, path: str, expected: str, found: object) -> None:
        """Keep the parts beside the message."""
        where = f"{document}: {path}" if path else document
        super().__init__(f"{where}: expected {expected}, found {_shown(found)}")
        self.document = document
        self.path = path
        self.expected = expected


class Field:
    """One value in a document, with the way to it."""

    __slots__ = ("_key", "_parent", "value")

    def __init__(self, value: Any, key: str, parent: Field | None = None) -> None:
        """Wrap ``value``; ``key`` is its name in ``parent``, or the name of the document for the outermost one."""
        self.value = value
        self._key = key
        self._parent = parent

    def refuse(self, expected: str) -> ManifestError:
        """Return the error that says what was expected here."""
        document, *steps = self.way()
        return ManifestError(document, ".".join(steps).replace(".[", "["), expected, self.value)

    def way(self) -> list[str]:
        """Return the name of the document and the keys that lead here."""
        return [self._key] if self._parent is None else [*self._parent.way(), self._key]

    def get(self, key: str) -> Field:
        """Return the field ``key`` of this object; absent ones hold None."""
        value = self.value
        if value is None:
            return Field(None, key, self)
        if not isinstance(value, dict):
            raise self.refuse("an object with fields")
        return Field(value.get(key), key, self)

    def items(self) -> Iterator[Field]:
        """Yield the elements of this list; nothing if it is absent."""
        value = self.value
        if value is None:
            return
        if not isinstance(value, list):
            raise self.refuse("a list")
        for index, item in enumerate(value):
            yield Field(item, f"[{index}]", self)

    def text(self, default: str = "") -> str:
        """Return this string, or ``default`` if it is absent."""
        value = self.value
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.refuse("a string")
        return value

    def texts(self) -> list[str]:
        """Return this list of strings; empty if it is absent."""
        return [item.required("a string") for item in self.items()]

    def required(self, expected: str) -> str:
        """Return this string, which must be there."""
        value = self.value
        if not isinstance(value, str):
            raise self.refuse(expected)
        return value

    def number(self, default: int, lowest: int, highest: int) -> int:
        """Return this whole number, or ``default`` if it is absent."""
        value = self.value
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise self.refuse(f"a number from {lowest} to {highest}")
        return value

    def flag(self, *, default: bool) -> bool:
        """Return this true or false, or ``default`` if it is absent."""
        value = self.value
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse("true or false")
        return value

    def one_of(self, choices: tuple[str, ...], default: str) -> str:
        """Return this string, which must be one of ``choices``, or ``default`` if it is absent or empty."""
        value = self.text(default) or default
        if value not in choices:
            raise self.refuse("one of " + ", ".join(choices))
        return value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 (one line of a terminal)
