from __future__ import annotations

import threading
from pathlib import Path

import pytest
from servers import Answer, Body, Reply, chat, completion, refusal, serving

from grasper.config import ModelConfig
from grasper.errors import BudgetSpentError, ConfigError
from grasper.models.base import Message, Prompt
from grasper.models.budget import Budget, Meter, Spending, current_meter, limit_spending
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.client import Patience

PRICED = ModelConfig(price_in=1.0, price_out=4.0)


def prompts(count: int) -> list[Prompt]:
    return [Prompt((Message("user", f"number {number}"),)) for number in range(count)]


def model_at(url: str, cache: Path, **settings: object) -> EndpointModel:
    return EndpointModel("tiny", url, cache_dir=cache, patience=Patience(pause_seconds=0.001), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("500requests", 500, "requests"),
        ("1 request", 1, "requests"),
        ("200_000 tokens", 200000, "tokens"),
        ("3.50", 3.5, "money"),
        (".5", 0.5, "money"),
    ],
)
def test_reads_amounts(text: str, amount: float, unit: str) -> None:
    budget = Budget.parse(text, PRICED)
    assert (budget.amount, budget.unit) == (amount, unit)


@pytest.mark.parametrize("text", ["", "many", "-3", "5 euros", "1e3", "3,50"])
def test_refuses_what_is_no_amount(text: str) -> None:
    with pytest.raises(ConfigError, match=r"500requests, 200000tokens or 3\.50"):
        Budget.parse(text, PRICED)


def test_money_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"model\.price_in"):
        Budget.parse("3.50", ModelConfig())


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_request_beyond_the_budget(concurrency: int, tmp_path: Path) -> None:
    """Ten of thirty are sent; another ten come to thirty in all only with what is missing, and nothing is paid twice."""
    with serving(lambda body, number: chat(body["messages"][0]["content"].upper())) as server:
        for spent in (10, 20):
            with limit_spending(Budget(10, "requests")) as meter, pytest.raises(BudgetSpentError, match="budget of 10 requests is spent"):
                model_at(server.url, tmp_path, concurrency=concurrency).generate(prompts(30), seed=[1] * 30)
            assert meter.spent.requests == 10
            assert len(server.requests) == spent
        answers = model_at(server.url, tmp_path, concurrency=concurrency).generate(prompts(30), seed=[1] * 30)
        assert [row[0].text for row in answers] == [f"NUMBER {number}" for number in range(30)]
        assert len(server.requests) == 30
        assert len({body["messages"][0]["content"] for body in server.requests}) == 30


@pytest.mark.parametrize("budget", [Budget(1000, "tokens"), Budget(0.002, "money")])
def test_tokens_and_money_are_never_passed(budget: Budget, tmp_path: Path) -> None:
    """Each request may take 100 tokens of answer and takes 60, beside 40 of prompt; prices are 1 and 4 per million."""
    usage = {"prompt_tokens": 40, "completion_tokens": 60}
    with serving(lambda body, number: chat("fine", usage=usage)) as server, limit_spending(budget) as meter:
        with pytest.raises(BudgetSpentError):
            model_at(server.url, tmp_path, price_in=1.0, price_out=4.0).generate(prompts(50), max_new_tokens=100)
        count = len(server.requests)
        assert meter.spent.tokens_in == 40 * count
        assert meter.spent.tokens_out == 60 * count
        assert meter.spent.money == pytest.approx((40 * 1 + 60 * 4) * count / 1e6)
        assert 0.8 * budget.amount < budget.used_by(meter.spent) <= budget.amount


def test_waiting_for_the_budget_takes_no_time_from_an_answer(tmp_path: Path) -> None:
    """Another request holds all that is left for longer than an answer may take."""
    one = Spending(requests=1)
    with serving() as server, limit_spending(Budget(1, "requests")) as meter:
        assert meter.reserve(one)
        release = threading.Timer(2.2, meter.settle, (one, Spending()))
        release.start()
        model = EndpointModel("tiny", server.url, cache_dir=tmp_path, patience=Patience(deadline_seconds=2.0))
        assert model.generate(prompts(1))[0][0].text == "hello"


def test_repetitions_count_as_requests(tmp_path: Path) -> None:
    def respond(body: Body, number: int) -> Answer:
        return refusal("busy", 503) if number == 0 else chat("fine")

    with serving(respond) as server, limit_spending(Budget(1, "requests")) as meter:
        with pytest.raises(BudgetSpentError):
            model_at(server.url, tmp_path).generate(prompts(1))
        assert (len(server.requests), meter.spent.requests) == (1, 1)


def test_an_answer_that_was_lost_on_its_way_counts_as_it_may_have_been_written(tmp_path: Path) -> None:
    """The server breaks off in its first answer: what it may have cost is booked, and the second one as it did cost."""

    def respond(body: Body, number: int) -> Answer:
        return Reply(body=completion("fine"), cut_at=5) if number == 0 else chat("fine", usage={"prompt_tokens": 40, "completion_tokens": 60})

    with serving(respond) as server, limit_spending(None) as meter:
        assert model_at(server.url, tmp_path).generate(prompts(1), max_new_tokens=100)[0][0].text == "fine"
        assert (len(server.requests), meter.spent.requests) == (2, 2)
        assert meter.spent.tokens_out == 100 + 60


def test_what_is_under_way_is_kept(tmp_path: Path) -> None:
    """Four requests are at the server when the budget ends; all four answers are on disk."""
    with serving(lambda body, number: chat("fine")) as server:
        server.barrier = threading.Barrier(4)
        with limit_spending(Budget(4, "requests")), pytest.raises(BudgetSpentError):
            model_at(server.url, tmp_path, concurrency=4).generate(prompts(9))
    assert len(list(tmp_path.rglob("*.json"))) == 4


def test_answers_from_disk_cost_nothing(tmp_path: Path) -> None:
    with serving() as server:
        model_at(server.url, tmp_path).generate(prompts(3))
        with limit_spending(Budget(0, "requests")) as meter:
            model_at(server.url, tmp_path).generate(prompts(3))
        assert meter.spent == Spending()


def test_a_budget_holds_for_all_threads_together() -> None:
    """A hundred threads take one request each out of a budget of thirty."""
    meter, taken, one = Meter(Budget(30, "requests")), [], Spending(requests=1)

    def take() -> None:
        try:
            while not meter.reserve(one):
                pass
        except BudgetSpentError:
            return
        taken.append(1)
        meter.settle(one, one)

    threads = [threading.Thread(target=take) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 30
    assert meter.spent.requests == 30


def test_the_limit_ends_with_its_block() -> None:
    outer = current_meter()
    with limit_spending(Budget(1, "requests")) as meter:
        assert current_meter() is meter
    assert current_meter() is outer
    assert outer.budget is None
