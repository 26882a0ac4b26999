"""What the report's browser shows of each example: everything that was seen, predicted and written, as plain strings that the page escapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grasper.evaluate.report_data import ReportData
from grasper.evaluate.score import answer_rating, answer_text, reference_text
from grasper.evaluate.sparsity import level_of
from grasper.metrics.choose import metric_of
from grasper.records import Example, Item, Output, Review, SyntheticReview, Task, tasks_of
from grasper.runs import stable_hash

MAX_OWN = 4
MAX_NEIGHBOURS = 3
MAX_PREDICTED = 10
_TITLES: dict[Task, str] = {"long": "Review text", "title": "Title", "rating": "Rating"}
MAX_NAME = 120
"""Characters of a name or an id; these come from strangers, too."""


def browse_examples(data: ReportData, series: Mapping[str, int], max_examples: int, *, clip: int) -> list[dict[str, Any]]:
    """At most `max_examples` examples, drawn by the hash of their id, texts cut after `clip` characters."""
    chosen = sorted(data.examples, key=lambda example: stable_hash(example.example_id))[:max_examples]
    ids = [example.example_id for example in chosen]
    predicted = _predicted(data, set(ids))
    numbers = data.scores.values.loc[ids].T.to_dict()
    return [_describe(example, data, series, predicted.get(example.example_id, []), numbers[example.example_id], clip) for example in chosen]


def _predicted(data: ReportData, wanted: set[str]) -> dict[str, list[dict[str, Any]]]:
    if data.candidates is None:
        return {}
    rows = data.candidates[data.candidates["example_id"].isin(wanted) & (data.candidates["rank"] <= MAX_PREDICTED)]
    predicted: dict[str, list[dict[str, Any]]] = {}
    ordered = rows.sort_values(["example_id", "rank"])
    for example_id, item_id, rank, score in zip(*(ordered[name].tolist() for name in ("example_id", "item_id", "rank", "score")), strict=True):
        share = min(max(score, 0.0), 1.0)
        entry = {"rank": rank, "name": _name(data.tables.item(item_id)), "score": f"{score:.3f}", "share": f"{share:.3f}"}
        predicted.setdefault(example_id, []).append(entry)
    return predicted


def _describe(
    example: Example,
    data: ReportData,
    series: Mapping[str, int],
    predicted: Sequence[dict[str, Any]],
    numbers: Mapping[Any, float],
    clip: int,
) -> dict[str, Any]:
    own = data.pool.own(example)
    item = data.tables.item(example.item_id)
    neighbours = data.pool.neighbours(example)
    synthetic = []
    for method, reviews in data.synthetic.items():
        if entries := reviews.get(example.example_id):
            synthetic.append({"method": method, "entries": [_synthetic(entry, min(clip, 500)) for entry in entries]})
    return {
        "user": cut(example.user_id, MAX_NAME),
        "item": _name(item),
        "level": level_of(len(own)),
        "own_reviews": len(own),
        "num_neighbours": len(neighbours),
        "is_repeated": example.is_repeated,
        "own": [_real(review, data, min(clip, 400), show_item=True) for review in own[-MAX_OWN:]],
        "neighbours": [_real(review, data, min(clip, 300), show_item=False) for review in neighbours[:MAX_NEIGHBOURS]],
        "predicted": list(predicted),
        "synthetic": synthetic,
        "tasks": [_task(task, example, data, series, numbers, clip) for task in data.tasks if task in tasks_of(example)],
    }


def _real(review: Review, data: ReportData, clip: int, *, show_item: bool) -> dict[str, str]:
    about = _name(data.tables.item(review.item_id)) if show_item else cut(review.user_id, MAX_NAME)
    return {"head": cut(review.title or "", MAX_NAME), "note": _note(about, review.rating), "text": cut(review.text, clip)}


def _synthetic(review: SyntheticReview, clip: int) -> dict[str, str]:
    note = _note(_name(review.item), review.rating)
    return {"head": cut(review.title or "", MAX_NAME), "note": note, "text": cut(review.text, clip), "rejected": review.rejected or ""}


def _name(item: Item) -> str:
    return cut(item.name or item.item_id, MAX_NAME)


def _note(about: str, rating: float | None) -> str:
    return f"{about} · {_stars(rating)}" if rating is not None else about


def _task(task: Task, example: Example, data: ReportData, series: Mapping[str, int], numbers: Mapping[Any, float], clip: int) -> dict[str, Any]:
    target = example.target
    if task == "rating":
        reference = _stars(target.rating)
    else:
        reference = cut(reference_text(target, task), clip)
    given = f"given the title “{cut(target.title, clip)}”" if task == "long" and target.title else ""
    answers = []
    for method, answered in data.answers.items():
        output = answered[example.example_id, task]
        answers.append(
            {
                "method": method,
                "series": series[method],
                "text": _answer(output, clip),
                "path": _reasoning(output, min(clip, 600)),
                "scores": _scores({name[-1]: value for name, value in numbers.items() if name[:2] == (method, task)}),
                "is_parsed": output.is_parsed,
            }
        )
    return {"task": task, "title": _TITLES[task], "given": given, "reference": reference, "answers": answers}


def _reasoning(output: Output, clip: int) -> str:
    """The path; or, where roles took turns, whose reviews they read, and the notes and the draft of every step."""
    if not output.notes:
        return cut(output.path or "", clip)
    read = [f"{part.capitalize()} from {remark}" for part in ("style", "topic") if (remark := output.notes[0].get(f"{part}_evidence"))]
    steps = ("\n".join(_told(step, clip)) for step in output.notes)
    return "\n\n".join(["\n".join(read), *steps] if read else steps)


def _told(step: Mapping[str, str], clip: int) -> list[str]:
    """The lines of one step: its notes and its draft, and whether that was kept though later ones followed."""
    notes = [cut(step[part], clip) for part in ("style", "topic") if step[part]]
    return [f"Step {step['step']}", *notes, f"Draft{', kept' if step.get('kept') else ''}: {cut(step['draft'], clip)}"]


def _answer(output: Output, clip: int) -> str:
    return _stars(answer_rating(output)) if output.task == "rating" else cut(answer_text(output), clip)


def _scores(numbers: Mapping[str, float]) -> str:
    shown = [(metric_of(name), value) for name, value in numbers.items() if value == value]
    return " · ".join(f"{metric.label} {value:.2f}" for metric, value in shown if metric.shown == "plot" and metric.chance is None)


def _stars(rating: float | None) -> str:
    return "–" if rating is None else f"{rating:.3g}\N{NO-BREAK SPACE}★"


def cut(text: str, length: int) -> str:
    """The text without outer white space, cut after `length` characters with an ellipsis."""
    text = text.strip()
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
