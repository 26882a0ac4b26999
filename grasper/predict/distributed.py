"""The stage in several processes on one machine or more:

    torchrun --nproc_per_node 2 -m grasper.predict.distributed --prepare runs/NAME/prepare --out runs/NAME/predict

Each process takes every n-th fold of the edges, gradients are averaged (gloo on the CPU), and the first process writes the files. All processes hold
the same model after every step.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch.distributed as dist

from grasper.config import PredictConfig
from grasper.predict.stage import fit
from grasper.records import Tables


def main() -> None:
    """Fit in every process; only rank 0 writes to `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", type=Path, required=True, help="Folder of a finished prepare stage.")
    parser.add_argument("--out", type=Path, required=True, help="Where model.safetensors and candidates.parquet go.")
    parser.add_argument("--config", default="{}", help="The predict section as JSON.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    try:
        tables = Tables.load(arguments.prepare)
        config = PredictConfig.model_validate_json(arguments.config)
        with tempfile.TemporaryDirectory(prefix="grasper-") as scratch:
            out_dir = arguments.out if dist.get_rank() == 0 else Path(scratch)
            out_dir.mkdir(parents=True, exist_ok=True)
            counts = fit(config, tables, out_dir, seed=arguments.seed)
        if dist.get_rank() == 0:
            print(f"{dist.get_world_size()} processes: {counts}")
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
