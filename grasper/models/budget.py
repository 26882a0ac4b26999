"""A budget for servers that cost money: requests, tokens or money, kept by all endpoint models of this process together.

A request is sent only where the budget holds what it may cost at most, beside all those under way; so the budget is never passed, whatever comes
back (unless a server writes more than it was allowed). When it is spent, what is under way comes to its end and is kept.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from grasper.errors import BudgetSpentError, ConfigError

if TYPE_CHECKING:
    from grasper.config import ModelConfig

_AMOUNT = re.compile(r"\s*(?P<amount>\d[\d_]*(?:\.\d+)?|\.\d+)\s*(?P<unit>requests?|tokens?|)\s*", re.IGNORECASE)


def amount(money: float) -> str:
    """An amount of money, with as many digits as small ones need."""
    return f"{money:.2f}" if money >= 1 or not money else f"{money:.2g}"


@dataclass(frozen=True)
class Spending:
    """What requests cost. `money` in the currency of the configured prices, 0 where none is configured."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0

    def __add__(self, other: Spending) -> Spending:
        return Spending(
            self.requests + other.requests, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out, self.money + other.money
        )

    def __str__(self) -> str:
        money = f", price {amount(self.money)}" if self.money else ""
        return f"{self.requests:,} requests, {self.tokens_in:,} + {self.tokens_out:,} tokens{money}"


@dataclass(frozen=True)
class Budget:
    """The most that may be spent."""

    amount: float
    unit: Literal["requests", "tokens", "money"]

    @classmethod
    def parse(cls, text: str, model: ModelConfig) -> Budget:
        """Read `500requests`, `200000tokens` or `3.50`.

        Raises:
            ConfigError: It is none of these, or an amount of money where no price is configured.
        """
        match = _AMOUNT.fullmatch(text)
        if match is None:
            raise ConfigError(f"--budget {text!r} is not an amount such as 500requests, 200000tokens or 3.50")
        unit = match["unit"].lower().rstrip("s")
        if not unit and model.price_in is None and model.price_out is None:
            raise ConfigError(f"--budget {text} is an amount of money, which needs the prices model.price_in and model.price_out per million tokens")
        units: dict[str, Literal["requests", "tokens", "money"]] = {"request": "requests", "token": "tokens", "": "money"}
        return cls(float(match["amount"].replace("_", "")), units[unit])

    def used_by(self, spending: Spending) -> float:
        """How much of this budget something costs, in its unit."""
        return {"requests": spending.requests, "tokens": spending.tokens_in + spending.tokens_out, "money": spending.money}[self.unit]

    def __str__(self) -> str:
        if self.unit == "money":
            return amount(self.amount)
        return f"{self.amount:,.0f} {self.unit.rstrip('s') if self.amount == 1 else self.unit}"


class Meter:
    """Counts what is spent, and says no when a budget does not hold any more. Safe under threads."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget
        self.spent = Spending()
        self._under_way: list[Spending] = []
        self._lock = threading.Lock()

    def reserve(self, expected: Spending) -> bool:
        """Take what a request may cost out of the budget; False where others that are under way may still leave enough of it.

        Raises:
            BudgetSpentError: It is spent.
        """
        with self._lock:
            total = sum([*self._under_way, expected], self.spent)
            if self.budget is not None and self.budget.used_by(total) > self.budget.amount + 1e-9:
                if self._under_way:
                    return False
                one = Budget(self.budget.used_by(expected), self.budget.unit)
                raise BudgetSpentError(
                    f"the budget of {self.budget} is spent ({self.spent}; one more may take {one}); what was answered is kept: "
                    "the same command with a new --budget goes on there and pays for nothing twice"
                )
            self._under_way.append(expected)
            return True

    def settle(self, expected: Spending, spent: Spending) -> None:
        """A reserved request has ended."""
        with self._lock:
            self._under_way.remove(expected)
            self.spent += spent


_meter = Meter()


def current_meter() -> Meter:
    """The meter of this process."""
    return _meter


@contextmanager
def limit_spending(budget: Budget | None) -> Iterator[Meter]:
    """Within the block, all endpoint models of this process spend from one budget; the meter tells what they spent."""
    global _meter
    outer, _meter = _meter, Meter(budget)
    try:
        yield _meter
    finally:
        _meter = outer
