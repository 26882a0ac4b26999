"""Models that do not take all of a request, and models that think."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from servers import Answer, Body, Reply, chat, completion, refusal, serving

from grasper.errors import ModelError
from grasper.models.base import Message, Prompt
from grasper.models.budget import limit_spending
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.client import Patience

DIGITS = ["1", "2", "3", "4", "5"]


def model_at(url: str, cache: Path, **settings: object) -> EndpointModel:
    return EndpointModel("tiny", url, cache_dir=cache, patience=Patience(max_repeats=3, pause_seconds=0.001), **settings)  # type: ignore[arg-type]


def ask(number: int, prefix: str = "Text:") -> Prompt:
    return Prompt((Message("system", "You write reviews."), Message("user", f"Write number {number}.")), prefix)


def write(model: EndpointModel, numbers: range, n: int) -> list[list[str]]:
    """The texts of some prompts, each with a seed of its own."""
    return [[one.text for one in row] for row in model.generate([ask(number) for number in numbers], n=n, seed=list(numbers))]


def refuses_prefill(body: Body) -> bool:
    return body["messages"][-1]["role"] == "assistant"


def refuses_system(body: Body) -> bool:
    return body["messages"][0]["role"] == "system"


REFUSALS: dict[str, tuple[Callable[[Body], bool], str, int]] = {
    "prefill, named": (refuses_prefill, "This model does not support assistant message prefill. The conversation must end with a user message.", 400),
    "prefill, by its template": (refuses_prefill, "Cannot set `add_generation_prompt` when the last message is from the assistant.", 400),
    "prefill, without a word": (refuses_prefill, "Bad Request", 400),
    "temperature": (lambda body: body.get("temperature", 1) != 1, "Unsupported value: 'temperature' does not support 0.7 with this model.", 400),
    "temperature or top_p": (lambda body: {"temperature", "top_p"} <= body.keys(), "`temperature` and `top_p` cannot both be specified.", 400),
    "seed": (lambda body: "seed" in body, "Unrecognized request argument supplied: seed", 400),
    "seed, without a word": (lambda body: "seed" in body, "Extra inputs are not permitted", 422),
    "system role": (refuses_system, "System role not supported", 400),
    "system role, by an error": (refuses_system, "Jinja Exception: System role not supported", 500),
    "system role, by turns": (refuses_system, "Conversation roles must alternate user/assistant/user/assistant/...", 400),
    "name of the limit": (lambda body: "max_tokens" in body, "Unsupported parameter: use 'max_completion_tokens' instead", 400),
    "all of them": (
        lambda body: refuses_system(body) or refuses_prefill(body) or bool({"seed", "temperature", "top_p"} & body.keys()),
        "no",
        400,
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("n", [1, 2])
def test_what_is_refused_is_found_out_once(kind: str, n: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The answers come, one line tells, and from then on every request is taken; nothing of the question is lost."""
    is_refused, words, status = REFUSALS[kind]

    def respond(body: Body, number: int) -> Answer:
        return refusal(words, status) if is_refused(body) else chat(*[" fine"] * body.get("n", 1))

    with serving(respond) as server:
        model = model_at(server.url, tmp_path)
        assert write(model, range(3), n) == [[" fine"] * n] * 3
        found = len(server.requests)
        write(model, range(3, 9), n)
        assert len(server.requests) == found + 6
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "asked otherwise" in caplog.text
        for body in server.requests[found:]:
            question = "\n".join(message["content"] for message in body["messages"])
            assert "You write reviews." in question
            assert "Text:" in question
        write(model_at(server.url, tmp_path), range(9), n)
        assert len(server.requests) == found + 6  # a second run finds the answers, however they had to be asked for


def test_of_temperature_and_top_p_the_temperature_stays(tmp_path: Path) -> None:
    """Where a server takes either; one that names both and takes none is asked without them."""
    refuses, words, status = REFUSALS["temperature or top_p"]
    with serving(lambda body, number: refusal(words, status) if refuses(body) else chat("fine")) as server:
        model_at(server.url, tmp_path).generate([ask(0)], temperature=0.3)
        assert server.requests[-1]["temperature"] == 0.3
        assert "top_p" not in server.requests[-1]
        server.respond = lambda body, number: refusal("temperature and top_p are not supported") if "temperature" in body else chat("fine")
        model_at(server.url, tmp_path).generate([ask(1)], temperature=0.3)
        assert not {"temperature", "top_p"} & server.requests[-1].keys()


