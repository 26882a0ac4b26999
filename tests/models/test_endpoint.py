"""The endpoint model against a real server on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, Server, chat, dead_port, serving

from grasper.config import ModelConfig
from grasper.errors import ConfigError, ModelError, ModelNotFoundError
from grasper.models import open_model
from grasper.models.base import Message, Prompt
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.client import Client, Patience

HURRIED = Patience(max_repeats=3, pause_seconds=0.001)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def model(server: Server, tmp_path: Path) -> EndpointModel:
    return EndpointModel("tiny", server.url, cache_dir=tmp_path, patience=HURRIED)


def ask(text: str, prefix: str = "") -> Prompt:
    return Prompt((Message("system", "You write reviews."), Message("user", text)), prefix)


def test_answers_in_the_order_of_the_prompts(server: Server, model: EndpointModel) -> None:
    """Each prompt gets its own answer, with the server's token counts and the settings on the wire."""
    server.respond = lambda body, number: chat(body["messages"][1]["content"].upper())
    completions = model.generate([ask(f"prompt {number}") for number in range(12)], temperature=0.3, max_new_tokens=7)
    assert [completion.text for (completion,) in completions] == [f"PROMPT {number}" for number in range(12)]
    assert (completions[0][0].tokens_in, completions[0][0].tokens_out) == (11, 3)
    sent = server.requests[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"], sent["messages"][0]["role"]) == ("tiny", 0.3, 7, "system")


def test_bounds_the_requests_under_way(server: Server, tmp_path: Path) -> None:
    """With a concurrency of 3, exactly three of nine requests are at the server at once."""
    model = EndpointModel("tiny", server.url, cache_dir=tmp_path, concurrency=3)
    server.barrier = threading.Barrier(3)
    model.generate([ask(str(number)) for number in range(9)])
    assert server.most_at_once == 3


def test_asks_once_for_n_samples(server: Server, model: EndpointModel) -> None:
    """A server that knows `n` gets one request."""
    server.respond = lambda body, number: chat(*[f"sample {index}" for index in range(body["n"])])
    samples = model.generate([ask("x")], n=3)[0]
    assert [completion.text for completion in samples] == ["sample 0", "sample 1", "sample 2"]
    assert [completion.tokens_in for completion in samples] == [11, 0, 0]  # the prompt is read once
    assert model.generate([ask("x")], n=3)[0] == samples
    assert len(server.requests) == 1


@pytest.mark.parametrize("rejects", [False, True])
def test_repeats_where_n_is_ignored(server: Server, model: EndpointModel, rejects: bool) -> None:
    """A server that ignores or rejects `n` is asked once per sample, with different seeds, and from then on at once so."""

    def respond(body: dict[str, Any], number: int) -> Answer:
        if rejects and body.get("n", 1) > 1:
            return 400, {"error": {"message": "n must be 1"}}
        return chat(f"seed {body['seed']}")

    server.respond = respond
    first = model.generate([ask("x")], n=3, seed=5)[0]
    assert len({completion.text for completion in first}) == 3
    before = len(server.requests)
    assert [completion.tokens_in for completion in model.generate([ask("y")], n=3, seed=5)[0]] == [11, 11, 11]  # the prompt is read, and paid, anew
    assert len(server.requests) == before + 3
    assert all("n" not in body for body in server.requests[before:])


def test_samples_are_asked_for_side_by_side(server: Server, model: EndpointModel) -> None:
    """At a server that refuses `n`, three samples of one prompt are there at once; each is kept though the third fails."""
    at_once = threading.Barrier(3)
    server.respond = lambda body, number: (400, {"error": {"message": "n must be 1"}}) if body.get("n", 1) > 1 else chat(f"seed {body['seed']}")
    model.generate([ask("w")], n=2)

    def respond(body: dict[str, Any], number: int) -> Answer:
        place = at_once.wait(60)
        return (402, {"error": {"message": "no more"}}) if place == 0 else chat(f"seed {body['seed']}")

    server.respond = respond
    with pytest.raises(ModelError, match="no more"):
        model.generate([ask("x")], n=3)
    before = len(server.requests)
    server.respond = lambda body, number: chat("new")
    texts = [one.text for one in model.generate([ask("x")], n=3)[0]]
    assert texts.count("new") == 1
    assert len({*texts}) == 3
    assert len(server.requests) == before + 1


def test_whatever_decides_an_answer_is_a_part_of_its_place_in_the_cache(server: Server, model: EndpointModel) -> None:
    """Each change costs one more request, and no repetition costs any."""
    usual: dict[str, Any] = {"prompt": ask("x", "Text:"), "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 160, "seed": 1}
    changes: list[dict[str, Any]] = [
        {},
        {"temperature": 0.6},
        {"temperature": None},
        {"top_p": 0.8},
        {"max_new_tokens": 150},
        {"seed": 2},
        {"prompt": ask("x", "Title:")},
        {"prompt": ask("y", "Text:")},
        {"prompt": Prompt((Message("user", "x"),), "Text:")},
    ]
    for _ in range(2):
        for change in changes:
            options = usual | change
            model.generate([options.pop("prompt")], **options)
    assert len(server.requests) == len(changes)


def test_second_run_costs_nothing(server: Server, model: EndpointModel, tmp_path: Path) -> None:
    """Equal requests are answered from disk, another seed is not; a damaged file is asked for again."""
    server.respond = lambda body, number: chat(f"answer {number}")
    first = model.generate([ask("x")], seed=1)
    assert EndpointModel("tiny", server.url, cache_dir=tmp_path).generate([ask("x")], seed=1) == first
    assert model.generate([ask("x")], seed=2) != first
    for path in tmp_path.rglob("*.json"):
        path.write_text("{broken", encoding="utf-8")
    assert model.generate([ask("x")], seed=1)[0][0].text == "answer 2"


def test_retries_while_the_server_is_busy(server: Server, model: EndpointModel) -> None:
    """429 and 503 are waited out."""
    server.respond = lambda body, number: (429, {"error": "slow down"}) if number == 0 else (503, "") if number == 1 else chat("at last")
    assert model.generate([ask("x")])[0][0].text == "at last"
    assert len(server.requests) == 3


def test_gives_up_after_the_last_retry(server: Server, model: EndpointModel) -> None:
    """A server that stays broken is an error that quotes it."""
    server.respond = lambda body, number: (500, {"error": {"message": "out of\nmemory"}})
    with pytest.raises(ModelError, match=r"500.*out of memory.*4 attempts"):
        model.generate([ask("x")])


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((401, {"error": {"message": "bad key"}}), ModelError, "refused the key.*bad key.*api_key_env"),
        ((404, {"error": {"message": "no such model"}}), ModelNotFoundError, "'tiny'.*no such model"),
        ((400, {"detail": "context too long"}), ModelError, "rejected.*context too long"),
    ],
)
def test_failures_are_one_clear_line(server: Server, model: EndpointModel, answer: Answer, error: type[Exception], words: str) -> None:
    """Refusals are told at once, without retrying, and nothing of them is cached."""
    server.respond = lambda body, number: answer
    with pytest.raises(error, match=words) as caught:
        model.generate([ask("x")])
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1
    server.respond = lambda body, number: chat("fine")
    assert model.generate([ask("x")])[0][0].text == "fine"


