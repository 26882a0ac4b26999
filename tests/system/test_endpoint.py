"""An engineer's endpoint, from the command line: the plan with its price, a budget that stops in the middle, resuming, and no secret anywhere."""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from servers import Reply, Server, completion, dead_port, refusal, serving, write_reviews
from tiny_model import save_model

from grasper import login
from grasper.cli import main
from grasper.models.endpoint.model import _open

Call = Callable[..., "Said"]
LOGIN, KEY = "ann:p@ss/w0rd-very-secret", "sk-proj-1234567890abcdefghijklmn"


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(write_reviews) as server:
        yield server


@pytest.fixture
def grasper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line with a model at a server, in a folder of its own; the cache is there, too. Each call forgets what a new process would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRASPER_CACHE", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "ALL_PROXY", "GRASPER_LOGIN"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, url: str | None, **environment: str) -> Said:
        settings = ["model.kind=endpoint", "model.name=tiny", f"model.base_url={url}", "model.price_in=1", "model.price_out=4", "align.num_pairs=4"]
        options = [part for setting in settings if url for part in ("--set", setting)]
        monkeypatch.setattr(login, "_remembered", {})
        _open.cache_clear()
        with monkeypatch.context() as inner:
            inner.setattr(sys, "argv", ["grasper", *arguments, *options])
            for name, value in environment.items():
                inner.setenv(name, value)
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            except Exception:
                traceback.print_exc()
                code = 1
        return Said(code, *capsys.readouterr())

    return call


PIPELINE = ("pipeline", "--run", "x", "--methods", "pgraphrag,grasper-no-graph", "--limit", "5")


def test_a_plan_with_its_price_and_a_budget_that_stops_and_resumes(server: Server, tmp_path: Path, grasper: Call) -> None:
    """What was foreseen is what is asked; stopped twice in the middle, the run pays for nothing twice and equals an undisturbed one."""
    assert grasper("prepare", "--run", "x", url=server.url).code == 0
    plan = grasper(*PIPELINE, "--dry-run", url=server.url)
    assert plan.code == 0, plan.err
    [(requests, tokens_in, tokens_out)] = re.findall(r"in all about ([\d,]+) requests, ([\d,]+) \+ ([\d,]+) tokens, .* price at most about", plan.out)
    assert not server.requests

    spent = []
    for _ in range(2):
        stopped = grasper(*PIPELINE, "--budget", "12requests", url=server.url)
        assert stopped.code == 3, stopped.err
        assert "the budget of 12 requests is spent" in stopped.err
        assert "with a new --budget goes on there" in stopped.err
        assert "Traceback" not in stopped.err
        spent.append(len(server.requests))
    assert spent == [12, 24]
    done = grasper(*PIPELINE, "--budget", "1.00", url=server.url)
    assert done.code == 0, done.err
    assert f"spent: {len(server.requests) - 24} requests" in done.out

    prompts = [json.dumps(body, sort_keys=True) for body in server.requests]
    assert len(set(prompts)) == len(prompts)
    assert len(prompts) == int(requests)
    really_in = sum(sum(len(message["content"].encode()) for message in body["messages"]) / 3.5 for body in server.requests)
    assert really_in < int(tokens_in.replace(",", "")) < 1.6 * really_in
    assert int(tokens_out.replace(",", "")) >= sum(body["max_tokens"] * body.get("n", 1) for body in server.requests)

    server.requests.clear()
    assert grasper(*PIPELINE, url=server.url, GRASPER_CACHE=str(tmp_path / "other")).code == 0
    assert not server.requests
    assert grasper("pipeline", "--run", "fresh", *PIPELINE[3:], url=server.url, GRASPER_CACHE=str(tmp_path / "other")).code == 0
    assert len(server.requests) == len(prompts)


def test_other_targets_than_the_finished_ones_are_foreseen(server: Server, tmp_path: Path, grasper: Call) -> None:
    """What one split's targets were asked for says nothing of another's."""
    asked = ("pipeline", "--run", "x", "--methods", "pgraphrag", "--limit", "2")
    assert grasper(*asked, "--split", "dev-a", url=server.url).code == 0
    spent = len(server.requests)
    foreseen = grasper(*asked, "--split", "dev-b", "--dry-run", url=server.url).out
    assert f"in all about {spent} requests" in foreseen


def test_of_a_step_with_a_damaged_batch_that_batch_alone_is_foreseen(server: Server, tmp_path: Path, grasper: Call) -> None:
    """What is whole is kept, and costs nothing again."""
    asked = ("pipeline", "--run", "x", "--methods", "pgraphrag", "--limit", "2", "--set", "tasks=[long,title]")
    assert grasper(*asked, url=server.url).code == 0
    log = tmp_path / "runs" / "x" / "generate" / "pgraphrag" / "outputs.jsonl"
    log.write_text(log.read_text().replace("{", "?", 1))
    foreseen = grasper(*asked, "--dry-run", url=server.url).out
    assert f"in all about {len(server.requests) // 2} requests" in foreseen


