"""Every kind of file of a finished run, damaged in every way: noticed by who reads it, told in one line, and the advice given works."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from faults.process import Ending
from faults.world import QUICK, READERS, STEPS, TRAINED, Outcome, Place, command, difference, pipeline, run_of

Damage = Callable[[Path, random.Random], object]


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


DAMAGES: dict[str, Damage] = {
    "deleted": lambda path, chance: path.unlink(),
    "cut": _cut,
    "a bit flipped": _flip,
    "emptied": lambda path, chance: path.write_bytes(b""),
    "overwritten": lambda path, chance: path.write_bytes(chance.randbytes(path.stat().st_size)),
}
FOR_JSON: dict[str, Damage] = {
    "{}": lambda path, chance: path.write_text("{}"),
    "[]": lambda path, chance: path.write_text("[]"),
    "null": lambda path, chance: path.write_text("null"),
    "deeply nested": lambda path, chance: path.write_text("[" * 9999),
}
ADVICE = re.compile(r"`grasper (prepare|predict|align|synthesize|generate|evaluate|pipeline)( --overwrite)?`")


TRAINED_FILES = ("align/grasper/adapter/adapter_model.safetensors", "align/grasper/adapter/adapter_config.json", "predict/model.safetensors")
"""What only a run that trains has; taken from one that does, the rest from a run with a scripted model, which is a hundred times as fast."""
AT_LEAST = 30
"""Cases, whatever they take: each kind of file several times."""


def cases(run: Path, chance: random.Random) -> list[tuple[Path, str, bool]]:
    """Every file (relative to the run) and way of damaging it, and whether it is that of a run that trains.

    In random order, but one file of each kind before a second one of any, so that a short trial reaches all kinds.
    """
    files = sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    ways = [(path, way, False) for path in files for way in _ways(path) if (run / path).stat().st_size or way == "deleted"]
    ways += [(Path(name), way, True) for name in TRAINED_FILES for way in _ways(Path(name))]
    chance.shuffle(ways)
    seen: Counter[str] = Counter()
    rounds = []
    for path, _, trains in ways:
        kind = kind_of(path, trains=trains)
        rounds.append(seen[kind])
        seen[kind] += 1
    return [ways[place] for place in sorted(range(len(ways)), key=lambda place: rounds[place])]


def _ways(path: Path) -> tuple[str, ...]:
    return (*DAMAGES, *(FOR_JSON if path.suffix in (".json", ".yaml") else ()))


def kind_of(path: Path, *, trains: bool) -> str:
    """What is counted together."""
    if trains:
        return f"{path.parent.name}/{path.name}"
    return path.name if path.name in ("manifest.json", "config.yaml") else path.suffix.lstrip(".")


def trials(place: Place, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Case `n` is the `n`-th of all files and damages in an order that the seed decides; they end with the last one."""
    found = cases(run_of(place.undisturbed[0]), place.random_of("damage", 0))
    for number in numbers:
        if number >= len(found):
            return
        path, way, trains = found[number]
        problem = _case(place, number, path, way, trains=trains)
        yield Outcome("damage", number, f"{path} {way}: {problem}" if problem else "", detail={kind_of(path, trains=trains): 1, way: 1})


def _case(place: Place, number: int, path: Path, way: str, *, trains: bool) -> str:
    undisturbed, options = (place.trained[0], TRAINED) if trains else (place.undisturbed[0], QUICK)
    folder = place.fresh("damaged")
    shutil.copytree(undisturbed / "runs", folder / "runs")
    before = (run_of(folder) / path).read_bytes()
    (DAMAGES | FOR_JSON)[way](run_of(folder) / path, place.random_of("damage", number))
    if path.name == "config.yaml":
        return _case_of_config(folder, undisturbed, way)
    step = "/".join(path.parts[: 2 if path.parts[0] in ("align", "synthesize", "generate") else 1])
    if step in READERS:
        ending = command(READERS[step], folder, options)
        is_equal = path.suffix == ".json" and _same_json(before, run_of(folder) / path)
        if not is_equal and (problem := ending.refusal_problem()):
            return f"{READERS[step]}: {problem}"
        _follow(ending, folder, options)
    ending = pipeline(folder, options)
    for _ in range(2):
        if ending.code == 0:
            break
        if problem := ending.refusal_problem():
            return f"pipeline: {problem}"
        _follow(ending, folder, options)
        ending = pipeline(folder, options)
    if ending.code != 0:
        return f"the advice does not work: {ending.last_line[:300]}"
    return difference(folder, undisturbed, ordered=False)


def _case_of_config(folder: Path, undisturbed: Path, way: str) -> str:
    """Commands that name only the run read its `config.yaml`; with the configuration given, it is of no account or refused."""
    ending = command("evaluate", folder, ["--run", "harbour"])
    if ending.code != 0 and (problem := ending.refusal_problem()):
        return f"evaluate --run: {problem}"
    ending = pipeline(folder)
    if ending.code != 0:
        return ending.refusal_problem()
    return difference(folder, undisturbed, ordered=False)


def _follow(ending: Ending, folder: Path, options: list[str]) -> None:
    """Do what the message says, and what the next one says, as somebody would who reads it."""
    for _ in range(3):
        if ending.code == 0:
            return
        advice = ADVICE.search(ending.last_line)
        if advice:
            name, overwrite = advice[1], bool(advice[2])
        else:
            name, overwrite = next((step for step in STEPS if f"/{step}" in ending.last_line), "pipeline").split("/")[0], False
        overwrites = overwrite or "--overwrite" in ending.last_line
        ending = command(name, folder, [*options, *(["--overwrite"] if overwrites else [])])


def _same_json(before: bytes, path: Path) -> bool:
    """Whether a damaged JSON file still holds what it held, as where a flipped bit is white space."""
    try:
        return bool(json.loads(before) == json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
