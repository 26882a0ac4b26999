"""Generated hostile reviews, configurations and tables: an answer or one line, in bounded time, never anything else."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from faults.process import fork
from faults.world import Outcome, Place
from grasper.records import Task

SECONDS = 4.0
"""Of processor time, for one case; a text of 20,000 characters takes a tenth of it."""
REFUSED = "refused"
BATCH = 50
"""Cases of one process."""
PIECES = (
    *("<", ">", "</b>", "[INST]", "<think>", "</think>", "Task:", "Task：", "Text:", "Rating: 5", "Style:", "Title:", "{{x}}", "{% raw %}"),
    *("<|im_start|>", "\x1b[31m"),
    *("\x00", "\r\n", "\t", "\u200b", "\u202e", "\ufeff", "\U000e0041", "\ud800", "\udfff", "e\u0301", "ﷺ", "👨‍👩‍👧", "０", "٣"),
    *("²", "½"),
    *("Чай", "お茶", "شاي", "चाय", "ชา", "茶", "nan", "null", "None", "-0", "1e999", "9" * 40, "../../x", "%s%n", "'; DROP TABLE reviews; --"),
    *('"', ",", "\\", "=1+1"),
    *("&amp;", "&#0;", "http://x", "a", "the", " ", "  ", ".", "-", "_", "*", "#", "```", "😀", "\n\n", "\u2028", "\x85", "ß", "İ", "ﬁ"),
)
VALUES = (
    *("", "0", "-1", "1", "1e999", "nan", ".inf", "null", "true", "[]", "{}", "[1, 2]", "{a: b}", "x", "~", "&a [*a]", "!!python/object:os.system x"),
    *("9" * 5000, "[" * 3000, "2024-01-01", "0x7f", "1_000", "'", '"', "*a", "|", "- x", "\x00", "é" * 300, "a: b: c", "#x", "../..", "\ud800"),
)
TASKS: tuple[Task, ...] = ("long", "title", "rating")
Case = Callable[[random.Random, Path], None]


def text(chance: random.Random) -> str:
    """A text of odd pieces: mixed, one repeated many times, or two in turn."""
    size = int(10 ** chance.uniform(0, 3.3))
    way = chance.randrange(4)
    if way == 0:
        return chance.choice(PIECES) * size
    if way == 1:
        first, second, third = (chance.choice(PIECES) for _ in range(3))
        return first + second * size + third
    if way == 2:
        return "".join(map(chr, (chance.randrange(0x110000) if chance.random() < 0.5 else chance.randrange(0x250) for _ in range(size))))
    return "".join(chance.choice(PIECES) for _ in range(size))


def some_text(chance: random.Random) -> str | None:
    return text(chance) if chance.random() < 0.8 else None


def reviews(chance: random.Random, folder: Path) -> None:
    """Hostile texts through all that looks at texts: prompts, answers, metrics, rewards, guards."""
    from grasper.config import PromptConfig
    from grasper.generate.consensus import choose
    from grasper.metrics.meteor import meteor
    from grasper.metrics.text import copied_share, rouge1, rougeL
    from grasper.models.scripted import ScriptedModel
    from grasper.models.thoughts import split_thoughts
    from grasper.prompts.escape import escape
    from grasper.prompts.render import render
    from grasper.reason.format import ReasoningPath, parse_answer, render_answer
    from grasper.reason.leak import leaks_answer
    from grasper.reason.reward import make_reward
    from grasper.records import Item, Profile, Request, Review, SyntheticReview

    one, two, three = text(chance), text(chance), text(chance)
    for each in (one, two):
        escaped = escape(each)
        _require(escape(escaped) == escaped, "escaping twice is not escaping once")
        _require(len(escaped.splitlines()) <= 1, "more than one line after escaping")
        _require("<|" not in escaped, "a special token survived")
    rating = chance.choice([None, 1.0, 4.0])
    own = tuple(Review(f"r{number}", "u", "i", text(chance), some_text(chance), rating) for number in range(chance.randrange(4)))
    item = Item("i", some_text(chance), some_text(chance), some_text(chance))
    predicted = tuple(SyntheticReview("e", "u", item, text(chance), some_text(chance), rating) for _ in range(chance.randrange(2)))
    profile = Profile(own=own, neighbours=own[:1], predicted=predicted)
    task: Task = chance.choice(TASKS)
    request = Request("e", task, "u", item, title=None if task == "title" else some_text(chance), text=None if task == "long" else one, rating=rating)
    prompt = render(request, profile, reasoning=chance.random() < 0.5, config=PromptConfig(), model=ScriptedModel())
    _require(ScriptedModel().count_tokens("".join(message.content for message in prompt.messages)) <= 1024, "the prompt is longer than the context")
    for message in prompt.messages:
        message.content.encode("utf-8")
    answer = parse_answer(split_thoughts(two).text if chance.random() < 0.5 else two, task, expects_path=chance.random() < 0.5)
    _require(answer.rating is None or 1 <= answer.rating <= 5, f"a rating of {answer.rating}")
    path = ReasoningPath(one, two, three)
    written = parse_answer(render_answer("long", text="fine", path=path), "long", expects_path=True)
    _require(written.text is not None, "the path hides the text")
    leaks_answer(path, request, profile, "4" if task == "rating" else three)
    _require(0 <= choose([one, two, three], [one]) < 3, "no sample was chosen")
    predictions, references = [one, two, one], [two, one, one]
    for score in (rouge1, rougeL, meteor, lambda left, right: copied_share(left, [[each] for each in right])):
        values = score(predictions, references)
        _require(bool(((values >= 0) & (values <= 1 + 1e-9)).all()), f"a score outside 0–1: {values}")
    make_reward().score("review", predictions, references)


def configurations(chance: random.Random, folder: Path) -> None:
    """Hostile YAML files and values of --set."""
    from grasper.config import Config, load_config

    sections = {name: list(getattr(field.annotation, "model_fields", {})) for name, field in Config.model_fields.items()}
    pairs = [(section, key) for section, keys in sections.items() for key in (*keys, "unknown", "")]
    overrides = [f"{'.'.join(chance.choice(pairs))}={chance.choice(VALUES)}" for _ in range(chance.randrange(3))]
    overrides += [text(chance)[:200]] * (chance.random() < 0.2)
    path = folder / "hostile.yaml"
    way = chance.randrange(3)
    if way == 0:
        content = "".join(f"{section}:\n  {key}: {chance.choice(VALUES)}\n" for section, key in chance.sample(pairs, 3))
    elif way == 1:
        content = json.dumps({section: {key: text(chance)[:300]} for section, key in chance.sample(pairs, 3)})
    else:
        content = text(chance)
    path.write_bytes(content.encode("utf-8", chance.choice(["replace", "surrogatepass"])))
    config = load_config(path if chance.random() < 0.7 else None, overrides)
    from grasper.pipeline import dump_config

    (folder / "again.yaml").write_text(dump_config(config), "utf-8")
    _require(load_config(folder / "again.yaml") == config, "a configuration is not what was written down of it")


def tables(chance: random.Random, folder: Path) -> None:
    """Hostile tables through `prepare`."""
    from grasper.config import load_config
    from grasper.prepare import prepare

    columns = ["user_id", "item_id", "text", "title", "rating", "timestamp"]
    if chance.random() < 0.3:
        chance.shuffle(columns)
        columns = columns[: chance.randrange(1, 7)] + ["text"] * (chance.random() < 0.1)
    rows = [{column: _cell(column, chance) for column in columns} for _ in range(chance.randrange(25))]
    suffix = chance.choice(["csv", "tsv", "jsonl", "parquet"])
    path = folder / f"reviews.{suffix}"
    path.write_bytes(_file(suffix, columns, rows, chance))
    settings = [f"prepare.data={path}", "prepare.source=table", "prepare.name=hostile"]
    settings += ["prepare.invalid_rating=null", "prepare.invalid_timestamp=null"] * (chance.random() < 0.6)
    settings += [f"prepare.split={chance.choice(['users', 'last-out', 'none'])}"] * (chance.random() < 0.6)
    out = folder / "out"
    counts = prepare(load_config(None, settings).prepare, out, seed=1)
    _require(counts["reviews"] > 0, "no review and no word about it")
    from grasper.records import Tables

    read = Tables.load(out)
    ratings = read.reviews["rating"].dropna()
    _require(bool(ratings.between(1, 5).all()), "a rating outside the scale")
    _require(not read.reviews["text"].isna().any(), "a text that is missing")


def _cell(column: str, chance: random.Random) -> Any:
    if chance.random() < 0.12:
        return chance.choice([None, float("nan"), "", text(chance)[:3000], 10**30, -1, 1e300, [1], {"a": 1}, True])
    usual: dict[str, Callable[[], Any]] = {
        "user_id": lambda: chance.choice(["ann", "bob", "cy", "-dee", "007"]),
        "item_id": lambda: chance.choice(["inn", "cafe", "tour"]),
        "text": lambda: "A quiet place near the harbour, and warm." + chance.choice(PIECES),
        "title": lambda: chance.choice([None, "Lovely", chance.choice(PIECES)]),
        "rating": lambda: chance.choice([1, 2, 3.0, "4", 5, None]),
        "timestamp": lambda: chance.choice([1_600_000_000, "2024-05-01", None, 1_700_000_000]),
    }
    return usual[column]()


def _file(suffix: str, columns: list[str], rows: list[dict[str, Any]], chance: random.Random) -> bytes:
    if suffix == "jsonl":
        content = "".join(json.dumps(row, ensure_ascii=chance.random() < 0.5) + "\n" for row in rows).encode("utf-8", "surrogatepass")
    elif suffix == "parquet":
        import pandas as pd

        buffer = io.BytesIO()
        cells = [{name: None if value is None else str(value).encode("utf-8", "replace").decode() for name, value in row.items()} for row in rows]
        pd.DataFrame(cells).to_parquet(buffer)
        content = buffer.getvalue()
    else:
        lines = io.StringIO()
        writer = csv.writer(lines, delimiter="\t" if suffix == "tsv" else ",", escapechar="\\")
        writer.writerow(columns)
        writer.writerows([["" if row[name] is None else str(row[name]) for name in columns] for row in rows])
        content = lines.getvalue().encode("utf-8", "replace")
    if content and chance.random() < 0.15:
        at = chance.randrange(len(content))
        content = content[:at] if chance.random() < 0.5 else content[:at] + chance.randbytes(3) + content[at + 3 :]
    return content


KINDS: tuple[tuple[str, Case], ...] = (("review", reviews), ("configuration", configurations), ("table", tables), ("review", reviews))


def trials(place: Place, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Cases in turn: texts, configurations, tables, texts; fifty in one process, one that hangs or dies costs only itself."""
    waiting = iter(numbers)
    while batch := list(islice(waiting, BATCH)):
        while batch:
            done = yield from _batch(place, batch)
            batch = batch[done:]


