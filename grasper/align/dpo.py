"""Direct preference optimisation of a LoRA adapter through trl (Rafailov et al. 2023, arXiv 2305.18290), for PAT's reasoners.

What trl does by default and what must not happen here:

- The reference is the adapter before the round. A trainable `PeftModel` with `ref_model=None` and without `peft_config` makes trl copy the adapter
  as a frozen `ref`; the exported folder holds the trained one alone.
- Policy and reference are equal before the first step, so its margin is 0 and its DPO loss ln 2. Dropout, number formats or cut sequences would
  break that; a first step with another margin is an error.
- `max_length=1024` would cut the end of long sequences: the answer. Nothing is cut here, and a pair that does not fit the model is an error.
- Prompt and answer are tokenised as at inference, apart from each other and with special tokens broken; trl's own tokenisation is passed over.
- `bf16` and gradient checkpointing are on by default; here bf16 only for a bfloat16 network on a GPU, and checkpointing where memory asks for it
  (`trainer.recomputes_activations`).

Needs the extra `rl`.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.helpers import disable_input_dtype_casting
from safetensors.torch import load_file
from transformers import PrinterCallback

from grasper.align.preference import PreferencePair
from grasper.align.sft import keep_training, new_adapter, preserved_random_state
from grasper.align.trainer import ShowProgress, on_device, shared_arguments, undone_checkpointing
from grasper.config import AlignConfig, DpoConfig
from grasper.errors import ConfigError, ModelError, PromptTooLongError
from grasper.models.adapters import WEIGHTS_FILE, find_adapter, require_fitting
from grasper.models.backbone import TRAINED
from grasper.models.room import room_to_train
from grasper.models.weights import without_future_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grasper.models.local import LocalModel

logger = logging.getLogger(__name__)

REFERENCE = "ref"
"""What trl calls the frozen copy of the adapter."""
MORE_PAIRS = "lower align.dpo.margin, or raise align.dpo.num_notes, align.dpo.temperature or align.num_pairs"
"""What to do where notes are all alike."""
MAX_FIRST_MARGIN = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""By how much policy and reference may differ before the first step, in nats times beta."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A preference pair in tokens; both answers end with the end token."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


def tokenise(model: LocalModel, pair: PreferencePair) -> TokenPair:
    """The pair as the model would read and write it.

    Raises:
        PromptTooLongError: One of the two answers does not fit the model's context whole.
    """
    prompt_ids = model.encode(pair.prompt)
    prompt_ids += model.begin_answer(prompt_ids)
    chosen, rejected = ([*model.encode_text(side.notes), *model.turn_end] for side in (pair.chosen, pair.rejected))
    tokens = TokenPair(prompt_ids, chosen, rejected)
    if tokens.longest > model.context_tokens:
        raise PromptTooLongError(
            f"a preference pair of {pair.chosen.pair_id} has {tokens.longest} tokens, model {model.name} holds {model.context_tokens}; "
            "lower prompts.context_tokens or prompts.path_tokens"
        )
    return tokens


def train_on_preferences(
    model: LocalModel,
    adapter: Path | None,
    pairs: Sequence[PreferencePair],
    config: DpoConfig,
    lora: AlignConfig,
    out_dir: Path,
    *,
    seed: int,
) -> dict[str, Any]:
    """Train `adapter` (None: a new one) on preference pairs into `out_dir/adapter`; the log goes to `out_dir/metrics.jsonl`.

    The base model is left as it was.

    Args:
        model: The base model, no adapter merged into it.
        lora: Shape of a new adapter; not read where there is one.

    Returns:
        Counts: `pairs`, `steps`, the loss and margin of the first step, the last loss, margin and accuracy.

    Raises:
        ConfigError: No pair, or trl is not installed.
        ModelError: Policy and reference differ before the first step, or the loss is not a finite number.
        PromptTooLongError: A pair does not fit the model's context.
    """
    if not pairs:
        raise ConfigError(f"no preference pair is left to learn from; {MORE_PAIRS}")
    trainer_class, config_class, dataset_class = require_trl()
    rows = [tokenise(model, pair) for pair in pairs]
    dataset = dataset_class.from_list([asdict(row) for row in rows])
    with preserved_random_state(seed), without_future_warnings(), _policy(model, adapter, lora) as policy:
        arguments = config_class(
            output_dir=str(out_dir / "checkpoints"),
            beta=config.beta,
            loss_type=["sigmoid", "sft"] if config.sft_weight else ["sigmoid"],
            loss_weights=[1.0, config.sft_weight] if config.sft_weight else None,
            ld_alpha=config.ld_alpha,
            max_length=None,
            per_device_train_batch_size=config.batch_size,
            num_train_epochs=config.epochs,
            learning_rate=config.learning_rate,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            **shared_arguments(model, 2 * config.batch_size * max(row.longest for row in rows), seed),
        )
        with on_device(arguments, model.device), ShowProgress() as progress:
            trainer = trainer_class(model=policy, args=arguments, train_dataset=dataset, processing_class=model.tokenizer, callbacks=[progress])
            trainer.remove_callback(PrinterCallback)
            with (
                room_to_train("align.dpo.batch_size"),
                disable_input_dtype_casting(policy, active=arguments.bf16),
                _kernels_that_compile(model.device),
            ):
                trainer.train()
        history = [entry for entry in trainer.state.log_history if "loss" in entry]
        _check(history, model)
        keep_training(policy, trainer.state.log_history, out_dir)
    first, last = history[0], history[-1]
    return {
        "pairs": len(pairs),
        "steps": trainer.state.global_step,
        "first_loss": first["loss"],
        "first_margin": first["rewards/margins"],
        "last_loss": last["loss"],
        "last_margin": last["rewards/margins"],
        "last_accuracy": last["rewards/accuracies"],
    }


@contextmanager
def _policy(model: LocalModel, adapter: Path | None, lora: AlignConfig) -> Iterator[PeftModel]:
    """The adapter in training on the network; afterwards trl's frozen copy and the forward that it hangs on the network are gone, and the dropout of
    the network's own, which trl takes out, is back."""
    dropouts = {module: module.p for module in model.model.modules() if isinstance(module, torch.nn.Dropout)}
    if adapter is None:
        shape = new_adapter(lora)
    else:
        require_fitting(find_adapter(adapter), model.backbone.name)
        shape = LoraConfig.from_pretrained(str(adapter))
        shape.inference_mode = False
    with model.backbone.training(shape) as policy, undone_checkpointing(model.model):
        if adapter is not None:
            set_peft_model_state_dict(policy, load_file(adapter / WEIGHTS_FILE), adapter_name=TRAINED)
        try:
            yield policy
        finally:
            model.model.__dict__.pop("forward", None)
            for module, share in dropouts.items():
                module.p = share
            if REFERENCE in policy.peft_config:
                policy.delete_adapter(REFERENCE)


