"""Something to use: `recommend` items, `write` texts and titles, `rate`; for one user or a whole file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from grasper.api import LoadedRun
    from grasper.batch import Asked
    from grasper.methods import Method
    from grasper.system import Personalized

RunOption = Annotated[str | None, typer.Option("--run", help="Name or path of the run. Default: the newest finished one that can answer.")]
UserOption = Annotated[str | None, typer.Option("--user", help="A user id; one that the run does not know is somebody without history.")]
ItemOption = Annotated[str | None, typer.Option("--item", help="The item that the text is about.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="The title that the text is written for.")]
TextOption = Annotated[str | None, typer.Option("--text", help="The text that the title or the rating is for.")]
RatingOption = Annotated[float | None, typer.Option("--rating", help="The rating to write for, on the scale of the run's data (1 to 5).")]
MethodOption = Annotated[str, typer.Option("--method", help="The system that writes; a trained one must be aligned in the run.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="A .csv, .jsonl or .parquet file; without it the answers are printed.")]
BudgetOption = Annotated[str | None, typer.Option("--budget", help="Endpoints: the most that may be spent, as 500requests, 200000tokens or 3.50.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the file, or start it anew.")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Same seed, same text. Default: the run's own.")]

ANSWER_COLUMNS = ("answer", "path", "predicted_items", "evidence", "is_parsed")
"""What the file of answers adds to the columns of the requests."""


def recommend(
    users: Annotated[list[str] | None, typer.Argument(help="User ids; none asks for somebody without history.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A .csv, .json, .jsonl, .parquet or .xlsx file with a column user_id.")] = None,
    run: RunOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Items per user.")] = 10,
    near: Annotated[str | None, typer.Option("--near", help="An item that the user has in mind.")] = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """The items that users will most likely meet next."""
    from grasper.errors import ConfigError, DataFormatError
    from grasper.records import none_if_missing
    from grasper.rows import read_rows, require_column, write_rows

    loaded = _load(run, with_stage="predict")
    names: list[Any] = list(users or [])
    if file is not None:
        rows = read_rows(file)
        try:
            require_column(rows, "user_id")
        except DataFormatError as error:
            raise DataFormatError(f"{file}: {error}") from None
        if nameless := [number for number, row in enumerate(rows, start=1) if row.get("user_id") is None]:
            raise DataFormatError(f"{file}: {len(nameless)} of {len(rows)} rows have no 'user_id', the first of them row {nameless[0]}")
        names += [row["user_id"] for row in rows]
        if any(row.get("history") is not None for row in rows):
            told = "users are recommended what the reviews of the run say of them; grasper.predict_items takes histories"
            typer.echo(f"{file}: the column 'history' is not read: {told}", err=True)
    if out is not None and out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already; choose another --out, or replace it with --overwrite")
    strangers = [name for name in names if not loaded.asker.knows_user(name)]
    known = list(dict.fromkeys(loaded.asker.known_user(name) for name in names if loaded.asker.knows_user(name)))
    popular = loaded.predict_items([], k, near=near).to_dict("records") if strangers or not names else []
    found: dict[str, list[dict[Any, Any]]] = {}
    for row in loaded.predict_items(known, k, near=near).to_dict("records") if known else []:
        found.setdefault(row["user_id"], []).append(row)
    answers = [] if names else popular
    for name in names:
        is_known = loaded.asker.knows_user(name)
        answers += found.get(loaded.asker.known_user(name), []) if is_known else [{**row, "user_id": str(name)} for row in popular]
    if strangers:
        first = f"{str(strangers[0])!r} (nearest: {', '.join(loaded.asker.nearest_users(strangers[0]))})"
        told = f"{first} is" if len(strangers) == 1 else f"{len(strangers)} of {len(names)} users, the first of them {first}, are"
        typer.echo(f"{told} not in {loaded.run.root}: they get what people without history get", err=True)
    if done := [name for name in known if name not in found]:
        told = f"{done[0]} has" if len(done) == 1 else f"{len(done)} users, the first of them {done[0]}, have"
        typer.echo(f"{told} met every item of {loaded.run.root}: nothing is left to recommend", err=True)
    if out is not None:
        rows = [{str(name): none_if_missing(value) for name, value in row.items()} for row in answers]
        write_rows(out, rows, columns=("user_id", "item_id", "rank", "score", "name"))
        typer.echo(f"{len(answers)} rows: {out}")
        return
    for row in answers:
        typer.echo(f"{row['user_id']}\t{row['rank']}\t{row['item_id']}\t{row['score']:.4f}\t{row['name'] if isinstance(row['name'], str) else ''}")


def write(
    user: UserOption = None,
    item: ItemOption = None,
    title: TitleOption = None,
    text: TextOption = None,
    rating: RatingOption = None,
    file: Annotated[Path | None, typer.Option("--file", help="Requests: columns user_id or history, item_id, and title, text or rating.")] = None,
    task: Annotated[str, typer.Option("--task", help="long (a review), title or rating.")] = "long",
    method: MethodOption = "grasper",
    run: RunOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    overwrite: OverwriteOption = False,
    budget: BudgetOption = None,
) -> None:
    """The reviews or titles that users would write, for one request or a file of them; a file that was cut off is continued."""
    _answer(task, method, run, file, out, seed, overwrite, budget, user_id=user, item_id=item, title=title, text=text, rating=rating)


def rate(
    user: UserOption = None,
    item: ItemOption = None,
    title: TitleOption = None,
    text: TextOption = None,
    file: Annotated[Path | None, typer.Option("--file", help="Requests: columns user_id or history, item_id, text, title.")] = None,
    method: MethodOption = "grasper",
    run: RunOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    overwrite: OverwriteOption = False,
    budget: BudgetOption = None,
) -> None:
    """The ratings that users would give with their texts."""
    _answer("rating", method, run, file, out, seed, overwrite, budget, user_id=user, item_id=item, title=title, text=text)


def _answer(
    task: Any,
    method: str,
    run: str | None,
    file: Path | None,
    out: Path | None,
    seed: int | None,
    overwrite: bool,
    budget: str | None,
    **request: Any,
) -> None:
    from grasper.batch import answer_all, ask, ask_all
    from grasper.commands.spending import within_budget
    from grasper.errors import ConfigError, DataFormatError, MissingFileError
    from grasper.files import fingerprint_file
    from grasper.methods import get_method
    from grasper.rows import read_rows

    if (file is None) == (request["item_id"] is None):
        raise ConfigError("give either --item (and --user) for one request, or --file for many")
    given = [name for name, value in request.items() if value is not None]
    if file is not None and given:
        options = ", ".join(f"--{name.removesuffix('_id')}" for name in given)
        raise ConfigError(f"{options} cannot stand beside --file, whose columns hold what is asked; leave it out, or add a column")
    chosen = get_method(method)
    loaded = _load(run, method=chosen)
    takes = loaded.asker.given(task)
    if untaken := [name for name in given if name not in (*takes, "user_id", "item_id")]:
        raise ConfigError(f"task '{task}' is not given a {untaken[0]}; it takes {' and '.join(takes)}")
    rows = [request] if file is None else read_rows(file)
    if ours := [name for name in ANSWER_COLUMNS if any(name in row for row in rows)]:
        raise DataFormatError(f"{file} has a column '{ours[0]}', which the answers have, too; rename it")
    try:
        asked = [ask(loaded.asker, request, task)] if file is None else ask_all(loaded.asker, rows, task)
    except DataFormatError as error:
        raise error if file is None else DataFormatError(f"{file}: {error}") from None
    newcomers = sum(one.is_newcomer for one in asked)
    if file is None and newcomers and request["user_id"] is not None:
        typer.echo(f"user {request['user_id']!r} is not in {loaded.run.root}, and counts as somebody without a history", err=True)
    elif file is not None and newcomers:
        typer.echo(f"{newcomers} of {len(asked)} requests are by people without a history in {loaded.run.root}", err=True)
    with within_budget(loaded.config.model, budget, lambda line: typer.echo(line, err=True)):
        try:
            system = loaded.workshop.system(chosen, seed=seed)
        except MissingFileError as error:
            if chosen.training == "none":
                raise
            raise MissingFileError(f"{error}; --method pgraphrag needs no alignment") from None
        if out is None:
            for one, answer in zip(asked, system.personalize(task, [one.example for one in asked]), strict=True):
                typer.echo(_row(one, answer)["answer"])
            return
        requests = fingerprint_file(file) if file else None
        origin = {"requests": requests, "request": request, "task": task, "method": method, "seed": seed, "run": loaded.origin(chosen)}
        count = answer_all(system.personalize, asked, task, out, origin=origin, describe=_row, overwrite=overwrite)
        typer.echo(f"{count} rows: {out}")


def _row(one: Asked, answer: Personalized) -> dict[str, Any]:
    """The request's own columns, the answer, and what it rests on."""
    output = answer.output
    kept = {name: value for name, value in one.row.items() if name != "history" and value is not None}
    value = output.text if output.text is not None else output.rating
    found = (value, output.path, [candidate.item_id for candidate in answer.candidates], list(output.evidence), output.is_parsed)
    return kept | dict(zip(ANSWER_COLUMNS, found, strict=True))


def _load(run: str | None, *, with_stage: str | None = None, method: Method | None = None) -> LoadedRun:
    from grasper.api import load_run, newest_run
    from grasper.runs import run_folder

    return load_run(run_folder(run) if run else newest_run(with_stage=with_stage, method=method))
