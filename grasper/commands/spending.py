"""What a run at a server will cost, what it may cost, and what it did cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grasper.errors import ConfigError
from grasper.files import whole_records

if TYPE_CHECKING:
    from grasper.config import ModelConfig
    from grasper.estimate import WorkSizes
    from grasper.pipeline import Pipeline
    from grasper.step import Step


@contextmanager
def spending(plan: Pipeline, budget: str | None, say: Callable[[str], None], *, overwrite: bool = False) -> Iterator[None]:
    """Carry out a plan within the block: at an endpoint, what it will ask is said before, what was spent is said after it, however it ended.

    Args:
        overwrite: Whether data that another configuration prepared are prepared anew.

    Raises:
        ConfigError: A budget that is no amount, or for a model that costs none.
        BudgetSpentError: The budget is spent.
    """
    from grasper.models import require_model
    from grasper.pipeline import Pipeline

    with within_budget(plan.config.model, budget, say):
        if plan.config.model.kind == "endpoint" and plan.only is None and plan.steps[0].state() != "done":
            if any(step.settings.get("model") for step in plan.steps):
                require_model(plan.config.model)  # before anything is given up for it
            Pipeline(plan.config, plan.run, only="prepare").carry_out(overwrite=overwrite, say=say)  # its sizes tell what comes
        for line in foresee(plan):
            say(line)
        yield


@contextmanager
def within_budget(model: ModelConfig, budget: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Spend at most a budget within the block; what was spent at an endpoint is said after it, however it ended.

    Raises:
        ConfigError: A budget that is no amount, or for a model that costs none.
        BudgetSpentError: The budget is spent.
    """
    from grasper.models.budget import Budget, limit_spending

    if model.kind != "endpoint" and budget is not None:
        raise ConfigError(f"--budget is for servers (model.kind=endpoint), but model.kind is {model.kind}")
    with limit_spending(None if budget is None else Budget.parse(budget, model)) as meter:
        try:
            yield
        finally:
            if meter.spent.requests:
                say(f"spent: {meter.spent}")


def foresee(plan: Pipeline) -> list[str]:
    """Lines that say what the unfinished steps of a plan will ask of its endpoint; none for other models or where nothing is left."""
    from grasper.estimate import estimate, measure
    from grasper.models.budget import amount
    from grasper.records import Tables, tasks_of

    config = plan.config
    if config.model.kind != "endpoint":
        return []
    asking = [step for step in plan.steps if step.settings.get("model") and plan.only in (None, step.stage)]
    if all(step.state() == "done" for step in asking):
        return []
    if plan.steps[0].state() != "done":
        return ["what will be asked of the server is known once `grasper prepare` has run (--dry-run tells it then)"]
    tables = Tables.load(plan.run.folder("prepare"))
    sizes = measure(tables, config)
    targets = [
        (example.example_id, task)
        for example in tables.select(config.split, config.limit)
        for task in (None, *tasks_of(example))
        if task is None or task in config.tasks
    ]
    left = {step.name: 0.0 for step in plan.steps} | {step.name: _share_left(step, sizes, set(targets)) for step in asking}
    foreseen = estimate(config, sizes, plan.methods, left=left)
    lines = [
        f"{step.name:32} about {step.requests:,} requests, {step.tokens_in:,} tokens of prompts, at most {step.tokens_out:,} of answers"
        for step in foreseen.steps
    ]
    requests, tokens_in, tokens_out = (foreseen.total(name) for name in ("requests", "tokens_in", "tokens_out"))
    price = "" if foreseen.price is None else f", price at most about {amount(foreseen.price)}"
    minutes = max(foreseen.seconds / 60, 0.1)
    total = f"{requests:,} requests, {tokens_in:,} + {tokens_out:,} tokens, {minutes:.1f} minutes{price}"
    most = foreseen.total("most_requests")
    return [*lines, f"in all about {total}; up to {most:,} requests where the server takes no n or gives no log-probabilities"]


def _share_left(step: Step, sizes: WorkSizes, targets: Set[tuple[str, str | None]]) -> float:
    """How much of a step is to be done, 0–1, by what its log holds of the targets, an example and a task or, where reviews are written, no task."""
    state = step.state()
    if state not in ("cut off", "more to do", "damaged"):
        return 0.0 if state == "done" else 1.0
    log, whole = {"synthesize": ("synthetic.jsonl", sizes.examples), "generate": ("outputs.jsonl", sum(sizes.targets.values()))}.get(
        step.stage, ("", 0)
    )
    done = {(record["example_id"], record.get("task")) for record in whole_records(step.folder / log)} if log else set()
    return max(1.0 - len(done & targets) / max(whole, 1), 0.0)
