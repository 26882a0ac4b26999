"""The loss of the alignment and the Trainer that minimises it.

Sequences are padded on the left, so that all completions end in the same column and the output layer runs over the completions only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from peft.helpers import disable_input_dtype_casting
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import get_length_grouped_indices

from grasper.align.checkpoints import PART, publish
from grasper.errors import CheckpointError, ModelError
from grasper.files import read_json, write_json
from grasper.memory import available_bytes, available_gpu_bytes
from grasper.models.adapters import CONFIG_FILE
from grasper.models.backbone import TRAINED
from grasper.models.decoding import BLOCK
from grasper.models.locate import first_line
from grasper.models.weights import without_future_warnings
from grasper.progress import Progress
from grasper.runs import derive_seed

if TYPE_CHECKING:
    from grasper.models.local import LocalModel


def summed_nll(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the token NLL in nats (GraSPer, Eq. 9, over [Z*; t]).

    Args:
        logits: `[batch, length, vocabulary]`, the prediction at each position for the next token.
        targets: `[batch, length]`, the next tokens.
        weights: `[batch, length]`, ≥ 0; positions of weight 0 do not count.

    Returns:
        A scalar; 0 where no position counts.
    """
    counts = weights > 0
    losses = F.cross_entropy(logits[counts].float(), targets[counts], reduction="none")
    return (losses * weights[counts]).sum()


