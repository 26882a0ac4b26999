"""What a server of chat completions answers: checked at the door, so that only what was understood goes on or is stored.

Servers differ, and proxies between them and us do, too. What decides the text must be as the protocol has it: choices with a message whose
content is a text, a list of parts, or null. What only describes it (usage, log-probabilities, reasons) is taken where it makes sense and counts
as not given where it does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from grasper.errors import ModelError
from grasper.models.thoughts import Spoken, split_thoughts

MAX_TOKENS_TOLD = 10_000_000
"""A usage above this is a mistake."""
MAX_PART_DEPTH = 3
LOWEST_LOGPROB, HIGHEST_LOGPROB = -1e4, 1e-3
"""Servers write minus infinity in several ways, and zero with a rounding error."""
_WHOLE = frozenset({"stop", "eos", "eos_token", "end", "end_turn", "stop_sequence", "stop_token", "complete", "completed", "done"})
"""Names that servers have for an answer that ended by itself."""
_AT_ITS_LIMIT = frozenset({"length", "max_tokens", "max_length", "max_output_tokens", "model_length"})
_SURROGATE = re.compile("[\ud800-\udfff]")


class MalformedAnswerError(ModelError):
    """A success that holds no chat completion; asking again may help."""


class Position(BaseModel):
    """One written token with the likeliest ones at its place: token → log-probability."""

    model_config = ConfigDict(frozen=True)

    token: str
    candidates: tuple[tuple[str, float], ...]


class Choice(BaseModel):
    """One completion, as far as it was understood."""

    model_config = ConfigDict(frozen=True)

    content: str
    """As the server wrote it, thoughts between marks included."""
    reasoning: str = ""
    """Thoughts that the server keeps apart."""
    finish_reason: Literal["stop", "length", "error"] = "stop"
    positions: tuple[Position, ...] = ()
    """Empty where no log-probabilities came."""

    def spoken(self) -> Spoken:
        """The content without its thoughts."""
        return split_thoughts(self.content)

    @property
    def thinks(self) -> bool:
        """Whether there was a thought beside the answer, or nothing but one."""
        spoken = self.spoken()
        return bool(self.reasoning or spoken.thought) or spoken.is_cut


class Answer(BaseModel):
    """One answer of a server; this is what the cache holds."""

    model_config = ConfigDict(frozen=True)

    choices: tuple[Choice, ...] = Field(min_length=1)
    tokens_in: int | None = None
    """Tokens of the prompt; None where the server does not tell."""
    tokens_out: int | None = None
    """Tokens of all choices together, thoughts included."""
    thought_tokens: int = 0
    """Tokens of thoughts that the server keeps to itself."""


def _lenient(check: Any) -> Any:
    """A validator that takes what makes no sense for what is not there."""
    return BeforeValidator(lambda value: value if check(value) else None)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS_TOLD and value == int(value)


_Count = Annotated[int | None, _lenient(_is_count)]
_Text = Annotated[str | None, _lenient(lambda value: isinstance(value, str))]
_Mapping = Annotated[dict[str, Any] | None, _lenient(lambda value: isinstance(value, dict))]


class _Details(BaseModel):
    reasoning_tokens: _Count = None


class _Usage(BaseModel):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    completion_tokens_details: Annotated[_Details | None, _lenient(lambda value: isinstance(value, dict))] = None

    def tokens_out(self) -> int | None:
        """Tokens that were written; some servers count thoughts in the total alone (xAI, Gemini)."""
        if self.total_tokens is None or self.prompt_tokens is None:
            return self.completion_tokens
        return max(self.completion_tokens or 0, self.total_tokens - self.prompt_tokens)


class _Message(BaseModel):
    content: str | list[Any] | None = None
    reasoning_content: _Text = None
    reasoning: _Text = None
    thinking: _Text = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: _Text = None
    logprobs: _Mapping = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Annotated[_Usage | None, _lenient(lambda value: isinstance(value, dict))] = None


def read_answer(body: bytes) -> Answer:
    """The completion that a body holds.

    Raises:
        MalformedAnswerError: It is not JSON, or no chat completion; the message says on one line what came instead.
    """
    try:
        completion = _Completion.model_validate(read_body(body))
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["loc"] in ((), ("choices",)):
            raise MalformedAnswerError(f"without choices, expected a chat completion: {excerpt(body)}") from None
        place = ".".join(map(str, problem["loc"]))
        raise MalformedAnswerError(f"with no chat completion ({place}: {problem['msg']}): {excerpt(body)}") from None
    usage = completion.usage or _Usage()
    return Answer(
        choices=tuple(map(_understood, completion.choices)),
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.tokens_out(),
        thought_tokens=(usage.completion_tokens_details or _Details()).reasoning_tokens or 0,
    )


def read_body(body: bytes) -> Any:
    """The JSON of a body: without lone surrogates (they become U+FFFD), NaN counts as null.

    Raises:
        MalformedAnswerError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(body, parse_constant=lambda name: None)
    except RecursionError:
        raise MalformedAnswerError(f"with JSON that is nested too deeply: {excerpt(body)}") from None
    except ValueError:
        kind = "a web page (HTML), not a chat completion" if re.match(rb"\s*<(!doctype|html|head|body)", body, re.IGNORECASE) else "something"
        raise MalformedAnswerError(f"with {kind} that is not JSON: {excerpt(body)}") from None