def test_unreachable_server(tmp_path: Path) -> None:
    """Nobody listens: the message names the address and what to do."""
    model = EndpointModel("tiny", f"http://127.0.0.1:{dead_port()}/v1", cache_dir=tmp_path, patience=HURRIED)
    with pytest.raises(ModelNotFoundError, match=r"no server answers at http://127\.0\.0\.1.*model\.base_url"):
        model.generate([ask("x")])


def test_time_out_is_an_error(server: Server, tmp_path: Path) -> None:
    """A server that accepts and stays silent."""
    release = threading.Event()
    server.respond = lambda body, number: (release.wait(5), chat("late"))[1]
    model = EndpointModel("tiny", server.url, cache_dir=tmp_path, patience=Patience(max_repeats=0, silence_seconds=0.1))
    with pytest.raises(ModelNotFoundError, match="did not answer"):
        model.generate([ask("x")])
    release.set()


def test_prefix_is_the_last_message_and_never_repeated(server: Server, model: EndpointModel) -> None:
    """Whether the server continues the prefix or begins anew with it, the completion is the continuation alone."""
    server.respond = lambda body, number: chat("Rating: 4") if number else chat(" 4")
    assert model.generate([ask("continues", "Rating:")])[0][0].text == " 4"
    assert model.generate([ask("begins anew", "Rating:")])[0][0].text == " 4"
    assert server.requests[0]["messages"][-1] == {"role": "assistant", "content": "Rating:"}


