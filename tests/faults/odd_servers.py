"""Every odd answer of a server, alone and mixed, and kills while it answers: all texts arrive, nothing is paid twice beyond what was under way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from servers import EMPTY, FAULTS, FINAL, HARMLESS, Answer, Body, Reply, chat, serving

from faults.process import KILLED, Ending, fork
from faults.world import OPTIONS, Outcome, Place, answer_to, difference, pipeline

NAMES = [(group, name) for group, replies in (("harmless", HARMLESS), ("fault", FAULTS), ("empty", EMPTY), ("final", FINAL)) for name in replies]
REPLIES: dict[str, Reply] = HARMLESS | FAULTS | EMPTY | FINAL
PROMPTS, CONCURRENCY = 12, 4
UNDER_WAY = 8
"""Requests of a whole run, by the default of `model.concurrency`."""
_SETTINGS = ("predict.encoder=popularity", "align.reward_threshold=0", "model.kind=endpoint", "model.name=tiny")
ENDPOINT = [*OPTIONS, *(part for setting in _SETTINGS for part in ("--set", setting))]
Respond = Callable[[Body, int], Answer]


def trials(place: Place, numbers: Iterable[int]) -> Iterator[Outcome]:
    """First each odd answer alone, amid good ones; then mixes at random, every fourth time a whole run that is killed while the server is odd."""
    for number in numbers:
        if number < len(NAMES):
            group, name = NAMES[number]
            yield _in_fork(place, number, f"{group}: {name}", lambda name=name, number=number: _one(place, number, name))  # type: ignore[misc]
        elif number % 4 == 0:
            yield _killed_run(place, number)
        else:
            yield _in_fork(place, number, "mixed", lambda number=number: _mixed(place, number))  # type: ignore[misc]


def _in_fork(place: Place, number: int, what: str, check: Callable[[], int]) -> Outcome:
    """The threads of the server live and die in a process of their own; `check` gives the number of requests, or raises what is wrong."""
    folder = place.fresh("asked")

    def work() -> None:
        (folder / "requests").write_text(str(check()))

    ending = fork(work, folder, timeout=120)
    if ending.code != 0:
        return Outcome("servers", number, f"{what}: {ending.last_line[:300] or f'exit code {ending.code}'}")
    return Outcome("servers", number, detail={"requests": int((folder / "requests").read_text())})


def _one(place: Place, number: int, name: str) -> int:
    """One odd answer at a random request; for final refusals the server is mended afterwards."""
    at = place.random_of("servers", number).randrange(PROMPTS)
    is_open = [True]

    def plan(content: str, turn: int) -> Reply | None:
        return REPLIES[name] if int(content) == at and (turn == 0 or name in FINAL) and is_open[0] else None

    return _ask(plan, is_open if name in FINAL else None)


def _mixed(place: Place, number: int) -> int:
    """Up to two odd answers to every prompt."""
    chance = place.random_of("servers", number)
    odd = [*FAULTS, *EMPTY, *HARMLESS]
    plans = {str(prompt): [chance.choice(odd) for _ in range(chance.randrange(3))] for prompt in range(PROMPTS)}

    def plan(content: str, turn: int) -> Reply | None:
        return REPLIES[plans[content][turn]] if turn < len(plans[content]) else None

    return _ask(plan, None)


def _ask(plan: Callable[[str, int], Reply | None], is_open: list[bool] | None) -> int:
    """Ask all prompts until they are answered, and again from the cache; how many requests arrived.

    Args:
        plan: The odd answer to a prompt when it comes for the so-manieth time, or None.
        is_open: For final refusals: set to False to mend the server after its refusal was told.
    """
    from grasper.errors import GrasperError
    from grasper.models.base import Message, Prompt
    from grasper.models.endpoint import EndpointModel
    from grasper.models.endpoint.client import Patience

    times, good, lock = Counter[str](), Counter[str](), threading.Lock()

    def respond(body: Body, number: int) -> Answer:
        content = body["messages"][-1]["content"]
        with lock:
            turn, times[content] = times[content], times[content] + 1
            odd = plan(content, turn)
            good[content] += odd is None or odd in HARMLESS.values()
        return odd or chat(answer_to(content))

    def model(url: str) -> EndpointModel:
        return EndpointModel("tiny", url, cache_dir=Path("cache"), concurrency=CONCURRENCY, patience=Patience(max_repeats=5, pause_seconds=0.001))

    prompts = [Prompt((Message("user", str(number)),)) for number in range(PROMPTS)]
    under_way = 0
    with serving(respond) as server:
        if is_open:
            try:
                model(server.url).generate(prompts)
            except GrasperError as error:
                _require("\n" not in str(error) and len(str(error)) < 1000, "more than one line")
            else:
                raise AssertionError("a final refusal was not told")
            is_open[0], under_way = False, CONCURRENCY
        texts = [answer.text for [answer] in model(server.url).generate(prompts)]
        fine = {str(number): {answer_to(str(number)), "fine"} for number in range(PROMPTS)}
        for number, text in enumerate(texts):
            _require(text in fine[str(number)], f"prompt {number} was answered with {text[:80]!r}")
        paid, asked = sum(good.values()), len(server.requests)
        _require(paid - PROMPTS <= under_way, f"{paid} answers paid for {PROMPTS} prompts")
        _require([answer.text for [answer] in model(server.url).generate(prompts)] == texts, "the cache answers otherwise")
        _require(len(server.requests) == asked, "asked again for what is in the cache")
    return asked


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)


def _killed_run(place: Place, number: int) -> Outcome:
    """A whole run at a server that is odd now and then, killed three times; compared with one that nothing disturbed."""
    chance = place.random_of("servers", number)
    calm, _ = _run_at_server(place, "calm", [], [])
    odd = [
        name
        for name in (*FAULTS, *EMPTY)
        if name not in ("too many requests", "overloaded", "busy", "server error", "web server down", "10 MB", "gzip bomb")
    ]
    kill_after = [chance.uniform(0.1, 1.5) for _ in range(3)]
    folder, visit = _run_at_server(place, "stormy", kill_after, [chance.choice(odd) for _ in range(40)])
    problem = difference(folder, calm, ordered=False)
    if visit.ending.code != 0:
        problem = visit.ending.last_line[:300]
    elif visit.paid_twice > visit.kills * UNDER_WAY:
        problem = f"{visit.paid_twice} answers paid twice after {visit.kills} kills with {UNDER_WAY} requests under way"
    detail = {"requests": visit.requests, "kills": visit.kills, "paid twice": visit.paid_twice}
    return Outcome("servers", number, f"killed run: {problem}" if problem else "", detail=detail)


@dataclass(frozen=True)
class _Visit:
    """What a run at a server came to."""

    ending: Ending
    paid_twice: int
    kills: int
    requests: int


def _run_at_server(place: Place, name: str, kill_after: list[float], odd: list[str]) -> tuple[Path, _Visit]:
    """The run's folder, and what came of it."""
    folder = place.fresh(name)
    log, address = place.root / f"{name}.requests", place.root / f"{name}.url"
    log.write_text("")
    address.unlink(missing_ok=True)
    server = os.fork()
    if server == 0:
        _serve(log, address, odd)
    try:
        while not address.exists():
            time.sleep(0.01)
        options = [*ENDPOINT, "--set", f"model.base_url={address.read_text()}"]
        os.environ["GRASPER_CACHE"] = str(folder / "cache")
        kills = 0
        for seconds in kill_after:
            kills += pipeline(folder, options, kill_after=seconds).code == KILLED
        ending = pipeline(folder, options)
    finally:
        os.environ.pop("GRASPER_CACHE", None)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    paid = Counter(line for line in log.read_text().splitlines() if not line.startswith("odd"))
    return folder, _Visit(ending, sum(times - 1 for times in paid.values()), kills, sum(paid.values()))


def _serve(log: Path, address: Path, odd: list[str]) -> None:
    """Answer for ever, by the content of each request; every third request is odd while the list lasts."""
    left, lock = list(odd), threading.Lock()
    seen: set[str] = set()

    def respond(body: Body, number: int) -> Answer:
        text = json.dumps(body, sort_keys=True)
        with lock, log.open("a") as handle:
            if left and number % 3 == 1 and text not in seen:
                seen.add(text)
                handle.write("odd\n")
                return REPLIES[left.pop()]
            handle.write(f"{hash(text)}\n")
        extra = {"logprobs": {"content": [{"token": "4", "logprob": -0.1}]}} if body.get("logprobs") else {}
        return chat(*["4" if extra else answer_to(body["messages"][-1]["content"])] * body.get("n", 1), **extra)

    try:
        with serving(respond) as server:
            part = address.with_suffix(".part")
            part.write_text(server.url)
            part.replace(address)
            signal.pause()
    finally:
        os._exit(0)
