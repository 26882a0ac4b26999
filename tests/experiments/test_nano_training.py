from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from experiments.nano.command import run
from experiments.nano.instruct import pack
from experiments.nano.pretrain import CorpusStream, seconds_until, validation_loss
from experiments.nano.training import (
    Batch,
    PhaseProgress,
    Schedule,
    load_checkpoint,
    make_model,
    make_optimizers,
    save_checkpoint,
    train,
    weighted_loss,
)
from grasper.errors import DataFormatError, MissingFileError, RunMismatchError


def small_model(hidden_size: int = 32) -> LlamaForCausalLM:
    return make_model(64, 32, hidden_size=hidden_size, num_layers=1, num_heads=2, seed=0)


def steps(start: int) -> Iterator[tuple[list[Batch], dict[str, int]]]:
    """The same batches whatever the start."""
    for number in range(start, 1000):
        ids = torch.randint(2, 64, (2, 9), generator=torch.Generator().manual_seed(number))
        yield [Batch(ids, torch.ones(2, 9))], {"offset": number + 1}


def run_steps(folder: Path, tokens: int) -> LlamaForCausalLM:
    """Trains in `folder` up to a number of tokens, from its checkpoint if there is one."""
    model = small_model()
    optimizers = make_optimizers(model)
    path = folder / "pretrain.pt"
    progress = load_checkpoint(path, model, optimizers) if path.exists() else PhaseProgress("pretrain")
    schedule = Schedule(tokens=tokens, seconds=float("inf"))
    train(
        model,
        steps(progress.position.get("offset", 0)),
        schedule,
        progress,
        optimizers,
        folder,
        worker=0,
        num_workers=1,
        validate=lambda: 0.0,
        compile_model=False,
    )
    return model


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path) -> None:
    """Two times three steps give the weights of six steps: model, optimizers and data position come back."""
    run_steps(tmp_path / "halves", 48)
    resumed, whole = run_steps(tmp_path / "halves", 96), run_steps(tmp_path / "whole", 96)
    for left, right in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    """The message names what differs."""
    model = small_model()
    save_checkpoint(tmp_path / "pretrain.pt", model, make_optimizers(model), PhaseProgress("pretrain"))
    with pytest.raises(RunMismatchError, match="hidden_size is 32, expected 64"):
        load_checkpoint(tmp_path / "pretrain.pt", small_model(64))


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """Cut files are not taken for checkpoints."""
    (tmp_path / "pretrain.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(RunMismatchError, match="expected a checkpoint"):
        load_checkpoint(tmp_path / "pretrain.pt", small_model())


def test_only_weighted_tokens_count() -> None:
    """A token of weight 0 adds nothing, one of weight 0.5 half; the first token is never predicted."""
    model, ids = small_model(), torch.tensor([[5, 6, 7, 8]])
    each = [weighted_loss(model, ids, torch.eye(4)[place][None]).item() for place in range(4)]
    assert each[0] == 0
    assert weighted_loss(model, ids, torch.tensor([[1.0, 0.5, 0.0, 1.0]])).item() == pytest.approx(0.5 * each[1] + each[3], rel=1e-4)


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    """Known points of the schedule; the budget that is used up first counts."""
    schedule = Schedule(tokens=1000, seconds=10.0, warmup_steps=10, decay_from=0.8)
    assert schedule.used(500, 8.0) == 0.8
    assert [schedule.rate(step, used) for step, used in [(0, 0.0), (4, 0.1), (50, 0.5), (50, 0.9), (50, 1.0)]] == pytest.approx([0.1, 0.5, 1, 0.5, 0])


def test_packed_rows_hold_whole_examples() -> None:
    """Every example that fits occurs once, in one piece; longer ones are left out; filling has weight 0."""
    generator = np.random.default_rng(0)
    examples = [([10 + number] * int(length), [0.5] * int(length)) for number, length in enumerate(generator.integers(1, 30, 40))]
    examples.append(([9] * 40, [1.0] * 40))
    rows = list(pack(examples, 31, end_id=1))
    assert all(len(ids) == len(weights) == 32 for ids, weights in rows)
    for ids, _ in examples[:-1]:
        holding = [row for row, _ in rows if ids[0] in row]
        assert len(holding) == 1
        assert (holding[0] == ids[0]).sum() == len(ids)
        places = np.flatnonzero(holding[0] == ids[0])
        assert places[-1] - places[0] == len(ids) - 1
    assert not any(9 in ids for ids, _ in rows)
    assert all(weights[ids == 1].sum() == 0 for ids, weights in rows)


def test_errors_end_with_one_line_and_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for what the user can mend."""

    def fail() -> None:
        raise MissingFileError("corpus: expected files")

    with pytest.raises(SystemExit) as caught:
        run(fail)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: corpus: expected files\n"


def test_until_is_the_next_time_the_clock_shows_it() -> None:
    """Never more than a day ahead; without a clock there is no end."""
    assert 0 < seconds_until("00:00") <= 86400
    assert seconds_until(None) == float("inf")


def test_a_corpus_too_small_for_a_batch_is_refused(tmp_path: Path) -> None:
    """Even one document is held out, so nothing is left to train on; the error says how much is needed."""
    (tmp_path / "part.jsonl").write_text('{"text": "Good."}\n', encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(str(files("grasper.models") / "nano"))
    stream = CorpusStream(tmp_path, tokenizer, tmp_path, share=1.0, seed=0)
    assert len(stream.validation()) > 1
    with pytest.raises(DataFormatError, match=r"expected at least 4,097 tokens in a pass, found 0; give a larger corpus"):
        stream.rows({}, 8, 512)


def test_held_out_documents_may_be_shorter_than_a_row() -> None:
    loss = validation_loss(small_model(), np.array([3, 5, 7, 9], dtype=np.uint16))
    assert loss == pytest.approx(np.log(64), abs=0.5)
