"""Read, add and print amounts of CPU and memory as Kubernetes does: 250m, 64Mi. Pure.

Source: apimachinery's api/resource/quantity.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_BINARY = {name: 1024**power for power, name in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {name: Fraction(1000) ** power for power, name in enumerate(("n", "u", "m", "", "k", "M", "G", "T"), -3)}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([KMGTPE]i|[numkMGT]?))")


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount; ``binary`` says whether it is printed with Ki, Mi and so on."""

    amount: Fraction = Fraction(0)
    binary: bool = False

    @classmethod
    def read(cls, given: object) -> Quantity:
        """Return what a manifest says; zero for what is no quantity, which its validation has refused before."""
        found = _FORM.fullmatch(str(given))
        if found is None:
            return cls()
        number, exponent, suffix = found.groups()
        if exponent:
            return cls(Fraction(number) * Fraction(10) ** int(exponent))
        binary = suffix.endswith("i")
        return cls(Fraction(number) * (_BINARY if binary else _DECIMAL)[suffix], binary)

    def __add__(self, other: Quantity) -> Quantity:
        """Return the sum, printed as the first of the two that is not zero."""
        return Quantity(self.amount + other.amount, self.binary if self.amount else other.binary)

    def share(self, whole: Quantity) -> int:
        """Return how many percent of a whole this is."""
        return int(self.amount / whole.amount * 100) if whole.amount else 0

    def __str__(self) -> str:
        """Return it with the largest suffix that leaves a whole number.

        >>> [str(Quantity.read(text)) for text in ("0.5", "1000m", "2048Ki", "1500Mi", "0")]
        ['500m', '1', '2Mi', '1500Mi', '0']
        """
        if not self.amount:
            return "0"
        units = _BINARY if self.binary and self.amount.denominator == 1 else _DECIMAL
        for suffix, unit in reversed(units.items()):
            if (self.amount / unit).denominator == 1:
                return f"{self.amount / unit}{suffix}"
        return f"{-(-self.amount // _DECIMAL['n'])}n"
