"""A tokenizer as all threads use it: texts as token ids and characters."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache

from transformers import PreTrainedTokenizerBase

TEXTS_AT_ONCE = 256
"""Texts that are tokenised together: what the tokenizer notes of each token takes much more memory than its id."""


class Tokens:
    """A tokenizer behind a lock, since its settings change from call to call."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._tokenizer_lock = threading.Lock()
        lock = self._tokenizer_lock

        @lru_cache(maxsize=65536)
        def count_tokens(text: str) -> int:
            """Number of tokens of a text."""
            with lock:  # not `self.encode`: a cache that held this object would keep its network in memory
                return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

        self.count_tokens = count_tokens

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as the tokenizer reads it, special tokens that it spells out included."""
        with self._tokenizer_lock:
            ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts, as `encode` gives them one by one: the tokenizer is faster at it, on several cores where it may be."""
        ids: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            with self._tokenizer_lock:
                ids += self.tokenizer(list(texts[start : start + TEXTS_AT_ONCE]), add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def encode_plain(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a text without special tokens, and the characters `[start, end)` that each token stands for."""
        with self._tokenizer_lock:
            encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False, split_special_tokens=True)
        return encoding["input_ids"], [tuple(span) for span in encoding["offset_mapping"]]

    @cached_property
    def line_ends(self) -> tuple[int, ...]:
        """The tokens that hold a line break, in the spelling of byte-level, byte-fallback and plain vocabularies."""
        with self._tokenizer_lock:
            vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        return tuple(sorted(token for text, token in vocabulary.items() if "\n" in text or "Ċ" in text or text == "<0x0A>"))
