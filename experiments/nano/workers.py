"""Several equal processes that train one model: each takes its share of a step's batches, and the gradients are added.

`torchrun --nproc-per-node N` starts them; without it there is one. On CPU one process per core with a single thread each is faster than
one process with many threads, above all when other programs share the cores: they meet once a step instead of in every layer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def start_workers() -> tuple[int, int]:
    """Joins the other processes and gives the number of this one and how many there are, (0, 1) when alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        return dist.get_rank(), count
    return 0, 1


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces each gradient by the sum over all processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def agree(value: float, device: torch.device) -> float:
    """Gives the value of the first process to all, so that decisions by the clock are the same everywhere."""
    if not dist.is_initialized():
        return value
    shared: Tensor = torch.tensor([value], device=device, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return float(shared.item())


def wait_for_all() -> None:
    """Returns once every process has come here."""
    if dist.is_initialized():
        dist.barrier()
