"""LaMP (Salemi et al., arXiv 2304.11406) and LongLaMP (Kumar et al., arXiv 2407.11016): their tasks as ours, where they fit.

`prepare.data` is a folder with `{train,dev}_questions.json` and `{train,dev}_outputs.json` (LaMP), or with LongLaMP's `{train,val,test}.json` or the
Hub's `{train,val,test}-*.parquet`.
A question is a user, its profile the user's history, and its own text with the output the target. The collections name no items, so every entry
is an item of its own: there is no graph to predict on, and methods without predicted items are what can be compared.

| collection | becomes |
|---|---|
| LaMP-3 (product ratings) | `rating` |
| LaMP-4, LaMP-5 (headlines, titles of papers) | `title` |
| LongLaMP: product reviews | `long`, `title`, `rating` |
| LongLaMP: abstracts, posts | `long`, `title` |
| LaMP-1, 2 (classification), LaMP-6 and e-mails (private), LaMP-7 (paraphrase) | refused, with the reason |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError, MissingFileError
from grasper.files import fingerprint_file
from grasper.prepare.arrays import elements
from grasper.prepare.batches import Batch, gather, with_targets
from grasper.prepare.formats import format_of, is_list, json_lines, parse_json
from grasper.prepare.lines import numbered_lines
from grasper.prepare.sources import SOURCES, Input, Pool, Source, require_data
from grasper.rows import without_halves
from grasper.runs import fingerprint

_FIELDS = ("user_id", "item_id", "text", "title", "rating")
_KEYS = {
    "text": ("text", "reviewText", "abstract", "content"),
    "title": ("title", "summary"),
    "rating": ("score", "overall", "rating"),
}
_NOT_OURS = {
    "LaMP_1": "chooses between two references, which is no text that a user writes",
    "LaMP_2": "chooses a tag from a list, which is no text that a user writes",
    "LaMP_6": "asks for subjects of e-mails, which are private (Avocado)",
    "LaMP_7": "asks to paraphrase a post that is given, so nothing about an item is left to predict",
}
_POOLS: dict[str, Pool] = {"train": "train", "dev": "dev", "val": "dev", "validation": "dev", "test": "test"}
_REVIEW = re.compile(r'overall rating of "?(?P<rating>[\d.]+)"?.*?summary of the review text is "?(?P<summary>.*?)"?\.?\s*$', re.DOTALL)
"""How LongLaMP asks for a review; its rows name neither the rating nor the summary apart from this."""
Entry = dict[str, Any]


def find_lamp(config: PrepareConfig) -> list[Input]:
    """The splits in the folder.

    Raises:
        MissingFileError: There are none, or the outputs of one are missing.
    """
    folder = require_data(config)
    inputs: list[Input] = []
    for split, pool in _POOLS.items():
        names = (f"{split}_questions.json", f"{split}.json", f"{split}.jsonl", f"{split}.parquet")
        whole = next((folder / name for name in names if (folder / name).is_file()), None)
        chosen = pool if config.split == "given" else None
        if pool == "test" and whole and not _answers_of(whole).is_file() and inputs:
            continue  # LaMP publishes the questions of its test split, and not the answers
        for number, path in enumerate([whole] if whole else sorted(folder.glob(f"{split}-*-of-*.parquet")), start=1):
            label = f"{config.name}-{split}" + (f"-{number}" if number > 1 else "")
            inputs.append(Input(label, partial(read_questions, path, chosen), path, identity=_identity_of(path), pool=chosen))
    if not inputs:
        raise MissingFileError(
            f"{folder} holds no LaMP data: expected dev_questions.json and dev_outputs.json, or LongLaMP's val.json or val-*.parquet"
        )
    return inputs


def read_questions(path: Path, pool: Pool | None, config: PrepareConfig) -> Iterator[Batch]:
    """The targets and histories of one split.

    Raises:
        MissingFileError: The outputs of the questions are missing.
        DataFormatError: A task that is none of ours, or an entry of another layout.
    """
    outputs = _outputs(path, config)
    skipped = Counter[str]()
    reviews = _reviews(path, outputs, config, skipped)
    yield from with_targets(gather(path, "entry", reviews, {name: name for name in (*_FIELDS, "is_target")}, skipped), pool in ("dev", "test"))


def _reviews(path: Path, outputs: dict[str, str], config: PrepareConfig, skipped: Counter[str]) -> Iterator[tuple[int, Entry]]:
    for number, question in _questions(path, config, skipped):
        where = f"{path} entry {number}"
        if not isinstance(question, dict) or not isinstance(question.get("profile"), list) or "input" not in question:
            raise DataFormatError(f"{where}: expected an object with 'input' and a list 'profile'")
        user = question.get("reviewerId") or question.get("author") or question.get("name") or question.get("id")
        target = _target(question, outputs, where)
        for position, (entry, is_target) in enumerate([(target, True), *((past, False) for past in question["profile"])]):
            if not isinstance(entry, dict):
                raise DataFormatError(f"{where}: a profile entry is a {type(entry).__name__}, expected an object")
            fields = {name: next((entry[key] for key in keys if entry.get(key) is not None), None) for name, keys in _KEYS.items()}
            item = entry.get("asin") or entry.get("id") or f"{user}-{position}"
            yield number, {"user_id": user, "item_id": item, **fields, "is_target": "1" if is_target else "0"}


def _questions(path: Path, config: PrepareConfig, skipped: Counter[str]) -> Iterator[tuple[int, Any]]:
    """Number and content of every question; none but the current one is in memory. `skipped` counts broken lines where they are left out."""
    if format_of(path) in (".parquet", ".pq"):
        yield from _questions_of_parquet(path)
    elif is_list(path):
        yield from ((number, without_halves(value)) for number, value in elements(path, config))
    else:
        lines = numbered_lines(path, config, skipped)
        yield from json_lines(lines, path, skipped if config.invalid_rows == "skip" else None)


def _questions_of_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        number = 0
        for batch in pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=200):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataFormatError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]})") from None


def _outputs(path: Path, config: PrepareConfig) -> dict[str, str]:
    """Question → gold answer, for LaMP; empty for LongLaMP, whose questions hold theirs."""
    if "_questions" not in path.name:
        return {}
    answers = _answers_of(path)
    if not answers.is_file():
        raise MissingFileError(f"{answers} is missing: the answers to {path.name} (LaMP's test answers are not public; use dev)")
    value = parse_json("".join(numbered_lines(answers, config)), answers)
    if not isinstance(value, dict) or not isinstance(value.get("golds"), list):
        raise DataFormatError(f"{answers}: expected {{task, golds: [{{id, output}}]}}")
    task = str(value.get("task"))
    if reason := _NOT_OURS.get(task):
        raise DataFormatError(f"{answers}: {task} {reason}; LaMP_3, LaMP_4 and LaMP_5 are what grasper asks for")
    return {str(gold.get("id")): str(gold.get("output")) for gold in value["golds"] if isinstance(gold, dict)}


def _answers_of(path: Path) -> Path:
    """Where the answers to a file of questions are; the file itself where it holds them."""
    return path.with_name(path.name.replace("_questions", "_outputs"))


def _identity_of(path: Path) -> str | None:
    """What stands for the content of questions and their answers; None where one file holds both, or there are no answers yet."""
    answers = _answers_of(path)
    return fingerprint([fingerprint_file(path), fingerprint_file(answers)]) if answers != path and answers.is_file() else None


def _target(question: Entry, outputs: dict[str, str], where: str) -> Entry:
    """What is to be predicted, in the keys of a profile entry."""
    given = str(question["input"])
    answer = outputs.get(str(question.get("id"))) if outputs else question.get("output")
    if answer is None:
        raise DataFormatError(f"{where}: no answer to it ('output')")
    if not outputs:  # LongLaMP: the answer is the long text
        if asked := _REVIEW.search(given):
            question = {
                "overall": asked["rating"],
                "summary": asked["summary"],
                **{key: value for key, value in question.items() if value is not None},
            }
        title = question.get("summary") or question.get("title") or _quoted(given)
        return {"text": answer, "title": title, "rating": question.get("overall") or question.get("rating"), "id": question.get("asin")}
    text = re.split(r"\b(?:review|article|paper)\b[^:]*:", given, maxsplit=1)[-1].strip()
    if re.fullmatch(r"[1-5](?:\.0)?", answer.strip()):
        return {"text": text, "score": answer}
    return {"text": text, "title": answer}


def _quoted(instruction: str) -> str | None:
    """The title within an instruction: in quotation marks, or behind its last colon."""
    quoted = re.findall(r'["“]([^"“”]{2,300})["”]', instruction)
    return quoted[0] if quoted else instruction.rsplit(":", 1)[-1].strip() if ":" in instruction else None


SOURCES.register(
    "lamp",
    Source(
        "lamp",
        "a folder with {train,dev}_questions.json and …_outputs.json (LaMP), or {train,val,test}.json (LongLaMP)",
        find_lamp,
        origin="https://lamp-benchmark.github.io and https://longlamp-benchmark.github.io",
        licence="LaMP: CC BY-NC-SA 4.0 for code and making, its data sets keep their own; LongLaMP: not checked",
        splits=True,
    ),
)
