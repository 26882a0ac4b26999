"""Any data set of the Hugging Face Hub with a review per row, streamed through `datasets` (extra `hub`).

`prepare.data` is `owner/name`, `owner/name:config` or `owner/name:config@revision`; columns are mapped as in a table. Its splits `train`,
`validation` and `test` join; what is asked for is decided by `prepare.split`. Data sets that need code of their own are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.prepare.batches import Batch, gather
from grasper.prepare.sources import SOURCES, Input, Source, require_data
from grasper.prepare.table import mapped_columns


def find_hub(config: PrepareConfig) -> list[Input]:
    """One input: the whole data set."""
    name = str(require_data(config))
    return [Input(config.name, partial(read_hub, name), identity=f"hub:{name}")]


def read_hub(name: str, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of all splits, streamed.

    Raises:
        ConfigError: `datasets` is not installed.
        MissingFileError: The data set is not there, or the Hub cannot be reached.
    """
    try:
        import datasets
    except ImportError:
        raise ConfigError("source 'hub' needs the extra `hub` (pip install 'grasper[hub]')") from None
    name, _, revision = name.partition("@")
    name, _, variant = name.partition(":")
    try:
        found: Any = datasets.load_dataset(name, variant or None, revision=revision or None, streaming=True)
    except Exception as error:  # the library raises many kinds, those of the network among them
        reason = " ".join(str(error).split())[:300]
        raise MissingFileError(f"{name} cannot be opened ({reason}); offline, place its files in a folder and use prepare.source=table") from None
    place = Path(name)
    for split, rows in found.items():
        yield from gather(place, f"{split} row", _numbered(rows, place), mapped_columns(config))


def _numbered(rows: Any, place: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        yield from enumerate(rows, start=1)
    except DataFormatError:
        raise
    except Exception as error:
        raise DataFormatError(f"{place} broke off while it was read ({' '.join(str(error).split())[:300]})") from None


SOURCES.register(
    "hub",
    Source(
        "hub",
        "a Hugging Face id, owner/name or owner/name:config@revision, with columns mapped as in a table",
        find_hub,
        origin="https://huggingface.co/datasets",
        licence="see the data set's card",
        extra="hub",
    ),
)