@contextmanager
def _kernels_that_compile(device: torch.device) -> Iterator[None]:
    """trl's plain kernels where its fast ones cannot be built: Triton needs a C compiler and Python's headers, which lean GPU images lack."""
    kernels = sys.modules.get("trl.kernels.chunked_logprob")  # no promise of trl's: where it is gone, nothing is done
    if kernels is None or device.type != "cuda" or not getattr(kernels, "_TRITON_AVAILABLE", False) or _triton_compiles():
        yield
        return
    logger.warning("Triton finds no working C compiler here, so preference training takes trl's slower kernels; install gcc and python3-dev")
    kernels._TRITON_AVAILABLE = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        kernels._TRITON_AVAILABLE = True  # type: ignore[attr-defined]


def _triton_compiles() -> bool:
    try:
        from triton.runtime import driver

        driver.active.get_current_device()  # builds its helper in C, as every kernel's launcher is built
    except Exception:  # of the compiler, the linker, or Triton itself
        return False
    return True


def _check(history: Sequence[dict[str, Any]], model: LocalModel) -> None:
    """Raise where the first step did not start from the reference, or the training diverged."""
    first = history[0]["rewards/margins"]
    if abs(first) > MAX_FIRST_MARGIN.get(model.model.dtype, 0.1):
        raise ModelError(f"policy and reference differ by {first:.4f} before the first step, expected 0; dropout or number formats spoil that")
    if not all(math.isfinite(entry["loss"]) for entry in history):
        raise ModelError("the preference loss became infinite or not a number; lower align.dpo.learning_rate")


@cache
def require_trl() -> tuple[Any, Any, Any]:
    """trl's trainer for pairs that are tokenised already, its configuration, and the data set class it wants.

    Raises:
        ConfigError: trl is not installed.
    """
    try:
        from datasets import Dataset
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer
    except ImportError as error:
        raise ConfigError(f"training on preferences needs the extra `rl` (pip install 'grasper[rl]'): {error}") from None

    class TokenPairTrainer(DPOTrainer):
        """Takes the tokens as they are."""

        def _prepare_dataset(self, dataset: Any, *arguments: Any, **options: Any) -> Any:
            return dataset

    return TokenPairTrainer, DPOConfig, Dataset
