"""Odd servers: nothing odd is stored, what may pass is asked again, the rest is one clear line."""

from __future__ import annotations

import logging
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import EMPTY, FAULTS, FINAL, HARMLESS, Answer, Body, Reply, chat, completion, dead_port, refusal, serving

from grasper.errors import GrasperError, ModelError, ModelNotFoundError
from grasper.models.base import Message, Prompt
from grasper.models.endpoint import EndpointModel
from grasper.models.endpoint.client import Client, Patience, _retry_after

HURRIED = Patience(max_repeats=3, pause_seconds=0.001)
BUSY = ("busy", "too many requests", "overloaded")
"""The faults that say "later"; the others may stay."""
ASKED = Prompt((Message("system", "You write reviews."), Message("user", "Write one.")), "Text:")
DIGITS = ["1", "2", "3", "4", "5"]


def model_at(url: str, cache: Path, patience: Patience = HURRIED, **settings: object) -> EndpointModel:
    return EndpointModel("tiny", url, cache_dir=cache, patience=patience, **settings)  # type: ignore[arg-type]


def stored(cache: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in cache.rglob("*.json"))


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_only_describes_an_answer_is_taken_where_it_makes_sense(kind: str, tmp_path: Path) -> None:
    """The text is right, token counts are never absurd, and the cache gives the same again."""
    with serving(lambda body, number: HARMLESS[kind]) as server:
        [[answer]] = model_at(server.url, tmp_path).generate([ASKED])
        assert answer.text == "fine"
        assert 0 < answer.tokens_in < 100
        assert 0 < answer.tokens_out < 100
        assert model_at(server.url, tmp_path).generate([ASKED]) == [[answer]]
        assert len(server.requests) == 1
        assert model_at(server.url, tmp_path).score_choices([ASKED], DIGITS).tolist() == [[0.2] * 5]


@pytest.mark.parametrize("kind", FAULTS)
def test_an_odd_answer_is_asked_again_and_never_kept(kind: str, tmp_path: Path) -> None:
    """One odd answer, then a good one to the very same request: the good one counts, and it alone is on disk."""
    with serving(lambda body, number: FAULTS[kind] if number == 0 else chat(" Lovely.")) as server:
        model = model_at(server.url, tmp_path)
        assert model.generate([ASKED])[0][0].text == " Lovely."
        assert len(server.requests) == 2
        assert server.requests[0] == server.requests[1]
        assert model.generate([ASKED])[0][0].text == " Lovely."
        assert len(server.requests) == 2
    assert len(list(tmp_path.rglob("*.json"))) == 1


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in BUSY])
def test_a_server_that_stays_odd_is_one_clear_line(kind: str, tmp_path: Path) -> None:
    """A bounded number of requests, one line that names the server, nothing on disk."""
    with serving(lambda body, number: FAULTS[kind]) as server:
        for ask in (lambda model: model.generate([ASKED]), lambda model: model.score_choices([ASKED], DIGITS)):
            before = len(server.requests)
            with pytest.raises((ModelError, ModelNotFoundError)) as caught:
                ask(model_at(server.url, tmp_path))
            assert server.url in str(caught.value)
            assert len(str(caught.value)) < 500
            assert "\n" not in str(caught.value)
            assert 1 <= len(server.requests) - before <= 4
    assert stored(tmp_path) == ""


@pytest.mark.parametrize("kind", FINAL)
def test_final_refusals_end_at_once(kind: str, tmp_path: Path) -> None:
    """No repetition changes them."""
    with serving(lambda body, number: FINAL[kind]) as server:
        with pytest.raises(GrasperError):
            model_at(server.url, tmp_path).generate([ASKED])
        assert len(server.requests) == 1
    assert stored(tmp_path) == ""


def test_says_what_a_web_page_is(tmp_path: Path) -> None:
    with serving(lambda body, number: FAULTS["web page"]) as server, pytest.raises(ModelError, match=r"web page \(HTML\).*nginx"):
        model_at(server.url, tmp_path).generate([ASKED])


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_answer_is_asked_again(kind: str, tmp_path: Path) -> None:
    """With another seed; the tokens of both tries are counted, and the answer is kept."""
    with serving(lambda body, number: EMPTY[kind] if number == 0 else chat(" Lovely.")) as server:
        [[answer]] = model_at(server.url, tmp_path).generate([ASKED])
        assert answer.text == " Lovely."
        assert server.requests[0]["seed"] != server.requests[1]["seed"]
        assert answer.tokens_in >= 11
        assert answer.tokens_out >= 3
        assert model_at(server.url, tmp_path).generate([ASKED]) == [[answer]]
        assert len(server.requests) == 2