def test_some_servers_name_the_limit_otherwise(server: Server, model: EndpointModel) -> None:
    """Where `max_tokens` is rejected in favour of `max_completion_tokens`, that is sent from then on."""

    def respond(body: dict[str, Any], number: int) -> Answer:
        if "max_tokens" in body:
            return 400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead"}}
        return chat("fine")

    server.respond = respond
    assert model.generate([ask("x")], max_new_tokens=9)[0][0].text == "fine"
    model.generate([ask("y")], max_new_tokens=9)
    assert [body.get("max_completion_tokens") for body in server.requests] == [None, 9, 9]


def test_choices_from_log_probabilities(server: Server, model: EndpointModel) -> None:
    """Probabilities of the first token that is not a space, summed over spellings and normalised over the choices."""
    spaces = {"token": " ", "logprob": -0.1, "top_logprobs": []}
    candidates = [{"token": token, "logprob": logprob} for token, logprob in ((" 5", -0.6931), ("5", -1.3863), ("4", -1.3863), ("x", -3.0))]
    logprobs = {"content": [spaces, {"token": " 5", "logprob": -0.6931, "top_logprobs": candidates}]}
    server.respond = lambda body, number: chat(" 5", logprobs=logprobs)
    assert model.score_choices([ask("x", "Rating:")], ["1", "2", "3", "4", "5"])[0] == pytest.approx([0, 0, 0, 0.25, 0.75], abs=1e-4)
    assert model.scored([ask("x", "Rating:")], ["1", "2", "3", "4", "5"])[0].told_by == "measured"


@pytest.mark.parametrize(("text", "expected", "told_by"), [("I say 4 of 5", [0, 0, 0, 1, 0], "sampled"), ("no idea", [0.2] * 5, "none")])
def test_choices_from_text(server: Server, model: EndpointModel, text: str, expected: list[float], told_by: str) -> None:
    """A server without log-probabilities, here one that even rejects the question, is read by its words and marked so."""
    server.respond = lambda body, number: (422, {"detail": "logprobs unknown"}) if "logprobs" in body else chat(text)
    assert model.score_choices([ask("x")], ["1", "2", "3", "4", "5"])[0].tolist() == expected
    assert model.scored([ask("x")], ["1", "2", "3", "4", "5"])[0].told_by == told_by


def test_key_comes_from_the_environment_and_stays_there(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes out as a bearer token; neither the cache nor the model's name holds it."""
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path))
    model = open_model(ModelConfig(kind="endpoint", name="tiny", base_url=server.url, api_key_env="SOME_KEY"))
    model.generate([ask("x")])
    assert server.keys == ["Bearer sk-very-secret"]
    stored = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    assert stored
    assert not any("secret" in text for text in (*stored, model.name))


@pytest.mark.parametrize("address", [None, "localhost:8000", "file:///etc"])
def test_needs_an_address(address: str | None) -> None:
    """A missing or unusable base_url is a configuration error."""
    with pytest.raises(ConfigError, match="base_url"):
        open_model(ModelConfig(kind="endpoint", name="tiny", base_url=address))


def test_token_estimate_and_truncation_agree(tmp_path: Path) -> None:
    """What `truncate` leaves never counts more tokens than asked for, whatever the script."""
    model = EndpointModel("tiny", "http://localhost:1/v1", cache_dir=tmp_path)
    for text in ("plain words", "ótimo preço, não é?", "日本語のレビュー", "😀" * 9):
        for size in range(8):
            assert model.count_tokens(model.truncate(text, size)) <= size
        assert model.truncate(text, 100) == text


def test_further_fields_go_out_with_every_request(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other ones are other requests, so the cache does not mix them up."""
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path))
    config = ModelConfig(kind="endpoint", name="tiny", base_url=server.url, extra={"chat_template_kwargs": {"enable_thinking": False}})
    for _ in range(2):
        open_model(config).generate([ask("x")])
    assert [body["chat_template_kwargs"] for body in server.requests] == [{"enable_thinking": False}]
    open_model(config.model_copy(update={"extra": {}})).generate([ask("x")])
    assert "chat_template_kwargs" not in server.requests[-1]


def test_a_server_that_answered_one_call_has_answered(server: Server, model: EndpointModel) -> None:
    """A call that began before and ends after it without asking anything does not take that back: such a server gets all its tries."""

    async def ask_in_another_thread(index: int, prompt: Prompt, client: Client) -> None:
        await asyncio.to_thread(model.generate, [ask("y")])

    model._for_each([ask("x")], ask_in_another_thread)
    assert len(server.requests) == 1
    assert model._has_answered