def test_a_request_that_is_wrong_as_a_whole_teaches_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal that stays whatever is left out is told in its first words."""
    with serving(lambda body, number: refusal("the moon is full" if number == 0 else "still full")) as server:
        model = model_at(server.url, tmp_path)
        with pytest.raises(ModelError, match="the moon is full"):
            model.generate([ask(0)])
        assert caplog.text == ""
        server.respond = lambda body, number: chat("fine")
        model.generate([ask(0)])
        assert {"seed", "temperature", "top_p", "max_tokens"} <= server.requests[-1].keys()


def test_a_prefix_in_the_question_is_continued(tmp_path: Path) -> None:
    """Models that begin anew, in the same words or in their own, or repeat only the last line: the completion is the continuation alone."""
    answers = ["Style: cold\nPlan: praise\n\nText: Lovely.", "Style: warm\nText: Lovely.", "Text: Lovely.", " Lovely."]
    with serving(lambda body, number: refusal("prefill") if refuses_prefill(body) else chat(answers.pop())) as server:
        model = model_at(server.url, tmp_path, concurrency=1)
        texts = [model.generate([ask(number, "Style: warm\nText:")])[0][0].text for number in range(4)]
    assert texts == [" Lovely."] * 4


# -- temperature and ratings -----------------------------------------------------------------------------------------------------------


def test_a_temperature_of_none_is_left_to_the_server(tmp_path: Path) -> None:
    with serving() as server:
        model_at(server.url, tmp_path).generate([ask(0)], temperature=None)
        assert "temperature" not in server.requests[0]


def rating_logprobs(*written: str) -> Body:
    """Log-probabilities of an answer whose last token is the rating: 3/4 for 5, 1/4 for 4."""
    tokens = [{"token": token, "logprob": -0.1, "top_logprobs": [{"token": token, "logprob": -0.1}]} for token in written[:-1]]
    likely = [{"token": "5", "logprob": float(np.log(0.75))}, {"token": "4", "logprob": float(np.log(0.25))}]
    return {"content": [*tokens, {"token": written[-1], "logprob": -0.3, "top_logprobs": likely}]}


@pytest.mark.parametrize(
    "written",
    [["5"], [" ", "5"], ["Rating", ":", " ", "5"], ["<think>", "1 to 5", "</think>", "\n", "5"], ["<think>2</think>", "Rating", ":", "5"]],
)
def test_ratings_are_read_behind_thoughts_and_repeated_beginnings(written: list[str], tmp_path: Path) -> None:
    """The digits of a thought count nothing."""
    with serving(lambda body, number: chat("".join(written), logprobs=rating_logprobs(*written))) as server:
        model = model_at(server.url, tmp_path)
        assert model.score_choices([ask(0, "Rating:")], DIGITS)[0] == pytest.approx([0, 0, 0, 0.25, 0.75], abs=1e-6)
        assert model.scored([ask(0, "Rating:")], DIGITS)[0].told_by == "measured"


@pytest.mark.parametrize("status", [400, 403, 422])
def test_ratings_without_log_probabilities_are_shares_of_samples(status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal of log-probabilities, even as a 403, is no refused key; four fives and a four are 0.8 and 0.2."""
    answers = ["5", " 5", "<think>4?</think>5", "Rating: 5", "4 stars"]

    def respond(body: Body, number: int) -> Answer:
        if "logprobs" in body:
            return refusal("You are not allowed to request logprobs from this model", status)
        return chat(*answers[: body.get("n", 1)])

    with serving(respond) as server:
        model = model_at(server.url, tmp_path)
        assert model.score_choices([ask(0, "Rating:"), ask(1, "Rating:")], DIGITS) == pytest.approx(np.array([[0, 0, 0, 0.2, 0.8]] * 2))
        assert {one.told_by for one in model.scored([ask(0, "Rating:"), ask(1, "Rating:")], DIGITS)} == {"sampled"}
        assert len([record for record in caplog.records if "logprobs" in record.getMessage()]) == 1
        asked = len(server.requests)
        model.score_choices([ask(2, "Rating:")], DIGITS)
        assert len(server.requests) == asked + 1
        again = model_at(server.url, tmp_path)
        assert again.score_choices([ask(0, "Rating:")], DIGITS)[0] == pytest.approx([0, 0, 0, 0.2, 0.8])
        assert again.scored([ask(0, "Rating:")], DIGITS)[0].told_by == "sampled"
        assert len(server.requests) == asked + 1


def test_one_rating_without_log_probabilities_says_nothing_of_the_others(tmp_path: Path) -> None:
    """Two answers in words come first, then only digits: what is measured does not depend on what came before, nor on how many were asked at once."""

    def respond(body: Body, number: int) -> Answer:
        if body["messages"][-2]["content"] in ("Write number 0.", "Write number 1."):
            return chat(*["four, I mean 4"] * body.get("n", 1))
        return chat("5", logprobs=rating_logprobs("5"))

    with serving(respond) as server:
        for width in (1, 4):
            model = model_at(server.url, tmp_path / str(width), concurrency=1)
            prompts = [ask(number, "Rating:") for number in range(4)]
            told = [one.told_by for start in range(0, 4, width) for one in model.scored(prompts[start : start + width], DIGITS)]
            assert told == ["sampled", "sampled", "measured", "measured"]


