"""The adapter under training: peft's LoRA over a frozen base, 32-bit master weights and moments, and the gradient of a step by threads.

A processor with bfloat16 arithmetic does all products in it, yet a small step would vanish in 8 bits of mantissa: so the optimizer keeps its weights
in float32 and the model gets a rounded copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from grasper.errors import AdapterError, ConfigError, ModelError
from grasper.models.adapters import WEIGHTS_FILE
from grasper.models.attention_gradient import fast_attention_gradient
from grasper.models.locate import first_line
from grasper.models.weights import without_future_warnings
from grasper.tune.sequences import Batch

T = TypeVar("T")

BETAS, EPSILON, MAX_NORM = (0.9, 0.98), 1e-8, 1.0


def token_nll(model: Any, ids: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihoods in nats of all tokens with a weight above 0, in row order, `[counted]`.

    The output layer, the largest of a small model, runs over the columns alone that hold such a token. The logits are the model's own, with what it
    does to them behind that layer: Gemma 2 caps them, Cohere and Granite scale them.

    Args:
        model: A causal language model of transformers.
        ids: `[rows, length]`, padded on the right.
        weights: `[rows, length]`.
    """
    device = next(model.parameters()).device
    ids, counted = ids.to(device), (weights[:, 1:] > 0).to(device)
    columns = counted.any(0).nonzero().squeeze(1)
    logits = model(input_ids=ids[:, :-1], logits_to_keep=columns, use_cache=False).logits[counted[:, columns]]
    return F.cross_entropy(logits.float(), ids[:, 1:][counted], reduction="none")


class Adapter:
    """A LoRA adapter over a model, its optimizer, and the running mean of its weights.

    Args:
        model: The base; it stays as it is, its modules are wrapped while the adapter lives.
        rank: LoRA r.
        alpha: LoRA α.
        target_modules: Names of the linear layers that get an adapter.
        num_workers: Batches that are worked on at once.
        threads: Cores of each worker.
        seed: Of the initial weights.
        averaging: Decay per step of the running mean, which is what is evaluated and shipped: at a constant learning rate the last weights are noisy.

    Raises:
        ConfigError: The model has no such modules.
    """

    def __init__(
        self, model: nn.Module, *, rank: int, alpha: int, target_modules: Sequence[str], num_workers: int, threads: int, seed: int, averaging: float
    ) -> None:
        settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(target_modules), task_type="CAUSAL_LM")
        with torch.random.fork_rng(), without_future_warnings():
            torch.manual_seed(seed)
            try:
                self.peft_model = get_peft_model(model, settings, autocast_adapter_dtype=False)
            except ValueError as error:
                raise ConfigError(f"tune.target_modules {list(target_modules)} do not fit the model: {first_line(error)}") from None
        self.base = self.peft_model.get_base_model()
        named = {name.replace(".default.", "."): value for name, value in self.peft_model.named_parameters() if value.requires_grad}
        self.names, self._working = list(named), list[Tensor](named.values())
        self.masters = [value.detach().float().clone() for value in self._working]
        self.means = [value.clone() for value in self.masters]
        self.first_moments = [torch.zeros_like(value) for value in self.masters]
        self.second_moments = [torch.zeros_like(value) for value in self.masters]
        self.averaging = averaging
        self.num_steps = 0
        self._pool = ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(threads,)) if num_workers > 1 else None

    def step(self, batches: Sequence[Batch], learning_rate: float) -> float:
        """One optimizer step on the weighted mean over all batches; gives that mean in nats."""
        total = float(sum(batch.weights[:, 1:].sum() for batch in batches))
        with fast_attention_gradient(cast(PreTrainedModel, self.base)):
            results = self._map(lambda batch: self._gradient(batch, total), batches)
        losses = [loss for loss, _ in results]
        gradients = [part.float() for part in results[0][1]]
        for _, parts in results[1:]:
            torch._foreach_add_(gradients, [part.float() for part in parts])
        norm = float(nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise ModelError(f"the gradient became {norm} at step {self.num_steps}; lower the learning rate")
        torch._foreach_mul_(gradients, min(1.0, MAX_NORM / max(norm, 1e-12)))
        self._update(gradients, learning_rate)
        self.num_steps += 1
        decay = min(self.averaging, (1 + self.num_steps) / (10 + self.num_steps))
        torch._foreach_lerp_(self.means, self.masters, 1 - decay)
        self.show(self.masters)
        return sum(losses)

    def _update(self, gradients: list[Tensor], learning_rate: float) -> None:
        """Adam (Kingma & Ba 2015) without weight decay: the adapter starts at zero, and a decay would pull it back there."""
        step, (beta1, beta2) = self.num_steps + 1, BETAS
        torch._foreach_lerp_(self.first_moments, gradients, 1 - beta1)
        torch._foreach_mul_(self.second_moments, beta2)
        torch._foreach_addcmul_(self.second_moments, gradients, gradients, 1 - beta2)
        scale = torch._foreach_div(self.second_moments, 1 - beta2**step)
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, EPSILON)
        torch._foreach_addcdiv_(self.masters, self.first_moments, scale, -learning_rate / (1 - beta1**step))

    @torch.no_grad()
    def begin_from(self, folder: Path) -> None:
        """Takes over the weights of the adapter in a folder, in peft's layout.

        Raises:
            AdapterError: They cannot be read, or are of another shape.
        """
        path = folder / WEIGHTS_FILE
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise AdapterError(f"{path} cannot be read ({type(error).__name__}: {error}); the adapter is damaged") from None
        wanted = {name: list(value.shape) for name, value in zip(self.names, self.masters, strict=True)}
        found = {name: list(value.shape) for name, value in tensors.items()}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise AdapterError(f"{path} does not fit: {name} is {found.get(name)} there and {wanted.get(name)} here")
        for name, master, mean in zip(self.names, self.masters, self.means, strict=True):
            master.copy_(tensors[name])
            mean.copy_(tensors[name])
        self.show(self.masters)

    def restore(self, num_steps: int) -> None:
        """Called when the weights and moments have been replaced by those of a checkpoint."""
        self.num_steps = num_steps
        self.show(self.masters)

    @torch.no_grad()
    def show(self, weights: Sequence[Tensor]) -> None:
        """Puts weights into the model, rounded to its number format."""
        torch._foreach_copy_(self._working, list(weights))

    @torch.no_grad()
    def losses(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Per batch the negative log-likelihoods of its counted tokens, under the running mean of the weights."""
        self.show(self.means)
        try:
            return self._map(self._loss, batches)
        finally:
            self.show(self.masters)

    def _loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return token_nll(self.base, batch.ids, batch.weights).cpu()

    def _gradient(self, batch: Batch, total: float) -> tuple[float, list[Tensor]]:
        with torch.enable_grad():
            weights = batch.weights[:, 1:]
            losses = token_nll(self.base, batch.ids, batch.weights)
            loss = (losses * weights[weights > 0].to(losses.device)).sum() / total
            return loss.item(), list(torch.autograd.grad(loss, self._working))

    def _map(self, work: Callable[[Batch], T], batches: Sequence[Batch]) -> list[T]:
        """The work done on every batch, in the order of the batches."""
        if self._pool is None:
            return [work(batch) for batch in batches]
        order = sorted(range(len(batches)), key=lambda index: -batches[index].ids.numel())  # the longest first, so that no worker waits at the end
        futures = {index: self._pool.submit(work, batches[index]) for index in order}
        return [futures[index].result() for index in range(len(batches))]