def test_data_are_prepared_anew_before_their_cost_is_foreseen(server: Server, tmp_path: Path, grasper: Call) -> None:
    """Another configuration is refused without `--overwrite` and taken with it; a lost table, and what a kill left, are mended."""
    asked = ("pipeline", "--run", "x", "--methods", "none", "--limit", "2")
    assert grasper(*asked, url=server.url).code == 0
    changed = (*asked, "--set", "prepare.memory_mib=256", "--set", "predict.max_epochs=1")
    refused = grasper(*changed, url=server.url)
    assert (refused.code, "redo it with --overwrite" in refused.err) == (2, True)
    assert grasper(*changed, "--overwrite", url=server.url).code == 0
    prepared = tmp_path / "runs" / "x" / "prepare"
    (prepared / "reviews.parquet").unlink()
    (prepared / ".prepare-ab.tmp").mkdir()
    (prepared / ".prepare-ab.tmp" / "staged.parquet").write_text("half")
    mended = grasper(*changed, "--methods", "none,lamp", url=server.url)
    assert mended.code == 0, mended.err
    assert "prepare: a file was damaged or lost" in mended.out
    assert not list(prepared.glob(".*"))


def test_no_secret_is_left_anywhere(server: Server, tmp_path: Path, grasper: Call) -> None:
    """A login in the address and a key that the server quotes: in no file of the run or the cache, and in nothing that is printed."""
    address = server.url.replace("http://", f"http://{LOGIN}@")
    methods = ("pipeline", "--run", "x", "--methods", "pgraphrag", "--limit", "3")
    said = [grasper(*methods, url=address), grasper("doctor", url=address)]
    assert said[0].code == 0, said[0].err
    assert {key for key in server.keys if key} == {"Basic YW5uOnBAc3MvdzByZC12ZXJ5LXNlY3JldA=="}
    server.respond = lambda body, number: refusal(f"no {server.keys[-1]} {KEY if 'Bearer' in str(server.keys[-1]) else LOGIN}", 401)
    said += [grasper("doctor", url=address), grasper("doctor", url=server.url, OPENAI_API_KEY=KEY)]
    said.append(grasper("generate", "--run", "x", "--methods", "pgraphrag", "--limit", "4", "--debug", url=address))
    server.respond = lambda body, number: Reply(200, completion(f"Title: {KEY}\nText: {KEY}\nRating: 4"))
    said.append(grasper(*methods[:2], "y", *methods[3:], "--split", "dev-b", url=server.url, OPENAI_API_KEY=KEY))
    assert said[-1].code == 0
    assert server.keys[-1] == f"Bearer {KEY}"
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(everything) > 20
    everything += [part.encode() for result in said for part in (result.out, result.err)]
    for secret in (LOGIN, "w0rd-very-secret", "YW5uOnBAc3MvdzByZC12ZXJ5LXNlY3JldA==", KEY, KEY[:10]):
        assert not [content for content in everything if secret.encode() in content]


def test_a_login_comes_from_the_environment_when_the_run_is_resumed(server: Server, tmp_path: Path, grasper: Call) -> None:
    """The configuration of the run does not know it any more."""
    assert grasper("pipeline", "--run", "x", "--methods", "none", "--limit", "2", url=server.url, GRASPER_LOGIN=LOGIN).code == 0
    assert {key for key in server.keys if key} == {"Basic YW5uOnBAc3MvdzByZC12ZXJ5LXNlY3JldA=="}


DOCTORED = {
    "carriage return": ({"OPENAI_API_KEY": KEY + "\r"}, "ends with a carriage return"),
    "space": ({"OPENAI_API_KEY": " " + KEY}, "begins with a space"),
    "typographic": ({"OPENAI_API_KEY": KEY[:6] + "\u2013" + KEY[6:]}, r"holds at place 7 U\+2013 \(EN DASH\)"),
    "not ASCII": ({"OPENAI_API_KEY": KEY + "é"}, r"ends with U\+00E9"),
    "proxy": ({"ALL_PROXY": "socks://user:word@proxy.example:1080"}, r"ALL_PROXY.*cannot be used.*NO_PROXY"),
}


@pytest.mark.parametrize("kind", DOCTORED)
def test_doctor_names_the_cause_in_one_line(kind: str, grasper: Call) -> None:
    """Within seconds, before anything is sent, and without the secret."""
    environment, words = DOCTORED[kind]
    result = grasper("doctor", url="http://model.example:8000/v1", **environment)
    [line] = [line for line in result.out.splitlines() if "language model" in line]
    assert re.search(words, line), line
    assert result.code == 2
    assert KEY[:6] not in result.out + result.err
    assert "word@" not in result.out + result.err
    assert "Traceback" not in result.err


def test_a_proxy_is_no_matter_for_this_machine(server: Server, tmp_path: Path, grasper: Call) -> None:
    assert "answers" in grasper("doctor", url=server.url, ALL_PROXY="socks://proxy.example:1080").out