def test_log_probabilities_that_never_come_are_asked_for_three_times(tmp_path: Path) -> None:
    """A server may ignore the question without a word."""
    with serving(lambda body, number: chat(*["4"] * body.get("n", 1))) as server:
        model = model_at(server.url, tmp_path, concurrency=1)
        assert {one.told_by for one in model.scored([ask(number, "Rating:") for number in range(6)], DIGITS)} == {"sampled"}
        assert sum("logprobs" in body for body in server.requests) == 3


@pytest.mark.parametrize(("knows_n", "num_answers"), [(True, 1 + 1), (False, 1 + 5)])
def test_ratings_book_what_all_their_answers_cost(knows_n: bool, num_answers: int, tmp_path: Path) -> None:
    """An answer without log-probabilities and five samples, whose prompt is read once where the server knows `n`; from disk, too."""

    def respond(body: Body, number: int) -> Answer:
        num_choices = body.get("n", 1) if knows_n else 1
        return chat(*["4"] * num_choices, usage={"prompt_tokens": 100, "completion_tokens": num_choices})

    with serving(respond) as server:
        model = model_at(server.url, tmp_path)
        model.generate([ask(0)], n=2)  # here it is found out
        asked = len(server.requests)
        [found] = model.scored([ask(1, "Rating:")], DIGITS)
        assert (found.told_by, found.tokens_in, found.tokens_out) == ("sampled", 100 * (len(server.requests) - asked), 6)
        assert len(server.requests) - asked == num_answers
        [again] = model_at(server.url, tmp_path).scored([ask(1, "Rating:")], DIGITS)
        assert (again.tokens_in, again.tokens_out) == (found.tokens_in, found.tokens_out)


def test_a_real_403_is_a_refused_key(tmp_path: Path) -> None:
    with serving(lambda body, number: refusal("no access", 403)) as server, pytest.raises(ModelError, match=r"refused the key.*no access"):
        model_at(server.url, tmp_path).score_choices([ask(0)], DIGITS)


def test_ratings_of_a_model_that_takes_next_to_nothing(tmp_path: Path) -> None:
    """Only its own temperature, no log-probabilities, no seed, one sample, no assistant message, no system role."""

    def respond(body: Body, number: int) -> Answer:
        if body.keys() - {"model", "messages", "max_completion_tokens"}:
            other = sorted(body.keys() - {"model", "messages", "max_completion_tokens"})[0]
            return refusal(f"Unsupported parameter: '{other}'" + (", use 'max_completion_tokens'" if other == "max_tokens" else ""))
        if refuses_prefill(body) or refuses_system(body):
            return refusal("only user messages")
        return chat("I would say 4.")

    with serving(respond) as server:
        model = model_at(server.url, tmp_path)
        assert model.score_choices([ask(0, "Rating:"), ask(1, "Rating:")], DIGITS).tolist() == [[0, 0, 0, 1, 0]] * 2
        assert model.generate([ask(0)], n=2)[0][1].text == "I would say 4."


def test_fewer_log_probabilities_will_do(tmp_path: Path) -> None:
    def respond(body: Body, number: int) -> Answer:
        if body.get("top_logprobs", 0) > 5:
            return refusal("Invalid value for 'top_logprobs': must be less than or equal to 5.")
        return chat("5", logprobs=rating_logprobs("5"))

    with serving(respond) as server:
        model = model_at(server.url, tmp_path)
        assert model.score_choices([ask(0, "Rating:")], DIGITS)[0] == pytest.approx([0, 0, 0, 0.25, 0.75], abs=1e-6)
        assert model.scored([ask(0, "Rating:")], DIGITS)[0].told_by == "measured"


# -- thoughts --------------------------------------------------------------------------------------------------------------------------


def thinker(room: int) -> Callable[[Body, int], Answer]:
    """A model that needs so many tokens for its thought of digits; with fewer it is cut off."""

    def respond(body: Body, number: int) -> Answer:
        if body["max_tokens"] < room:
            usage = {"prompt_tokens": 11, "completion_tokens": body["max_tokens"]}
            return 200, completion("<think>On a scale 1 to 5", finish_reason="length", usage=usage)
        return 200, completion("<think>On a scale 1 to 5</think>4", usage={"prompt_tokens": 11, "completion_tokens": 700})

    return respond


