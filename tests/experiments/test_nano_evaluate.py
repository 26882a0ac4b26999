from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from experiments.nano.card import write_card
from experiments.nano.corpus import END
from experiments.nano.emphasis import EMPHASIS
from experiments.nano.evaluate import encode_texts, nano_bits, with_interval
from experiments.nano.export import export, latest_checkpoint
from experiments.nano.samples import Asked, first_samples, parse_rates
from experiments.nano.tokenizer import train_tokenizer
from experiments.nano.training import PhaseProgress, make_model, save_checkpoint
from grasper.errors import MissingFileError
from grasper.models.base import Prompt
from grasper.prompts.templates import PROMPT_VERSION
from grasper.records import Item

TEXT = "The room was clean and the staff friendly. Quarto limpo, ótimo café."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(iter([TEXT] * 10), vocab_size=350)


def test_bits_are_the_code_length_of_text_and_end(tokenizer: PreTrainedTokenizerBase) -> None:
    """Batches of texts of different lengths give what each text alone gives, worked out token by token."""
    model = make_model(len(tokenizer), 64, hidden_size=32, num_layers=1, num_heads=2, seed=1).eval()
    texts = [TEXT, "Clean", TEXT[:30]]
    documents = encode_texts(texts, tokenizer)
    assert [tokenizer.decode(document) for document in documents] == [" " + text for text in texts]
    bits = nano_bits(documents, model, tokenizer, batch_tokens=80)
    for text, found in zip(texts, bits, strict=True):
        ids = tokenizer(f"Text: {text}{END}")["input_ids"]
        label = len(tokenizer("Text:")["input_ids"])
        with torch.inference_mode():
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = -sum(logprobs[place - 1, ids[place]].item() for place in range(label, len(ids))) / np.log(2)
        assert found == pytest.approx(expected, rel=1e-4)


def test_a_text_beyond_the_context_is_coded_in_pieces(tokenizer: PreTrainedTokenizerBase) -> None:
    """Nothing of it is left out: the bits are those of its pieces."""
    model = make_model(len(tokenizer), 16, hidden_size=32, num_layers=1, num_heads=2, seed=1).eval()
    (document,) = encode_texts([TEXT + TEXT], tokenizer)
    room = 16 - len(tokenizer("Text:")["input_ids"])
    assert len(document) > 2 * room
    whole = nano_bits([document], model, tokenizer)[0]
    ends = [nano_bits([document[start : start + room]], model, tokenizer)[0] for start in range(0, len(document), room)]
    assert 0.5 * sum(ends) < whole < sum(ends)  # the pieces alone each code an end as well


def test_the_interval_holds_the_ratio_of_sums() -> None:
    """Long texts weigh more; equal ratios have no spread."""
    sizes = np.array([10.0, 30.0])
    assert with_interval(np.array([20.0, 30.0]), sizes, 0)["value"] == 1.25
    assert with_interval(2 * sizes, sizes, 0) == {"value": 2.0, "low": 2.0, "high": 2.0, "n": 2}


def test_samples_are_the_first_ones_and_hold_no_prompt() -> None:
    """Five per set and task in the order asked, every other one with its path; parsed shares are counted by group."""
    asked = [
        Asked("hotel", "long", reasoning, Item(f"i{number}", f"Hotel {number}"), Prompt(())) for number in range(7) for reasoning in (False, True)
    ]
    answers = [f"Style: s\nInterests: i\nPlan: p\nText: {number}" if one.reasoning else f"answer {number}" for number, one in enumerate(asked)]
    samples = first_samples(asked, answers)
    assert [sample["item"] for sample in samples] == [f"Hotel {number}" for number in range(5)]
    assert [sample["answer"].startswith("Style") for sample in samples] == [False, True, False, True, False]
    assert set(samples[0]) == {"set", "task", "number", "item", "answer"}
    assert parse_rates(asked, answers)["all"] == {"value": 0.5, "n": 14}
    assert parse_rates(asked, answers)["long path"]["value"] == 1.0


def test_an_export_loads_and_knows_its_prompt_version(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """The tuned checkpoint wins over the pre-trained one; weights are 16 bits wide; the card is written from the logs."""
    with pytest.raises(MissingFileError, match="train first"):
        latest_checkpoint(tmp_path)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model = make_model(len(tokenizer), 1024, hidden_size=32, num_layers=1, num_heads=2, seed=1)
    versions = {}
    for phase in ("pretrain", "instruct"):
        save_checkpoint(tmp_path / f"{phase}.pt", model, [], PhaseProgress(phase))
        assert export(tmp_path, tmp_path / "model").name == f"{phase}.pt"
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
        versions[phase] = loaded.config.prompt_version
    assert versions == {"pretrain": 0, "instruct": PROMPT_VERSION}
    assert loaded.dtype == torch.float16
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == tokenizer.chat_template
    phase_summary = {"tokens": 1000, "steps": 2, "seconds": 3, "tokens_per_second": 333, "loss": 1.5, "validation_loss": 1.6}
    summary = {"seed": 0, "hardware": "a loom", "phases": {"pretrain": phase_summary}, "instruct_examples": {"long": 4}, "note": "Woven twice."}
    card = write_card(json.loads(json.dumps(summary)), tmp_path / "model", tmp_path)
    assert "| pretrain | 1,000 | 2 | 3 | 333 | 1.5 | 1.6 |" in card
    assert "Not measured yet." in card
    assert f"{EMPHASIS['Rating']:g} times in `Rating:` lines" in card
    assert "Woven twice." in card
