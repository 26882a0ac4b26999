"""Questions to one model at one server, through the cache: what is there is not asked, what comes empty is asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from grasper.models.base import Prompt
from grasper.models.endpoint.abilities import REPEATS_OF_EMPTY, Abilities, is_too_long
from grasper.models.endpoint.answers import Answer, Choice, without_prefix
from grasper.models.endpoint.cache import AnswerCache
from grasper.models.endpoint.client import Client, RejectedError
from grasper.models.endpoint.request import Request
from grasper.runs import derive_seed


class Exchange:
    """Asks one model.

    Args:
        fields: What every request holds, the model's name among them.
        identity: What tells this model from others in the cache.
        count_tokens: Estimate where the server does not tell.
    """

    def __init__(
        self,
        abilities: Abilities,
        cache: AnswerCache,
        fields: Mapping[str, Any],
        identity: Mapping[str, Any],
        count_tokens: Callable[[str], int],
    ) -> None:
        self.abilities, self.cache = abilities, cache
        self._fields, self._identity, self._count = fields, identity, count_tokens

    async def answers(self, client: Client, asked: Sequence[Request]) -> list[Answer]:
        """One answer, of one choice, to each of some requests that differ in their seeds alone: in one request where the server knows `n`, else side
        by side."""
        answers = [self.cache.get(self.key(request), Answer) for request in asked]
        missing = [number for number, answer in enumerate(answers) if answer is None]
        firsts: list[Answer] = []
        if len(missing) > 1 and "n" not in self.abilities.refused:
            firsts = _apart(await self.ask(client, replace(asked[missing[0]], n=len(missing))), len(missing))
        for number, first in zip(missing, firsts, strict=False):
            self._keep(asked[number], first)  # before anything is asked again, which may fail
        found = await client.together(self._filled(client, asked[number], first) for number, first in zip_longest(missing, firsts))
        for number, answer in zip(missing, found, strict=True):
            answers[number] = answer
        return [answer for answer in answers if answer is not None]

    async def _filled(self, client: Client, request: Request, first: Answer | None) -> Answer:
        """The answer that came, or one that is asked for where none did; another one where it is empty."""
        answer = first or self._keep(request, _apart(await self.ask(client, request), 1)[0])
        is_empty = self.is_empty(answer, request)
        self.abilities.count(is_empty=is_empty)
        return await self._again(client, request, answer) if is_empty else answer

    async def _again(self, client: Client, request: Request, empty: Answer) -> Answer:
        """Another answer than an empty one, if one comes; the tokens of all tries are counted."""
        tries = [empty]
        for number in range(REPEATS_OF_EMPTY):
            put = replace(request, seed=derive_seed(request.seed, "again", number))
            answer = await self.ask_again(client, put, doublings=number)
            if answer is None:
                break
            tries += _apart(answer, 1)
            if not self.is_empty(tries[-1], request):
                break
        tokens_in, tokens_out = (sum(tokens) for tokens in zip(*(self.cost(request.prompt, one) for one in tries), strict=True))
        return self._keep(request, tries[-1].model_copy(update={"tokens_in": tokens_in, "tokens_out": tokens_out}))

    async def ask(self, client: Client, request: Request, *, doublings: int = 0) -> Answer:
        """The server's answer, whatever it is worth."""
        tokens = self._prompt_tokens(request.prompt)
        return await self.abilities.ask(client, self._fields, request, prompt_tokens=tokens, doublings=doublings)

    async def ask_again(self, client: Client, request: Request, *, doublings: int) -> Answer | None:
        """The answer to a question that was answered with nothing; None where the server's context has no room for a longer thought."""
        try:
            return await self.ask(client, request, doublings=doublings)
        except RejectedError as error:
            if is_too_long(error):
                return None
            raise

    def _prompt_tokens(self, prompt: Prompt) -> int:
        return sum(self._count(message.content) for message in prompt.messages) + self._count(prompt.prefix)

    def key(self, request: Request) -> dict[str, Any]:
        """What a request is known by in the cache."""
        return {**self._identity, **request.key()}

    def _keep(self, request: Request, answer: Answer) -> Answer:
        """The answer, on disk from now on unless it is empty."""
        if not self.is_empty(answer, request):
            self.cache.put(self.key(request), answer)
        return answer

    def is_empty(self, answer: Answer, request: Request) -> bool:
        """Whether nothing is left of it without thoughts and a repeated prefix."""
        return not text_of(answer.choices[0], request.prompt.prefix).strip()

    def cost(self, prompt: Prompt, answer: Answer) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, thoughts included; estimates where the server does not tell."""
        choice, tokens_in, tokens_out = answer.choices[0], answer.tokens_in, answer.tokens_out
        if tokens_in is None:  # 0 is told: another sample bears them
            tokens_in = self._prompt_tokens(prompt)
        return tokens_in, self._count(choice.content) + self._count(choice.reasoning) if tokens_out is None else tokens_out


def text_of(choice: Choice, prefix: str) -> str:
    """The answer alone: without thoughts, without a repeated prefix."""
    return without_prefix(choice.spoken().text, prefix)


def _apart(answer: Answer, most: int) -> list[Answer]:
    """One answer for each choice. The server tells the tokens of all choices together; those of the prompt, read once, go to the first."""
    choices, total = answer.choices, answer.tokens_out
    return [
        Answer(
            choices=(choice,),
            tokens_in=answer.tokens_in if number == 0 else 0,
            tokens_out=None if total is None else total // len(choices) + (number < total % len(choices)),
        )
        for number, choice in enumerate(choices[:most])
    ]