def test_models_that_think_get_room_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first cut-off thought tells; then every answer comes, with the tokens of its thought counted; all is told in one line."""
    with serving(thinker(1000)) as server:
        model = model_at(server.url, tmp_path, concurrency=1)
        answers = [row[0] for row in model.generate([ask(number) for number in range(6)], max_new_tokens=100)]
        assert [answer.text for answer in answers] == ["4"] * 6
        assert answers[0].tokens_out == 100 + 700  # the cut try is paid for, too
        assert answers[1].tokens_out == 700
        assert len(server.requests) == 7
        assert model.score_choices([ask(0)], DIGITS)[0].tolist() == [0, 0, 0, 1, 0]
    assert [record.getMessage() for record in caplog.records if "thinks" in record.getMessage()] == [caplog.records[0].getMessage()]
    assert "model.thinking_tokens" in caplog.text


def test_a_longer_thought_gets_more_room_once(tmp_path: Path) -> None:
    with serving(thinker(3000)) as server:
        assert model_at(server.url, tmp_path).generate([ask(0)], max_new_tokens=100)[0][0].text == "4"
        assert [body["max_tokens"] for body in server.requests] == [100, 100 + 2048, 100 + 2 * 2048]


def test_a_thought_that_the_context_has_no_room_for_costs_no_other_answer(tmp_path: Path) -> None:
    """A server of 4,096 tokens refuses the doubled room: the one answer stays empty, both of its tries are paid for, the others come."""

    def respond(body: Body, number: int) -> Answer:
        if body["max_tokens"] + 100 > 4096:
            return refusal(f"This model's maximum context length is 4096 tokens. However, you requested {body['max_tokens'] + 100} tokens.")
        is_hard = "number 1." in body["messages"][1]["content"]
        usage = {"prompt_tokens": 11, "completion_tokens": body["max_tokens"]}
        return 200, completion("<think> hm" if is_hard else "<think>x</think>fine", usage=usage, **({"finish_reason": "length"} if is_hard else {}))

    with serving(respond) as server:
        model = model_at(server.url, tmp_path, concurrency=1)
        answers = [row[0] for row in model.generate([ask(number) for number in range(3)], max_new_tokens=100)]
        assert [answer.text for answer in answers] == ["fine", "", "fine"]
        assert answers[1].tokens_out == 2 * (100 + 2048)
        assert model.scored([ask(1)], DIGITS)[0].told_by == "none"


def test_room_for_thoughts_stays_within_a_known_context(tmp_path: Path) -> None:
    """3,000 tokens, of which the prompt takes 12 and the answer 100."""
    with serving(thinker(5000)) as server:
        model = model_at(server.url, tmp_path, context_tokens=3000)
        assert model.generate([ask(0)], max_new_tokens=100)[0][0].text == ""
        most = 3000 - sum(model.count_tokens(text) for text in ("You write reviews.", "Write number 0.", "Text:"))
        assert [body["max_tokens"] for body in server.requests] == [100, 100 + 2048, most]


def test_thoughts_that_are_counted_in_the_total_alone_are_paid_for(tmp_path: Path) -> None:
    """Nine tokens of answer and 2,000 of thought beside a prompt of 32."""
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 2041, "completion_tokens_details": {"reasoning_tokens": 2000}}
    with serving(lambda body, number: chat("fine", usage=usage)) as server, limit_spending(None) as meter:
        [[answer]] = model_at(server.url, tmp_path, price_out=1.0).generate([ask(0)])
        assert (answer.tokens_in, answer.tokens_out) == (32, 2009)
        assert (meter.spent.tokens_out, meter.spent.money) == (2009, pytest.approx(2009e-6))


@pytest.mark.parametrize(
    ("told", "meant"),
    [("STOP", "stop"), ("eos_token", "stop"), ("", "stop"), ("model_length", "length"), ("content_filter", "error"), ("abort", "error")],
)
def test_servers_name_the_end_of_an_answer_in_many_ways(told: str, meant: str, tmp_path: Path) -> None:
    with serving(lambda body, number: chat("fine", finish_reason=told)) as server:
        assert model_at(server.url, tmp_path).generate([ask(0)])[0][0].finish_reason == meant


def test_hidden_thoughts_are_noticed(tmp_path: Path) -> None:
    """Servers that keep thoughts to themselves send nothing but their number of tokens."""

    def respond(body: Body, number: int) -> Answer:
        spent = {"completion_tokens": body["max_tokens"], "completion_tokens_details": {"reasoning_tokens": body["max_tokens"]}}
        return (200, completion("", finish_reason="length", usage=spent)) if body["max_tokens"] < 1000 else chat("fine")

    with serving(respond) as server:
        assert model_at(server.url, tmp_path).generate([ask(0)])[0][0].text == "fine"
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_beside_the_answer_are_no_part_of_it(name: str, tmp_path: Path) -> None:
    """Their tokens are counted where the server does not tell."""
    body = {"choices": [{"message": {"content": "4", name: "on a scale " * 50}}]}
    with serving(lambda request, number: Reply(body=body)) as server:
        [[answer]] = model_at(server.url, tmp_path).generate([ask(0)])
    assert answer.text == "4"
    assert 100 < answer.tokens_out < 300
