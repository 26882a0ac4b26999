"""Prompts and texts as token ids: the chat template, and what a text may spell that a tokenizer must not take for something else."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

import jinja2
from transformers import AddedToken, PreTrainedTokenizerBase

from grasper.errors import ModelError
from grasper.models.base import Message, Prompt
from grasper.models.locate import find_weights
from grasper.models.thoughts import end_of_thought, split_thoughts
from grasper.models.tokens import Tokens
from grasper.models.weights import load_tokenizer

logger = logging.getLogger(__name__)

_MARK = "mark-of-grasper"
"""A content that no template writes of its own accord."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """The text with � for every half of a surrogate pair, which no tokenizer can read; as long as before."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def added_token_pattern(added: Iterable[AddedToken]) -> re.Pattern[str] | None:
    """Matches what a tokenizer would turn into a token outside of its vocabulary proper (`<|end|>`, `</s>`); runs of spaces are harmless."""
    spelled = sorted((str(token) for token in added if len(str(token).strip()) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spelled))) if spelled else None


@cache
def _tell_of_thoughts(name: str) -> None:
    logger.warning(
        "%s thinks before it answers, and a thought took all tokens of an answer, which is therefore empty; where its chat template knows the "
        "setting, tell it not to with model.extra={chat_template_kwargs: {enable_thinking: false}}, else allow longer answers "
        "(prompts.answer_tokens)",
        name,
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """Tokens behind a context, of which the last `counted` ones are scored and the others are given, too."""

    tokens: tuple[int, ...]
    counted: int


class Spelling:
    """Spells prompts and texts for one model.

    Args:
        tokens: Its tokenizer.
        template: What the chat template is told.
    """

    name: str
    context_tokens: int
    """Longest prompt plus answer."""

    def __init__(self, tokens: Tokens, template: Mapping[str, Any]) -> None:
        self.tokens, self.template = tokens, dict(template)
        self._system: tuple[Any, bool] | None = None
        """What was asked whether it writes system messages, and the answer."""
        added = self.tokenizer.added_tokens_decoder.values()
        self._added_token = added_token_pattern(added)
        self._special_token = added_token_pattern(token for token in added if token.special)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.tokens.tokenizer

    def count_tokens(self, text: str) -> int:
        """Number of tokens of plain text."""
        return self.tokens.count_tokens(self._defuse(text))

    def truncate(self, text: str, max_tokens: int) -> str:
        """The longest beginning of `text` that has at most `max_tokens` tokens."""
        if max_tokens <= 0:
            return ""
        while len(offsets := self.tokens.encode_plain(without_surrogates(text))[1]) > max_tokens:
            # The end of the last token that fits; a character of several byte tokens ends where it began.
            end = offsets[max_tokens - 1][1]
            if end > offsets[max_tokens][0]:
                end = offsets[max_tokens][0]
            text = text[: min(end, len(text) - 1)]
        return text

    def chat_text(self, prompt: Prompt) -> str:
        """The conversation as the model's chat template writes it, up to where the answer begins, then the prompt's prefix.

        Special tokens come from the template alone: those that a message spells out are broken with a space.
        """
        return self.before_answer(prompt) + self._defuse(prompt.prefix)

    def before_answer(self, prompt: Prompt) -> str:
        """The conversation up to where the answer begins. A thought that the template opens is over where the answer has begun with a prefix."""
        text = self.conversation(prompt.messages)
        return text + end_of_thought(text) if prompt.prefix else text

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of the prompt; the answer's tokens follow them. Prefix and conversation are encoded apart, as in training."""
        ids = self.tokens.encode(self.before_answer(prompt))
        return ids + self.encode_text(prompt.prefix) if prompt.prefix else ids

    def encode_all(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of many prompts, faster than one by one."""
        conversations = self.tokens.encode_all([self.before_answer(prompt) for prompt in prompts])
        return [ids + self.encode_text(prompt.prefix) if prompt.prefix else ids for ids, prompt in zip(conversations, prompts, strict=True)]

    def begin_answer(self, prompt_ids: Sequence[int]) -> list[int]:
        """What an answer to be learned begins with: the end of the thought that the template opens, else nothing. Without it the answer would be
        learned as a thought, which is taken off wherever it is written.

        Args:
            prompt_ids: What `encode` gives.
        """
        end = end_of_thought(self.ending_of(prompt_ids))
        return self.tokens.encode(end) if end else []

    def ending_of(self, prompt_ids: Sequence[int]) -> str:
        """The last characters of a prompt, enough to hold a mark of thoughts."""
        return str(self.tokenizer.decode(list(prompt_ids[-8:])))

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text (an answer, a prefix), no special token among them."""
        return self.tokens.encode(self._defuse(text))

    def endings(self, prompts: Sequence[Prompt], texts: Sequence[str], turn_end: tuple[int, ...]) -> list[Ending]:
        """Each prompt's prefix, its text and the end (`end_of_turn`), of which the text and the end are counted: the same tokens behind all prefixes.

        The two are spelled together, as an answer is learned and written; some tokenizers would begin a text of its own with one more space. What the
        prefix alone would spell, too, is given.
        """
        encode, counted = cache(self.encode_text), dict[tuple[bool, str], set[tuple[int, ...]]]()
        spelled = []
        for prompt, text in zip(prompts, texts, strict=True):
            given = encode(prompt.prefix) if prompt.prefix else []
            whole = encode(f"{prompt.prefix} {text}" if prompt.prefix else text)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(given, whole, strict=False)))
            counted.setdefault((bool(prompt.prefix), text), set()).add(tuple(whole[shared:]))
            spelled.append((given, whole, shared))
        endings = []
        for prompt, text, (given, whole, shared) in zip(prompts, texts, spelled, strict=True):
            if len(counted[bool(prompt.prefix), text]) > 1:  # its beginning is merged with a prefix, and not with every one in the same way
                whole, shared = given + encode(f" {text}"), len(given)
            endings.append(Ending((*whole, *turn_end), len(whole) - shared + len(turn_end)))
        return endings

    def split_choices(self, prompt: Prompt, choices: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """The tokens before the first difference of the choices, and each choice's tokens from there on (at least one)."""
        answers = [self.encode_text(prompt.prefix + choice) for choice in choices]
        if len({tuple(answer) for answer in answers}) < len(choices):
            raise ModelError(f"choices must be distinct, got {list(choices)}")
        shared = 0
        while shared < min(map(len, answers)) - 1 and len({answer[shared] for answer in answers}) == 1:
            shared += 1
        conversation = self.tokens.encode(self.before_answer(prompt))
        return conversation + answers[0][:shared], [answer[shared:] for answer in answers]

    def answer_in(self, tokens: Sequence[int], *, is_open: bool) -> str:
        """The answer without thoughts and special tokens; the marks of thoughts are special tokens in some vocabularies."""
        whole = str(self.tokenizer.decode(list(tokens)))
        spoken = split_thoughts(whole, is_open=is_open)
        if spoken.is_cut:
            _tell_of_thoughts(self.name)
        if spoken.text == whole:  # no thought, not even an empty one
            return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))
        return self._special_token.sub("", spoken.text) if self._special_token else spoken.text

    def conversation(self, messages: Sequence[Message]) -> str:
        """The messages as the chat template writes them, up to where the answer begins; a system message that it leaves out goes into the next."""
        turns = [{"role": message.role, "content": self._defuse(message.content)} for message in messages]
        if len(turns) > 1 and turns[0]["role"] == "system" and not self._writes_system():
            first = {"role": turns[1]["role"], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
            turns = [first, *turns[2:]]
        try:
            return self._apply_template(turns)
        except jinja2.TemplateError as error:
            raise ModelError(f"the chat template of model {self.name} rejects the conversation: {error}") from None

    def _writes_system(self) -> bool:
        """Whether the chat template knows the system role, asked once: some raise an error, others leave such a message out without a word."""
        asked = (self.tokenizer.chat_template, self.template)
        if self._system is None or self._system[0] != asked:
            try:
                text = self._apply_template([{"role": "system", "content": _MARK}, {"role": "user", "content": "?"}])
            except jinja2.TemplateError:
                text = ""
            self._system = asked, _MARK in text
        return self._system[1]

    def end_of_turn(self, end_ids: Collection[int]) -> tuple[int, ...]:
        """The token with which the chat template ends an answer, where generation stops at it, else the tokenizer's own end; empty without any.

        They differ in models whose answers end with a mark of the conversation (`<end_of_turn>` of Gemma) and not of the document.

        Args:
            end_ids: Tokens at which generation stops.
        """
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        own = () if self.tokenizer.eos_token_id is None else (self.tokenizer.eos_token_id,)
        try:
            text = self.tokenizer.apply_chat_template(turns, **{**self.template, "tokenize": False})
        except jinja2.TemplateError:
            return own
        _, mark, rest = str(text).rpartition(_MARK)
        return next(((token,) for token in self.tokens.encode(rest) if token in end_ids), own) if mark else own

    def begin_of_turn(self) -> tuple[int, ...]:
        """The special token with which the chat template opens an answer (`<|im_start|>`); empty where it opens none, or with plain words.

        After a finished text it is the likeliest token beside the end: a model that may not end goes on with it, and writes another message.
        """
        turns = [{"role": "user", "content": "?"}]
        try:
            asked = str(self.tokenizer.apply_chat_template(turns, **{**self.template, "tokenize": False, "add_generation_prompt": False}))
            opened = self._apply_template(turns)
        except jinja2.TemplateError:
            return ()
        ids = self.tokens.encode(opened.removeprefix(asked).lstrip()) if opened.startswith(asked) else []
        known = self.tokenizer.added_tokens_decoder
        return (ids[0],) if ids and ids[0] in known and known[ids[0]].special else ()

    def _apply_template(self, turns: list[dict[str, str]]) -> str:
        text = self.tokenizer.apply_chat_template(turns, **{**self.template, "tokenize": False, "add_generation_prompt": True})
        assert isinstance(text, str)
        return text

    def _defuse(self, text: str) -> str:
        text = without_surrogates(text)
        return self._added_token.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text) if self._added_token else text


class Speller(Spelling):
    """Spells as a model does, without its network in memory.

    Args:
        name: `nano`, a folder, or a Hub id.
        context_tokens: The model's.
        turn_end: The model's (`Spelling.end_of_turn`).
    """

    def __init__(self, name: str, template: Mapping[str, Any], *, context_tokens: int, turn_end: tuple[int, ...]) -> None:
        found = find_weights(name)
        super().__init__(Tokens(load_tokenizer(found.folder, found.identity)), template)
        self.name, self.context_tokens, self.turn_end = found.identity, context_tokens, turn_end
