"""Titles and ratings count more in the loss: a rating is one token beside a hundred of the text, so at equal weight it is hardly learned."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from grasper.prompts.templates import RATING, TITLE

EMPHASIS = {TITLE: 4.0, RATING: 16.0}


class Emphasis:
    """Finds the values of `Title:` and `Rating:` lines in rows of tokens; the same words inside a line are none."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._labels = {label: tokenizer(f"{label}:", add_special_tokens=False)["input_ids"] for label in EMPHASIS}
        self._ends = torch.tensor([*tokenizer("\n", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id])

    def factors(self, ids: Tensor) -> Tensor:
        """Gives what each token's weight is multiplied with: the label's factor up to the end of its line, else 1; `[rows, length]`, as `ids`."""
        places = torch.arange(ids.shape[1]).expand_as(ids)
        ends_line = torch.isin(ids, self._ends)
        line_start = torch.where(ends_line, places, -1).cummax(dim=1).values
        factors = torch.ones(ids.shape)
        for label, tokens in self._labels.items():
            matches = torch.stack([ids.roll(len(tokens) - 1 - place, dims=1) == token for place, token in enumerate(tokens)]).all(dim=0)
            matches &= ends_line.roll(len(tokens), dims=1)
            matches[:, : len(tokens)] = False  # rolled in from the row's end
            label_end = torch.where(matches, places, -1).cummax(dim=1).values
            factors[(label_end > line_start) & (places > label_end)] = EMPHASIS[label]
        return factors