def test_doctor_gives_up_on_a_dead_port(grasper: Call) -> None:
    result = grasper("doctor", url=f"http://127.0.0.1:{dead_port()}/v1")
    assert re.search("FAIL +language model: no server answers at .*start it, or correct model.base_url", result.out)


def test_a_budget_is_for_servers(grasper: Call) -> None:
    said = grasper("pipeline", "--methods", "none", "--budget", "3requests", url=None)
    assert said.code == 2
    assert "--budget is for servers (model.kind=endpoint)" in said.err


def test_an_adapter_is_trained_here_and_writes_at_the_server(server: Server, tmp_path: Path, grasper: Call) -> None:
    """`align` asks nothing of the server; what is written comes from the model under the adapter's name, or from the base for other methods.

    Until the server holds the adapter, one line says so; a later adapter under the same name gets no answers of the earlier one.
    """
    save_model(tmp_path / "base", context_tokens=2048)
    settings = ("model.trained=base", "model.served_adapter=lora-{method}", "align.reward_threshold=0", "align.num_held_out=2", "align.epochs=1")
    options = ("--run", "x", "--methods", "pgraphrag,grasper-no-graph", "--limit", "2", *(part for one in settings for part in ("--set", one)))
    known = {"tiny"}
    server.respond = lambda body, number: write_reviews(body, number) if body["model"] in known else refusal("unknown model", 404)
    assert grasper("prepare", *options, url=server.url).code == 0
    aligned = grasper("align", *options, url=server.url)
    assert aligned.code == 0, aligned.err
    assert not server.requests
    assert (tmp_path / "runs/x/align/grasper-no-graph/adapter/adapter_model.safetensors").exists()

    waiting = grasper("pipeline", *options, url=server.url)
    assert waiting.code == 2
    assert re.search(r"knows no model 'lora-grasper-no-graph'.*docs/models\.md", waiting.err)
    known.add("lora-grasper-no-graph")
    done = grasper("pipeline", *options, url=server.url)
    assert done.code == 0, done.err
    written = [json.loads(line) for line in (tmp_path / "runs/x/generate/grasper-no-graph/outputs.jsonl").read_text().splitlines()]
    assert sum("example_id" in record for record in written) == 6
    assert [body["model"] for body in server.requests].count("tiny") == 6

    asked = len(server.requests)
    assert grasper("pipeline", *options, "--set", "align.epochs=2", "--overwrite", url=server.url).code == 0
    assert {body["model"] for body in server.requests[asked:]} == {"lora-grasper-no-graph"}


def test_pat_is_not_aligned_where_there_are_no_weights(server: Server, tmp_path: Path, grasper: Call) -> None:
    """Its roles go by their prompts alone, which is said; nothing is asked or written for an alignment that nobody would read."""
    options = ("--run", "x", "--methods", "pat", "--limit", "2")
    aligned = grasper("pipeline", *options, "--dry-run", url=server.url)
    assert aligned.code == 0, aligned.err
    assert "align/pat" not in aligned.out
    done = grasper("pipeline", *options, url=server.url)
    assert done.code == 0, done.err
    assert "pat: not trained, tiny gives no weights; its roles go by their prompts alone" in done.out
    assert not (tmp_path / "runs/x/align").exists()
    written = [json.loads(line) for line in (tmp_path / "runs/x/generate/pat/outputs.jsonl").read_text().splitlines()]
    assert {record["task"] for record in written if "example_id" in record} == {"long", "title", "rating"}
    asked = grasper("write", "--run", "x", "--method", "pat", "--user", "new", "--item", "boat-02", url=None)
    assert asked.code == 0, asked.err


def test_texts_for_a_file_of_requests_within_a_budget(server: Server, tmp_path: Path, grasper: Call) -> None:
    """Two budgets of five requests and a rest write twelve texts, each asked once."""
    options = ("--run", "x", "--methods", "pgraphrag", "--limit", "1")
    assert grasper("pipeline", *options, url=server.url).code == 0
    items = pd.read_parquet(tmp_path / "runs/x/prepare/items.parquet")["item_id"].head(12)
    pd.DataFrame({"user_id": [f"new-{number}" for number in range(12)], "item_id": items}).to_csv(tmp_path / "ask.csv", index=False)
    server.requests.clear()
    wanted = ("write", "--run", "x", "--method", "pgraphrag", "--file", "ask.csv", "--out", "texts.csv")
    for asked in (5, 10):
        said = grasper(*wanted, "--budget", "5requests", url=None)
        assert said.code == 3, said.err
        assert "spent: 5 requests" in said.err
        assert len(server.requests) == asked
    assert grasper(*wanted, url=None).code == 0
    assert len(server.requests) == 12
    assert pd.read_csv(tmp_path / "texts.csv")["answer"].str.startswith("A lovely quiet place").all()
