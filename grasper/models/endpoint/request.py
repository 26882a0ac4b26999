"""What grasper asks, and how it is put to a server that does not take all of it.

The same request is put in other words where a server refuses a part of it: without the parameter, with the system message in front of the first
user message, with the beginning of the answer as a request instead of a last assistant message. What was asked stays the same, and so does its
place in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from grasper.models.base import Message, Prompt
from grasper.models.endpoint.answers import whole_characters

Part = Literal["top_logprobs", "logprobs", "n", "max_tokens", "seed", "temperature", "top_p", "prefill", "system"]
"""A part of a request that a server may refuse. `top_logprobs`: more than five; `max_tokens`: that name of the limit."""

_NAMED: dict[Part, str] = {
    "top_logprobs": r"top_logprobs",
    "logprobs": r"log[_ ]?prob",
    "n": r"\bn\b(?=\W*(?:must|should|is|=|>|parameter|to be|value))|[`'\"]n[`'\"]",
    "max_tokens": r"max_completion_tokens",
    "seed": r"\bseed\b",
    "temperature": r"\btemperature\b",
    "top_p": r"\btop_p\b",
    "prefill": r"pre-?fill|(?:last|final) (?:message|role|turn)|assistant (?:message|role|turn)|ends? with (?:an? )?(?:user|assistant)|alternat",
    "system": r"\bsystem\b|alternat|\bdeveloper\b",
}
_WORKAROUNDS: dict[Part, str] = {
    "top_logprobs": "five log-probabilities a token",
    "logprobs": "without log-probabilities; ratings are the shares of sampled answers",
    "n": "one sample a request",
    "max_tokens": "the limit is named max_completion_tokens",
    "seed": "without a seed",
    "temperature": "at its own temperature",
    "top_p": "without top_p",
    "prefill": "the beginning of an answer goes into the question",
    "system": "the system message goes into the question",
}
CONTINUE = "The answer begins as follows. Go on right behind it, without repeating it:"


@dataclass(frozen=True, slots=True)
class Request:
    """One question, as grasper means it."""

    prompt: Prompt
    temperature: float | None
    """None: the server's own."""
    top_p: float
    max_tokens: int
    """Tokens of the answer, thoughts not counted."""
    seed: int
    n: int = 1
    logprobs: bool = False

    def key(self) -> dict[str, Any]:
        """What was asked, for the cache."""
        return {
            "messages": _messages(self.prompt.messages),
            "prefix": whole_characters(self.prompt.prefix),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }

    def payload(self, refused: Iterable[Part] = (), *, room_for_thoughts: int = 0) -> dict[str, Any]:
        """The body of the request, but for the model's name, for a server that refuses some parts of it."""
        refused = frozenset(refused)
        messages = _messages(self._conversation(refused))
        limit = "max_completion_tokens" if "max_tokens" in refused else "max_tokens"
        settings = {"temperature": self.temperature, "top_p": self.top_p, limit: self.max_tokens + room_for_thoughts, "seed": self.seed}
        if self.n > 1:
            settings["n"] = self.n
        if self.logprobs and "logprobs" not in refused:
            settings |= {"logprobs": True, "top_logprobs": 5 if "top_logprobs" in refused else 20}
        kept = {name: value for name, value in settings.items() if value is not None and (name not in refused or name == "top_logprobs")}
        return {"messages": messages, **kept}

    def parts(self) -> list[Part]:
        """The parts that this request has, the likeliest to be refused first."""
        has: dict[Part, bool] = {
            "top_logprobs": self.logprobs,
            "logprobs": self.logprobs,
            "n": self.n > 1,
            "max_tokens": True,
            "seed": True,
            "temperature": self.temperature is not None,
            "top_p": True,
            "prefill": bool(self.prompt.prefix),
            "system": any(message.role == "system" for message in self.prompt.messages),
        }
        return [part for part, is_there in has.items() if is_there]

    def _conversation(self, refused: frozenset[Part]) -> tuple[Message, ...]:
        messages, prefix = list(self.prompt.messages), self.prompt.prefix
        if "system" in refused:
            system = "\n\n".join(message.content for message in messages if message.role == "system")
            messages = [message for message in messages if message.role != "system"]
            if system:
                first = next((number for number, message in enumerate(messages) if message.role == "user"), None)
                if first is None:
                    messages.insert(0, Message("user", system))
                else:
                    messages[first] = replace(messages[first], content=f"{system}\n\n{messages[first].content}")
        if prefix and "prefill" in refused:
            messages[-1] = replace(messages[-1], content=f"{messages[-1].content}\n\n{CONTINUE}\n\n{prefix}")
        elif prefix:
            messages.append(Message("assistant", prefix))
        return tuple(messages)


def named_parts(message: str, request: Request, refused: Iterable[Part]) -> set[Part]:
    """The parts of a request, not known to be refused, that a server's refusal names."""
    open_parts = [part for part in request.parts() if part not in set(refused)]
    named = {part for part in open_parts if re.search(_NAMED[part], message, re.IGNORECASE)}
    if "top_logprobs" in named:
        named.discard("logprobs")  # fewer of them may do
    if {"temperature", "top_p"} <= named:
        named.discard("temperature")  # one of the two may do
    if named & {"prefill", "system"} and re.search("alternat", message, re.IGNORECASE):
        named.discard("prefill" if "system" in named else "system")  # one after the other
    return named


def workaround(part: Part) -> str:
    """How a server is asked that refuses a part, for messages."""
    return _WORKAROUNDS[part]


def _messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": whole_characters(message.content)} for message in messages]