def _batch(place: Place, numbers: list[int]) -> Generator[Outcome, None, int]:
    """As many cases as one process survives; gives their number."""
    folder = place.fresh("hostile")

    def work() -> None:
        with Path("outcomes").open("w", encoding="utf-8") as handle:
            for number in numbers:
                handle.write(json.dumps(_one(place, number)) + "\n")
                handle.flush()

    fork(work, folder, timeout=SECONDS * 30)
    problems = [json.loads(line) for line in (folder / "outcomes").read_text("utf-8").splitlines()]
    for number, problem in zip(numbers, problems, strict=False):
        yield _outcome(number, problem)
    if len(problems) < len(numbers):
        yield _outcome(numbers[len(problems)], "the process hung or died")
        return len(problems) + 1
    return len(problems)


def _outcome(number: int, problem: str) -> Outcome:
    name = KINDS[number % len(KINDS)][0]
    was_refused = problem == REFUSED
    problem = "" if was_refused else problem
    return Outcome("hostile", number, f"{name}: {problem}" if problem else "", detail={f"{name}s": 1, f"{name}s refused": int(was_refused)})


def _one(place: Place, number: int) -> str:
    """What is wrong with one case; empty where nothing is, `REFUSED` where one line told what is wrong with the input."""
    from grasper.errors import GrasperError

    folder = Path(str(number))
    folder.mkdir()
    started, refused = time.process_time(), ""
    try:
        KINDS[number % len(KINDS)][1](place.random_of("hostile", number), folder)
    except GrasperError as error:
        if "\n" in str(error).strip() or len(str(error)) > 5000:
            return f"a message of {len(str(error)):,} characters in {str(error).count(chr(10)) + 1} lines: {str(error)[:150]!r}"
        refused = REFUSED
    except Exception as error:
        place_of = error.__traceback__
        while place_of is not None and place_of.tb_next is not None:
            place_of = place_of.tb_next
        where = f"{Path(place_of.tb_frame.f_code.co_filename).name}:{place_of.tb_lineno}" if place_of else ""
        return f"{type(error).__name__}: {str(error)[:200]} ({where})"
    seconds = time.process_time() - started
    return f"took {seconds:.1f} s" if seconds > SECONDS else refused


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)
