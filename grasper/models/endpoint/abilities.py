"""What a model behind a server takes and does, found out by asking: once, told once, and remembered as long as the model is open."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from grasper.models.budget import Spending
from grasper.models.endpoint.answers import Answer, Choice
from grasper.models.endpoint.client import Client, RejectedError
from grasper.models.endpoint.request import Part, Request, named_parts, workaround

logger = logging.getLogger(__name__)

_TOO_LONG = re.compile(r"context|too (?:long|large|many)|maximum .{0,20}length|exceed", re.IGNORECASE)
_FILTERED = re.compile(r"content[_ ]filter|content management policy|data_inspection", re.IGNORECASE)
_Put = Callable[[frozenset[Part]], Awaitable[Answer]]
REPEATS_OF_EMPTY = 2
"""How often an empty answer is asked for again."""
ANSWERS_WITHOUT_LOGPROBS = 3
"""So many answers without the log-probabilities that were asked for, and none with them, and they are not asked for any more."""
LEAST_ANSWERS, WORTH_TELLING = 20, 0.05
"""More than one empty answer in twenty is told, once there are twenty."""


def is_too_long(error: RejectedError) -> bool:
    """Whether a server refused a request because prompt and answer are longer than its context."""
    return _TOO_LONG.search(error.message) is not None


class Abilities:
    """What is known of one model at one server."""

    def __init__(self, name: str, *, thinking_tokens: int = 0, context_tokens: int | None = None, price: tuple[float, float] = (0.0, 0.0)) -> None:
        self.name = name
        self.refused: frozenset[Part] = frozenset()
        self.thinks = False
        self.has_logprobs = False
        """Whether any answer came with those that were asked for."""
        self._without_logprobs = 0
        self.price = price
        """Of one token of the prompt and of the answer."""
        self._thinking_tokens, self._context_tokens = thinking_tokens, context_tokens
        self._answers = self._empty = 0
        self._next_telling = LEAST_ANSWERS

    async def ask(self, client: Client, fields: Mapping[str, Any], request: Request, *, prompt_tokens: int, doublings: int = 0) -> Answer:
        """The answer to a request, put so that the server takes it.

        Args:
            fields: What every request holds, the model's name among them.
            prompt_tokens: Estimate for the budget.
            doublings: How often the room for thoughts is doubled, as far as the context is known to hold it.

        Raises:
            RejectedError: The server does not take it in any form.
        """

        async def put(refused: frozenset[Part]) -> Answer:
            room = self._thinking_tokens * 2**doublings if self.thinks else 0
            if self._context_tokens is not None:
                room = max(0, min(room, self._context_tokens - prompt_tokens - request.max_tokens))
            tokens_out = request.n * (request.max_tokens + room)
            expected = Spending(1, prompt_tokens, tokens_out, prompt_tokens * self.price[0] + tokens_out * self.price[1])
            payload = {**fields, **request.payload(refused, room_for_thoughts=room)}
            return await client.post(payload, expected, price=self.price)

        async with client.slots.one():
            while True:
                refused = self.refused  # not before there is a slot: others may have found something out meanwhile
                try:
                    answer = await put(refused)
                    break
                except RejectedError as error:
                    if _FILTERED.search(error.message):
                        return Answer(choices=(Choice(content="", finish_reason="error"),), tokens_in=0, tokens_out=0)
                    first = error
                async with client.finding_out:
                    if self.refused == refused:
                        answer = await self._find_out(put, request, first)
                        break
        self._look_at(answer, request)
        return answer

    async def _find_out(self, put: _Put, request: Request, first: RejectedError) -> Answer:
        """The answer without what the server refuses: the parts that it names, else one part more, else as many as it takes."""
        named: frozenset[Part] = frozenset()
        error = first
        while more := named_parts(error.message, request, self.refused | named):
            named |= more
            try:
                return self._learn(named, await put(self.refused | named))
            except RejectedError as another:
                error = another
        if is_too_long(error):
            raise error
        others = [part for part in request.parts() if part not in self.refused | named and part not in ("max_tokens", "top_logprobs")]
        for part in others:
            with suppress(RejectedError):
                return self._learn(named | {part}, await put(self.refused | named | {part}))
        left_out = named.union(others)
        try:
            answer = await put(self.refused | left_out)
        except RejectedError:
            raise first from None
        for part in others:  # back in comes what it takes
            with suppress(RejectedError):
                answer = await put(self.refused | left_out - {part})
                left_out -= {part}
        return self._learn(left_out, answer)

    def _learn(self, parts: Iterable[Part], answer: Answer) -> Answer:
        new = frozenset(parts) - self.refused
        self.refused |= new
        logger.warning("%s refuses %s; it is asked otherwise: %s", self.name, ", ".join(sorted(new)), "; ".join(map(workaround, sorted(new))))
        return answer

    def _look_at(self, answer: Answer, request: Request) -> None:
        """Learn from an answer that came."""
        thinks = any(choice.thinks or (choice.finish_reason == "length" and not choice.content.strip()) for choice in answer.choices)
        if (thinks or answer.thought_tokens) and not self.thinks:
            self.thinks = True
            logger.warning(
                "%s thinks before it answers: thoughts are taken off, and %d more tokens are allowed for them (model.thinking_tokens)",
                self.name,
                self._thinking_tokens,
            )
        if len(answer.choices) < request.n and "n" not in self.refused:
            self.refused |= {"n"}  # ignored, which comes to the same
        if request.logprobs and "logprobs" not in self.refused:
            choice = answer.choices[0]
            self.has_logprobs = self.has_logprobs or bool(choice.positions)
            # An empty answer has none at any server.
            self._without_logprobs += bool(not choice.positions and choice.content.strip() and not choice.spoken().is_cut)
            if not self.has_logprobs and self._without_logprobs >= ANSWERS_WITHOUT_LOGPROBS:
                self.refused |= {"logprobs"}

    def count(self, *, is_empty: bool) -> None:
        """Count a first answer; too many that are empty are told, again whenever the number of answers has doubled."""
        self._answers += 1
        self._empty += is_empty
        if self._answers >= self._next_telling and self._empty > WORTH_TELLING * self._answers:
            self._next_telling = 2 * self._answers
            logger.warning(
                "%d of %d answers of %s (%.0f %%) came empty or were cut off within a thought; each is asked for again, %d times at most",
                self._empty,
                self._answers,
                self.name,
                100 * self._empty / self._answers,
                REPEATS_OF_EMPTY,
            )