def collate(batch: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """Left-padded tensors `[batch, length]`, of few lengths: `input_ids`, `attention_mask`, `position_ids`, `weights`."""
    length = -(-max(len(row["input_ids"]) for row in batch) // BLOCK) * BLOCK
    input_ids = torch.full((len(batch), length), pad_id)
    mask = torch.zeros((len(batch), length), dtype=torch.long)
    weights = torch.zeros((len(batch), length))
    for index, row in enumerate(batch):
        size = len(row["input_ids"])
        input_ids[index, length - size :] = torch.tensor(row["input_ids"])
        mask[index, length - size :] = 1
        weights[index, length - size :] = torch.tensor(row["weights"])
    position_ids = (mask.cumsum(1) - 1).clamp_min(0)
    return {"input_ids": input_ids, "attention_mask": mask, "position_ids": position_ids, "weights": weights}


class WeightedTrainer(Trainer):
    """The library's Trainer with the weighted loss and batches of similar length.

    The loss is a sum over tokens divided by the number of sequences, never by the batch's own tokens: batches hold similar lengths, so with a mean
    per batch the end of a short text would count many times as much as that of a long one, and the model would learn to be brief.

    Args:
        order_seed: Decides the order of the batches, epoch by epoch, so that a resumed training sees the same ones.
    """

    def __init__(self, order_seed: int, train_dataset: Sequence[dict[str, Any]], **arguments: Any) -> None:
        self._order = LengthGroups([len(row["input_ids"]) for row in train_dataset], arguments["args"].train_batch_size, order_seed)
        super().__init__(train_dataset=train_dataset, **arguments)

    def training_step(self, model: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        """Forward and backward pass: activations that the latter computes again must come out in the format that they had in the former."""
        with disable_input_dtype_casting(model):
            return super().training_step(model, *arguments, **options)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        weights = inputs.pop("weights")
        first = int((weights > 0).any(0).nonzero()[0, 0])
        with products_in_dtype_of_weights(model):
            outputs = model(**inputs, logits_to_keep=weights.shape[1] - first + 1, use_cache=False)
        loss = summed_nll(outputs.logits[:, :-1], inputs["input_ids"][:, first:], weights[:, first:]) / len(weights)
        if not torch.isfinite(loss):
            raise ModelError(f"the training loss became {loss.item()} at step {self.state.global_step}; lower align.learning_rate")
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        with torch.no_grad():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def _get_output_dir(self, trial: Any = None) -> str:
        return str(Path(str(self.args.output_dir)) / PART)

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        """The library writes it out of sight; then it takes its place."""
        part = Path(self._get_output_dir())
        written = part / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            publish(written, part.parent / written.name)
        except (OSError, RuntimeError, SafetensorError) as error:
            if isinstance(error, ModelError):
                raise
            problem = f"a checkpoint could not be written to {part.parent} ({first_line(error)})"
            raise CheckpointError(f"{problem}; make room and run the stage again") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        save_adapter(self.model, Path(output_dir or str(self.args.output_dir)))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._order


RECOMPUTED_FROM = 1_000_000_000
"""Parameters from which a GPU, where memory is dear, computes activations again in the backward pass: it costs a third of the speed."""
ACTIVATIONS = 70
"""Numbers kept for the backward pass per token, layer and hidden unit; as measured with SmolLM2-135M and adapters on all linear layers."""


def recomputes_activations(model: LocalModel, tokens: int) -> bool:
    """Whether training keeps few activations and computes the others again: for a large network on a GPU, and wherever those of a batch would take
    more than half of the memory that is free.

    Args:
        tokens: Of the largest batch, padding included.
    """
    network, is_on_gpu = model.model, model.device.type == "cuda"
    config = network.config.get_text_config()
    units = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    free = available_gpu_bytes(model.device) if is_on_gpu else available_bytes()
    is_much = tokens * units * ACTIVATIONS * network.dtype.itemsize > free // 2
    return network.supports_gradient_checkpointing and (is_much or (is_on_gpu and network.num_parameters() >= RECOMPUTED_FROM))


@contextmanager
def undone_checkpointing(network: PreTrainedModel) -> Iterator[None]:
    """Afterwards the network keeps its activations again, and its embeddings have the hooks that they had: the libraries leave theirs behind."""
    hooks = network.get_input_embeddings()._forward_hooks
    before = set(hooks)
    try:
        yield
    finally:
        with without_future_warnings():
            if network.is_gradient_checkpointing:
                network.gradient_checkpointing_disable()
        for key in set(hooks) - before:
            del hooks[key]


def shared_arguments(model: LocalModel, tokens: int, seed: int) -> dict[str, Any]:
    """What every training here tells the library's Trainer: schedule, number format (the network's), memory, device, seeds, and to print nothing.

    Args:
        tokens: Of the largest batch, padding included.
    """
    on_gpu = model.device.type == "cuda"
    return {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "bf16": on_gpu and model.model.dtype == torch.bfloat16,  # torch calls it supported where it is emulated, too
        "gradient_checkpointing": recomputes_activations(model, tokens),
        "use_cpu": model.device.type == "cpu",
        "dataloader_pin_memory": on_gpu,
        "disable_tqdm": True,
        "seed": seed,
        "data_seed": seed,
    }


@contextmanager
def on_device(arguments: TrainingArguments, device: torch.device) -> Iterator[None]:
    """Within the block the library trains where the network is: by itself it would take the first GPU, and spread batches over all in sight."""
    arguments._n_gpu = min(1, arguments.n_gpu)
    arguments.__dict__["_setup_devices"] = device  # what its cached property `device` stands on
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        yield


@contextmanager
def products_in_dtype_of_weights(model: nn.Module) -> Iterator[None]:
    """Within the block a bfloat16 network multiplies in bfloat16, its adapters too, whose own weights stay in float32.

    Small steps would vanish in bfloat16 weights, and float32 products cost a processor that is fast in bfloat16 a quarter of its speed.
    """
    weights = next(model.parameters())
    with torch.autocast(weights.device.type, torch.bfloat16, enabled=weights.dtype == torch.bfloat16), disable_input_dtype_casting(model):
        yield


def save_adapter(model: Any, folder: Path) -> None:
    """The trained adapter of a peft model as safetensors, without asking the Hub for the vocabulary of its base; equal ones give equal files."""
    model.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=[TRAINED])
    settings = read_json(folder / CONFIG_FILE)
    modules = settings["target_modules"]  # a set, whose order differs between processes
    write_json(folder / CONFIG_FILE, dict(sorted(settings.items())) | {"target_modules": sorted(modules) if isinstance(modules, list) else modules})


class LengthGroups(Sampler[int]):
    """Indices of sequences so that neighbours have similar lengths, in an order that depends on seed and epoch alone."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = list(lengths), batch_size, seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch, also when a training is resumed in its middle."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", self._epoch))
        return iter(get_length_grouped_indices(self._lengths, self._batch_size, generator=generator))


class ShowProgress(ExitStack, TrainerCallback):
    """grasper's own progress in the place of the library's. A context manager, since the library does not tell of a training that fails or is
    interrupted, and a bar that nobody stops keeps the terminal's cursor hidden."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress = self.enter_context(Progress("fine-tuning", state.max_steps, done=state.global_step))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.advance()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.close()