def test_good_answers_are_kept_before_an_empty_one_is_asked_for_again(tmp_path: Path) -> None:
    """Five in one request, the first of them empty, and then the server is gone: the other four are paid for once."""

    def respond(body: Body, number: int) -> Answer:
        return chat("", *(f"fine {n}" for n in range(4))) if number == 0 else refusal("no more", 402)

    with serving(respond) as server:
        with pytest.raises(ModelError, match="no more"):
            model_at(server.url, tmp_path).generate([ASKED], n=5)
        assert len(list(tmp_path.rglob("*.json"))) == 4
        server.respond = lambda body, number: chat("new")
        texts = sorted(one.text for one in model_at(server.url, tmp_path).generate([ASKED], n=5)[0])
        assert texts == ["fine 0", "fine 1", "fine 2", "fine 3", "new"]
        assert len(server.requests) == 3


def test_an_answer_may_take_as_long_as_the_deadline() -> None:
    """It comes at once and not word by word, so silence is no sign of death."""
    assert Patience(deadline_seconds=3600).silence == 3600
    assert Patience(deadline_seconds=3600, silence_seconds=5).silence == 5


@pytest.mark.parametrize("kind", EMPTY)
def test_answers_that_stay_empty_are_counted_and_never_kept(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three tries each; above 5 % the terminal tells; a rating without any answer is even, not a digit of a thought."""
    with serving(lambda body, number: EMPTY[kind]) as server:
        model = model_at(server.url, tmp_path)
        answers = model.generate([Prompt((Message("user", str(number)),)) for number in range(20)])
        assert {answer.text.strip() for [answer] in answers} == {""}
        assert len(server.requests) == 60
        assert "20 of 20 answers" in caplog.text
        assert model.score_choices([ASKED], DIGITS).tolist() == [[0.2] * 5]
        assert model.scored([ASKED], DIGITS)[0].told_by == "none"
    assert stored(tmp_path) == ""


@pytest.mark.parametrize("kind", EMPTY)
def test_one_empty_answer_does_not_cost_the_probabilities(kind: str, tmp_path: Path) -> None:
    """An empty answer holds no log-probabilities; that tells nothing of the server, whose next answer does."""
    four = {"logprobs": {"content": [{"token": "4", "logprob": -0.1}]}}
    with serving(lambda body, number: EMPTY[kind] if number == 0 else chat("4", **four)) as server:
        model = model_at(server.url, tmp_path)
        assert model.score_choices([ASKED], DIGITS).tolist() == [[0, 0, 0, 1, 0]]
        assert model.scored([ASKED], DIGITS)[0].told_by == "measured"
        assert len(server.requests) == 2


def test_few_empty_answers_are_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One in twenty is 5 %, not more."""
    with serving(lambda body, number: EMPTY["content null"] if number == 7 else chat("fine")) as server:
        model_at(server.url, tmp_path, concurrency=1).generate([Prompt((Message("user", str(number)),)) for number in range(20)])
    assert caplog.text == ""


def test_half_a_surrogate_pair_does_no_harm(tmp_path: Path) -> None:
    """Neither in an answer nor in a prompt; whole pairs stay."""
    raw = '{"choices":[{"message":{"content":"nice \\ud83d place \\ud83d\\ude00 \\ude00"}}]}'
    with serving(lambda body, number: Reply(body=raw)) as server:
        model = model_at(server.url, tmp_path)
        for _ in range(2):
            assert model.generate([Prompt((Message("user", "broken \ud83d here"),), "Text\udc00:")])[0][0].text == "nice \ufffd place 😀 \ufffd"
        assert server.requests[0]["messages"][0]["content"] == "broken \ufffd here"
        assert model.count_tokens("\ud83d" * 7) > 0
        assert model.truncate("ab\ud83dcd", 1) == "ab"


@pytest.mark.parametrize("damage", [b"", b"{", b'{"choices": []}', b'{"choices": [{"content": 7}]}', b"\xff", b"[" * 100_000, b"null"])
def test_a_damaged_entry_is_dropped_and_asked_again(damage: bytes, tmp_path: Path) -> None:
    """Texts and ratings; afterwards the entry is whole again."""
    with serving(lambda body, number: chat(" 4")) as server:
        first = model_at(server.url, tmp_path).generate([ASKED]), model_at(server.url, tmp_path).score_choices([ASKED], DIGITS).tolist()
        asked = len(server.requests)
        for path in tmp_path.rglob("*.json"):
            path.write_bytes(damage)
        for _ in range(2):
            model = model_at(server.url, tmp_path)
            assert (model.generate([ASKED]), model.score_choices([ASKED], DIGITS).tolist()) == first
            assert asked < len(server.requests) <= 2 * asked


def test_a_cache_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with serving() as server:
        model = model_at(server.url, tmp_path / "file")
        assert [row[0].text for row in model.generate([ASKED, Prompt((Message("user", "x"),))])] == ["hello", "hello"]
    assert len(caplog.records) == 1
    assert "GRASPER_CACHE" in caplog.text


# -- time ------------------------------------------------------------------------------------------------------------------------------


def test_a_server_that_drips_ends_at_the_deadline(tmp_path: Path) -> None:
    """Every byte comes in time, the answer does not."""
    with serving(lambda body, number: Reply(body=completion("fine"), drip_seconds=0.05)) as server:
        started = time.monotonic()
        with pytest.raises(ModelNotFoundError, match=r"no whole answer within 0\.5 s \(model\.deadline_seconds\)"):
            model_at(server.url, tmp_path, Patience(deadline_seconds=0.5, max_repeats=3)).generate([ASKED])
        assert time.monotonic() - started < 20  # far below the minutes that the whole answer would take
        assert len(server.requests) == 1


@pytest.mark.parametrize("form", ["seconds", "milliseconds", "date"])
def test_waits_as_long_as_the_server_asks(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In full, and announced."""
    headers = {"seconds": {"Retry-After": "2"}, "milliseconds": {"retry-after-ms": "2000"}, "date": {}}[form]

    def respond(body: Body, number: int) -> Answer:
        wanted = {"Retry-After": formatdate(time.time() + 3, usegmt=True)} if form == "date" else headers  # a date has no fractions
        return refusal("slow down", 429, **wanted) if number == 0 else chat("fine")

    with serving(respond) as server:
        started = time.monotonic()
        assert model_at(server.url, tmp_path).generate([ASKED])[0][0].text == "fine"
        assert 1.9 < time.monotonic() - started < 30
    assert "waiting 2 s: the server" in caplog.text.replace("waiting 3 s", "waiting 2 s")
    assert "said 429 (slow down)" in caplog.text


def test_waits_more_often_than_it_repeats_where_it_is_asked_to(tmp_path: Path) -> None:
    """A rate limit that says how long is no failure; the deadline alone ends it."""
    with serving(lambda body, number: refusal("slow", 429, **{"Retry-After": "0"}) if number < 9 else chat("fine")) as server:
        assert model_at(server.url, tmp_path).generate([ASKED])[0][0].text == "fine"
        assert len(server.requests) == 10


@pytest.mark.parametrize("kind", BUSY)
def test_later_is_no_failure(kind: str, tmp_path: Path) -> None:
    """A busy server is asked for longer than the usual repeats, whether or not it names a wait, and after a failure of another kind, too."""
    answers = {0: FAULTS["server error"], 9: chat("fine")}
    with serving(lambda body, number: answers.get(number, FAULTS[kind])) as server:
        assert model_at(server.url, tmp_path, Patience(max_repeats=3, pause_seconds=1e-6)).generate([ASKED])[0][0].text == "fine"
        assert len(server.requests) == 10


@pytest.mark.parametrize("kind", BUSY)
def test_a_server_that_stays_busy_ends_at_the_deadline(kind: str, tmp_path: Path) -> None:
    with serving(lambda body, number: FAULTS[kind]) as server:
        with pytest.raises((ModelError, ModelNotFoundError), match=r"said \d+ ") as caught:
            model_at(server.url, tmp_path, Patience(deadline_seconds=0.5, max_repeats=0, pause_seconds=0.01)).generate([ASKED])
        assert "model.deadline_seconds" in str(caught.value)
        assert len(server.requests) > 1
    assert stored(tmp_path) == ""


def test_pauses_double_to_the_longest_and_scatter() -> None:
    """However often a server is asked; what was refused together comes back apart."""
    assert [Patience(jitter=0).pause(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [0.5, 1, 2, 16, 30, 30]
    pauses = [Patience(jitter=0.2).pause(1) for _ in range(20)]
    assert 0.5 <= min(pauses) < max(pauses) < 0.6


WAITS = {
    "Gemini": (
        [{"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 0.05s."}}],
        0.05,
    ),
    "Gemini, in a field": ([{"error": {"message": "Your current quota is spent", "details": [{"retryDelay": "0.3s"}]}}], 0.3),
    "OpenAI": ({"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached. Please try again in 250ms. See /account/billing"}}, 0.25),
    "in several units": ({"error": {"message": "Please try again in 0m0.2s."}}, 0.2),
}


@pytest.mark.parametrize("kind", WAITS)
def test_a_wait_in_the_words_of_a_server_is_no_used_up_account(kind: str, tmp_path: Path) -> None:
    """Limits by the minute speak of quota and billing, too."""
    body, seconds = WAITS[kind]
    with serving(lambda request, number: (429, body) if number == 0 else chat("fine")) as server:
        started = time.monotonic()
        assert model_at(server.url, tmp_path).generate([ASKED])[0][0].text == "fine"
        assert time.monotonic() - started >= seconds


@pytest.mark.parametrize(
    ("words", "seconds"), [("7m12.5s", 432.5), ("1h2m3s", 3723), ("20 seconds", 20), ("5 minutes", 300), ("90 milliseconds", 0.09), ("a while", None)]
)
def test_reads_how_long_a_server_asks_to_wait(words: str, seconds: float | None) -> None:
    assert _retry_after(httpx.Headers(), f"Slow down. Please retry after {words}, then 9s more.".encode()) == seconds


def test_tells_what_a_list_of_one_error_says(tmp_path: Path) -> None:
    with serving(lambda body, number: (401, [{"error": {"message": "bad key"}}])) as server, pytest.raises(ModelError, match=r"\(401: bad key\)"):
        model_at(server.url, tmp_path).generate([ASKED])


def test_does_not_wait_past_the_deadline(tmp_path: Path) -> None:
    with serving(lambda body, number: refusal("slow down", 429, **{"Retry-After": "3600"})) as server:
        started = time.monotonic()
        with pytest.raises(ModelError, match=r"429.*slow down.*asks to wait 3600 s.*deadline of 600 s"):
            model_at(server.url, tmp_path).generate([ASKED])
        assert time.monotonic() - started < 60


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "1e999", "Fri, 31 Dec 2027 23:59:59 +99999999999999999999"])
def test_a_senseless_wait_counts_as_none(value: str, tmp_path: Path) -> None:
    with serving(lambda body, number: refusal("busy", 503, **{"Retry-After": value}) if number == 0 else chat("fine")) as server:
        started = time.monotonic()
        assert model_at(server.url, tmp_path).generate([ASKED])[0][0].text == "fine"
        assert time.monotonic() - started < 60


def test_a_dead_port_is_told_within_seconds(tmp_path: Path) -> None:
    """With the usual patience: whoever never answered is not waited for."""
    started = time.monotonic()
    with pytest.raises(ModelNotFoundError, match=r"no server answers at .*gave up after 2 attempts"):
        model_at(f"http://127.0.0.1:{dead_port()}/v1", tmp_path, Patience()).generate([ASKED])
    assert time.monotonic() - started < 30


def test_an_error_keeps_what_was_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request is refused while three others are at the server: nothing more is sent, and the three are on disk."""
    are_there, is_stopped, stop = threading.Barrier(4), threading.Event(), Client.stop
    monkeypatch.setattr(Client, "stop", lambda client: (stop(client), is_stopped.set()))

    def respond(body: Body, number: int) -> Answer:
        if number < 4:
            are_there.wait(60)
        if body["messages"][0]["content"] == "0":
            return refusal("context too long")
        assert is_stopped.wait(60)  # answered when the refusal has been read, not before
        return chat("fine")

    with serving(respond) as server:
        prompts = [Prompt((Message("user", str(number)),)) for number in range(40)]
        with pytest.raises(ModelError, match="context too long"):
            model_at(server.url, tmp_path, concurrency=4).generate(prompts)
        assert 4 <= len(server.requests) <= 5  # the slot of the refused one may have been taken before the refusal was read
    assert len(list(tmp_path.rglob("*.json"))) == len(server.requests) - 1


@pytest.mark.parametrize("body", [{"error": {"message": "no\x1b]0;owned\x07 \u202ekey\x9b2J\nhere"}}, "no\x1b]0;owned\x07 \u202ekey\x9b2J\nhere"])
def test_the_words_of_a_server_do_nothing_to_a_terminal(body: Any, tmp_path: Path) -> None:
    with serving(lambda request, number: Reply(401, body)) as server, pytest.raises(ModelError) as caught:
        model_at(server.url, tmp_path).generate([ASKED])
    assert "(401: no ]0;owned key 2J here)" in str(caught.value)


def test_tells_no_secrets_of_odd_bodies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal that quotes the key, in whole or in part, and an answer that does."""
    key = "sk-proj-1234567890abcdefghijklmn"
    bodies = [
        refusal(f"Incorrect API key provided: {key}.", 401),
        refusal(f"Incorrect API key provided: {key[:8]}*****{key[-4:]}.", 401),
        Reply(200, f"<html>Bearer {key}</html>"),
        refusal(f"no model for {key}", 404),
        refusal(f"bad request by {key}"),
        refusal(f"broken {key}", 500),
        Reply(302, b"", {"Location": f"https://x.example/?key={key}"}),
    ]
    with caplog.at_level(logging.INFO):
        for body in bodies:
            with serving(lambda request, number, body=body: body) as server, pytest.raises(GrasperError) as caught:
                model_at(server.url, tmp_path, api_key=key).generate([ASKED])
            assert key not in str(caught.value)
            assert key[:8] not in str(caught.value)
    with serving(lambda body, number: chat(f"your key is {key}")) as server:
        assert key not in model_at(server.url, tmp_path, api_key=key).generate([ASKED])[0][0].text
    assert key not in stored(tmp_path) + caplog.text
