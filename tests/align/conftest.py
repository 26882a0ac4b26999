"""A tiny language model that can be fine-tuned for real, but whose answers are written for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import save_model
from worlds import hash_of, shown

from grasper.models.base import Completion, Prompt
from grasper.models.local import LocalModel

WORDS = ("clean", "quiet", "room", "breakfast", "warm", "coffee", "cake", "dry", "noisy", "seals")


class WritingModel(LocalModel):
    """Answers every prompt in good form, with a few words chosen by prompt, seed, sample and adapter.

    Its calls, and those of the models made from it with an adapter, are counted together; call number `fails_at` dies as a kill would.
    """

    def __init__(self, name: str, *, fails_at: int | None = None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.calls: list[str] = []
        """The name of the model that was asked, call by call."""
        self.fails_at = fails_at

    def generate(self, prompts: Sequence[Prompt], *, n: int = 1, seed: int = 0, **settings: Any) -> list[list[Completion]]:  # type: ignore[override]
        if len(self.calls) == self.fails_at:
            raise KeyboardInterrupt
        self.calls.append(self.name)
        return [[self._write(prompt, f"{seed}/{sample}/{self.name}") for sample in range(n)] for prompt in prompts]

    def _write(self, prompt: Prompt, stream: str) -> Completion:
        number = hash_of(f"{shown(prompt)}{stream}")
        text = " ".join(WORDS[number // 10**place % len(WORDS)] for place in range(4))
        answer = f"Rating: {1 + number % 5}\nTitle: {text}\nText: {text}"
        if "Text" not in prompt.messages[-1].content.rpartition("Answer in these lines")[2]:
            answer = answer.partition("\nText")[0]
        if prompt.prefix:
            return Completion(f" {answer.partition(': ')[2]}" if prompt.prefix.endswith("Rating:") else f" {text}", 10, 5)
        return Completion(f"Style: short\nInterests: {text}\nPlan: praise\n{answer}", 10, 8)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama on disk."""
    return save_model(tmp_path_factory.mktemp("align-model"), context_tokens=1024)


@pytest.fixture
def make_model(model_dir: Path):  # type: ignore[no-untyped-def]
    """Makes writing models; `fails_at` is the number of the call that dies."""

    def make(fails_at: int | None = None) -> WritingModel:
        return WritingModel(str(model_dir), device="cpu", dtype=torch.float32, fails_at=fails_at)

    return make


class Tuned(list[Any]):
    """Stands in for fine-tuning: keeps what it was given and writes an adapter that says how often it was called."""

    def __call__(self, model: Any, train: Any, evaluation: Any, config: Any, out_dir: Path, *, seed: int) -> dict[str, Any]:
        self.append((model, list(train), list(evaluation), seed))
        (out_dir / "adapter").mkdir(parents=True, exist_ok=True)
        (out_dir / "adapter" / "adapter_model.safetensors").write_text(f"{out_dir.name} {seed}")
        (out_dir / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny"}')
        (out_dir / "metrics.jsonl").write_text("")
        return {"sequences": len(train)}

    def completions(self, call: int) -> list[str]:
        """The texts that a call was to train on."""
        model, train, _, _ = self[call]
        return [completion_of(model, sequence) for sequence in train]

    def evaluated(self, call: int) -> list[str]:
        """The texts that it was to be measured on."""
        model, _, evaluation, _ = self[call]
        return [completion_of(model, sequence) for sequence in evaluation]


def completion_of(model: Any, sequence: Any) -> str:
    """The trained text of a sequence: what follows the last message."""
    text = model.tokenizer.decode(sequence.ids)
    assert isinstance(text, str)
    return text.rpartition("<|assistant|>\n")[2].removesuffix("<|end|>")


@pytest.fixture
def tuned() -> Tuned:
    return Tuned()
