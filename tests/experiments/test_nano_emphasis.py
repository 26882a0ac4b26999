"""Which tokens count more in the loss."""

from __future__ import annotations

from importlib.resources import files

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from experiments.nano.emphasis import EMPHASIS, Emphasis


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(str(files("grasper.models") / "nano"))


def emphasised(tokenizer: PreTrainedTokenizerBase, text: str) -> dict[float, str]:
    """The tokens of each factor, decoded together."""
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    factors = Emphasis(tokenizer).factors(ids)
    return {factor: tokenizer.decode(ids[factors == factor]) for factor in factors.unique().tolist()}


def test_values_of_titles_and_ratings_count_more(tokenizer: PreTrainedTokenizerBase) -> None:
    found = emphasised(tokenizer, "Text: Good beds.\nTitle: Slept well\nRating: 4.5<|end|>Text: Next")
    assert found[EMPHASIS["Title"]] == " Slept well"
    assert found[EMPHASIS["Rating"]] == " 4.5"
    assert found[1.0] == "Text: Good beds.\nTitle:\nRating:<|end|>Text: Next"


def test_a_document_ends_the_line_before_it(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "Text: Fine.\nRating: 2<|end|>Text: a rating of 5 stars"
    assert emphasised(tokenizer, text)[EMPHASIS["Rating"]] == " 2"


def test_a_label_inside_a_line_is_none(tokenizer: PreTrainedTokenizerBase) -> None:
    """A prompt names the lines of its answer, and a review may say `Rating:` by itself."""
    assert list(emphasised(tokenizer, "Text: My verdict. Rating: 5\nAnswer in these lines: Title: at most 10 words; Rating: 1 to 5.")) == [1.0]


def test_a_label_is_not_read_across_the_ends_of_a_row(tokenizer: PreTrainedTokenizerBase) -> None:
    """A row that begins with the label's second token and ends with its first holds no label."""
    first, second = tokenizer("Rating:", add_special_tokens=False)["input_ids"]
    row = torch.tensor([[second, second, second, first]])
    assert Emphasis(tokenizer).factors(row).tolist() == [[1.0, 1.0, 1.0, 1.0]]