def excerpt(body: bytes) -> str:
    """The beginning of a body, on one line, for messages."""
    text = body[:400].decode("utf-8", "replace")
    return repr(" ".join(text.split())[:80])


def whole_characters(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no file and no other server takes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text


def _understood(choice: _Choice) -> Choice:
    message = choice.message
    content, thoughts = _parts(message.content) if isinstance(message.content, list) else (message.content or "", "")
    reasoning = thoughts or message.reasoning_content or message.reasoning or message.thinking or ""
    return Choice(
        content=whole_characters(content),
        reasoning=whole_characters(reasoning),
        finish_reason=_reason(choice.finish_reason),
        positions=_positions((choice.logprobs or {}).get("content")),
    )


def _parts(parts: Sequence[Any], depth: int = 0) -> tuple[str, str]:
    """The joined texts and the joined thoughts of a content in parts."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            is_thought = any(word in str(part.get("type", "")) for word in ("think", "reason"))
            value = part.get("thinking") if is_thought and "thinking" in part else part.get("text")
            if isinstance(value, list) and depth < MAX_PART_DEPTH:
                value = "".join(_parts(value, depth + 1))
            if isinstance(value, str):
                (thoughts if is_thought else texts).append(value)
    return "".join(texts), "".join(thoughts)


def _reason(reason: str | None) -> Literal["stop", "length", "error"]:
    """Why the answer ended; a server that does not tell has stopped."""
    told = (reason or "stop").lower()
    return "length" if told in _AT_ITS_LIMIT else "stop" if told in _WHOLE else "error"


def _positions(content: Any) -> tuple[Position, ...]:
    """The log-probabilities of all written tokens; none where any of them makes no sense."""
    if not isinstance(content, list):
        return ()
    positions = []
    for entry in content:
        if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
            return ()
        likeliest = entry.get("top_logprobs") or [entry]
        candidates = [_candidate(candidate) for candidate in likeliest] if isinstance(likeliest, list) else []
        if not candidates or None in candidates:
            return ()
        positions.append(Position(token=whole_characters(entry["token"]), candidates=tuple(filter(None, candidates))))
    return tuple(positions)


def _candidate(candidate: Any) -> tuple[str, float] | None:
    token, logprob = (candidate.get("token"), candidate.get("logprob")) if isinstance(candidate, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool) or not logprob <= HIGHEST_LOGPROB:
        return None  # the last one holds for NaN, too
    return whole_characters(token), float(max(logprob, LOWEST_LOGPROB))


# -- texts and choices -----------------------------------------------------------------------------------------------------------------


def without_prefix(text: str, prefix: str) -> str:
    """The continuation alone, where the server repeated the beginning of the answer, or its last lines (`Text:`), in the same words or in its own."""
    lines = prefix.strip().splitlines()
    begun = text.lstrip()
    for number in range(len(lines)):
        repeated = "\n".join(lines[number:]).strip()
        if repeated and begun.startswith(repeated):
            return begun.removeprefix(repeated)
    labels = [f"{label}:" for label, mark, _ in (line.partition(":") for line in lines) if mark]
    if labels and lines[-1].strip() == labels[-1] and begun.startswith(tuple(labels)):
        _, mark, rest = begun.partition(f"\n{labels[-1]}")
        return rest if mark else text
    return text


def weights_from_logprobs(choice: Choice, prefix: str, choices: Sequence[str]) -> np.ndarray | None:
    """Probability of the first token of the answer by choice, unnormalised: `[choices]`.

    None where the server gave none or no choice is among the tokens. Thoughts and a repeated prefix come before the answer.
    """
    written = "".join(position.token for position in choice.positions)
    spoken = split_thoughts(written)
    if spoken.is_cut:
        return None
    answer = written[spoken.start :]
    place, begin = 0, len(written) - len(without_prefix(answer, prefix))
    for position in choice.positions:
        place += len(position.token)
        if place <= begin or not position.token.strip():
            continue
        weights = np.zeros(len(choices))
        for text, logprob in position.candidates:
            token = text.strip()
            named = [number for number, choice_text in enumerate(choices) if token and choice_text.strip().startswith(token)]
            exact = [number for number in named if choices[number].strip() == token]
            for number in exact or named:
                weights[number] += float(np.exp(logprob)) / len(exact or named)
        return weights if weights.sum() > 0 else None
    return None


def choice_in(text: str, choices: Sequence[str]) -> int | None:
    """The choice that stands first in the text, the longest where several begin there; None if none does."""
    places = [
        (match.start(), -len(choice), number)
        for number, choice in enumerate(choices)
        if (match := re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", text))
    ]
    return min(places)[2] if places else None
