"""One request to a server until it is answered, refused, or out of time: repetitions, waits, and what each refusal means.

- Connections that break, time-outs, 408, 409, 425 and 5xx are repeated a few times with doubling pauses; not 501, which refuses what was asked.
- A server that says "later" (429, 503, 529, or a wait that it names in `Retry-After` or in its words) is asked until the deadline, after that wait or
  with the same pauses. Waits of two seconds and more are announced.
- A success that holds no chat completion is asked for twice more.
- Everything together ends at the deadline, which waiting for the budget puts off. A server that never answered at all gets two tries, so that a
  dead port is told within seconds.
- Refused keys, unknown models, used-up quotas are final at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
import zlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from grasper.errors import GrasperError, ModelError, ModelNotFoundError
from grasper.models.budget import Meter, Spending
from grasper.models.endpoint.access import Access
from grasper.models.endpoint.answers import Answer, MalformedAnswerError, read_answer, read_body
from grasper.models.endpoint.slots import Slots

logger = logging.getLogger(__name__)

T = TypeVar("T")

REPEATED = frozenset({408, 409, 425, 429, *range(500, 600)}) - {501}
BUSY = frozenset({429, 503, 529})
"""Those of them that mean "later": a rate limit, or too many at once."""
MALFORMED_REPEATS = 2
FIRST_CONTACT_TRIES = 2
LONGEST_PAUSE_SECONDS = 30.0
"""Of the doubling pauses; what a server asks for is waited in full."""
ANNOUNCED_SECONDS = 2.0
MAX_ANSWER_BYTES = 8 * 2**20
_USED_UP = re.compile(r"insufficient.?quota|your current quota|billing|credit balance|account.{0,20}(?:deactivated|suspended)", re.IGNORECASE)
_ASKED_WAIT = re.compile(
    r"(?:retry|try again) (?:in|after) ((?:\d+(?:\.\d+)? ?(?:ms|h|m|s)[a-z]*[ ,]*)+)|\"retryDelay\": ?\"(\d+(?:\.\d+)?s)\"", re.IGNORECASE
)
"""How servers name a wait in their words: `Please try again in 7m12.5s` (OpenAI, Groq), `Please retry in 34.07s`, `"retryDelay": "34s"` (Gemini)."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|milli|h|m|s)", re.IGNORECASE)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "milli": 0.001}
_TEMPLATE = re.compile(r"jinja|chat.?template|not support|unsupported|must alternate", re.IGNORECASE)


class RejectedError(ModelError):
    """A request that the server understood and does not serve, for example because of a parameter that it does not know."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(problem)
        self.message = message
        """The server's own words."""


class StoppedError(GrasperError):
    """Nothing is sent any more because another request of the same call failed."""


class _FailedError(Exception):
    """An attempt that may go better the next time."""

    def __init__(
        self,
        problem: str,
        kind: type[GrasperError],
        *,
        wait: float | None = None,
        is_busy: bool = False,
        is_paid: bool = False,
        is_odd: bool = False,
    ) -> None:
        self.problem, self.kind, self.wait = problem, kind, wait
        self.is_busy = is_busy or wait is not None
        """Whether the server asks to come later, so that the deadline alone counts."""
        self.is_paid = is_paid
        """Whether the server may have written an answer, and count it, though none arrived that could be used."""
        self.is_odd = is_odd
        """Whether an answer arrived that was none."""


@dataclass(frozen=True)
class Patience:
    """How long and how often a request is tried."""

    deadline_seconds: float = 600.0
    silence_seconds: float | None = None
    """Longest time without a single byte; None: the deadline, for an answer comes at once and not word by word."""
    max_repeats: int = 5
    pause_seconds: float = 0.5
    """Before the first repetition; it doubles each time."""
    jitter: float = 0.2
    """Most by which a pause is longer, as a share of it: requests that were refused together should not come back together."""

    def pause(self, failures: int) -> float:
        """Seconds before the next attempt, after so many failures."""
        doubled = self.pause_seconds * 2 ** min(failures - 1, 32)  # by then it is the longest anyway
        return min(doubled, LONGEST_PAUSE_SECONDS) * (1 + self.jitter * random.random())

    @property
    def silence(self) -> float:
        """Longest time without a single byte, in seconds."""
        return self.deadline_seconds if self.silence_seconds is None else self.silence_seconds


class Client:
    """Sends requests to one server, a few at a time; one for each call of the model."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        access: Access,
        model: str,
        *,
        patience: Patience,
        meter: Meter,
        concurrency: int,
        has_answered: bool = False,
    ) -> None:
        self._http, self._access, self._model, self._patience, self._meter = http, access, model, patience, meter
        self._stopping = asyncio.Event()
        self.slots = Slots(access.base_url, concurrency, self._stopping)
        """One is to be held while `post` is called."""
        self._quiet_until = 0.0
        self.finding_out = asyncio.Lock()
        """Held by whoever finds out what the server refuses."""
        self.has_answered = has_answered
        """Whether the server ever sent an answer, if only a refusal."""

    def stop(self) -> None:
        """Send nothing any more; what is under way may come to its end."""
        self._stopping.set()

    async def together(self, works: Iterable[Awaitable[T]]) -> list[T]:
        """The results of some works that go on side by side. After an error nothing more is sent; what is under way comes to its end and is kept."""
        tasks = [asyncio.ensure_future(work) for work in works]
        if not tasks:
            return []
        _, unfinished = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if unfinished:
            self.stop()
            await asyncio.wait(unfinished)
        if errors := [error for task in tasks if (error := task.exception()) is not None]:
            raise min(errors, key=lambda error: (isinstance(error, StoppedError), isinstance(error, GrasperError)))
        return [task.result() for task in tasks]

    async def post(self, payload: Mapping[str, Any], expected: Spending, *, price: tuple[float, float] = (0.0, 0.0)) -> Answer:
        """The server's answer.

        Args:
            expected: What the answer may cost at most, for the budget.
            price: Of one token of the prompt and of the answer.

        Raises:
            RejectedError: The server does not serve such a request.
            ModelNotFoundError: The server cannot be reached, or does not know the model.
            ModelError: The key is refused, the server fails for good, or answers with no chat completion.
            BudgetSpentError: The budget does not hold another request.
        """
        end = time.monotonic() + self._patience.deadline_seconds
        failed: list[_FailedError] = []
        while True:
            asked = time.monotonic()
            await self._reserve(expected)
            end += time.monotonic() - asked  # the server has no part in it
            spent = expected  # until it is known better: a request that was sent and lost may have been answered
            try:
                async with asyncio.timeout(max(end - time.monotonic(), 0.001)):
                    answer = await self._attempt(payload)
                spent = _spent(answer, expected, price)
                return answer
            except TimeoutError:
                problem = f"{self._access.base_url} gave no whole answer within {self._patience.deadline_seconds:g} s (model.deadline_seconds)"
                before = f"; before that, {failed[-1].problem}" if failed else ""
                raise ModelNotFoundError(problem + before) from None
            except _FailedError as error:
                failed.append(error)
                spent = expected if error.is_paid else Spending(requests=1)
            except GrasperError:
                spent = Spending(requests=1)  # a refusal
                raise
            finally:
                self._meter.settle(expected, spent)
            await self._wait(failed, end)

    async def _reserve(self, expected: Spending) -> None:
        """Wait until the budget holds the request beside those under way."""
        while True:
            if self._stopping.is_set():
                raise StoppedError
            if self._meter.reserve(expected):
                return
            await asyncio.sleep(0.02)

    async def _wait(self, failed: Sequence[_FailedError], end: float) -> None:
        """The pause before the next attempt, after these; raises where there is none."""
        patience, failure = self._patience, failed[-1]
        tries = patience.max_repeats + 1 if self.has_answered else min(FIRST_CONTACT_TRIES, patience.max_repeats + 1)
        failures, odd_answers = sum(not one.is_busy for one in failed), sum(one.is_odd for one in failed)
        if odd_answers > MALFORMED_REPEATS or (failures >= tries and not failure.is_busy):
            times = f"; gave up after {len(failed)} attempts" if len(failed) > 1 else ""
            raise failure.kind(failure.problem + times)
        wait = max(patience.pause(len(failed)), failure.wait or 0.0)
        if time.monotonic() + wait >= end:
            asked = "gave up at" if failure.wait is None else f"it asks to wait {wait:.0f} s, which is past"
            raise failure.kind(f"{failure.problem}; {asked} the deadline of {patience.deadline_seconds:g} s (model.deadline_seconds)")
        if wait >= ANNOUNCED_SECONDS and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + wait
            logger.warning("waiting %.0f s: %s", wait, failure.problem)
        try:
            await asyncio.wait_for(self._stopping.wait(), wait)
        except TimeoutError:
            return
        raise StoppedError

    async def _attempt(self, payload: Mapping[str, Any]) -> Answer:
        url = self._access.base_url
        try:
            async with self._http.stream("POST", f"{url}/chat/completions", json=payload) as response:
                self.has_answered = True
                body = await _body(response)
        except httpx.ConnectError as error:
            cause = self._access.redact(str(error)) or type(error).__name__
            problem = f"no server answers at {url} ({cause}); start it, or correct model.base_url"
            raise _FailedError(problem, ModelNotFoundError) from None
        except MalformedAnswerError as error:
            if response.status_code < 300:
                raise _FailedError(f"{url} answered {error}", ModelError, is_paid=True, is_odd=True) from None
            body = b""  # the status tells what to do
        except (httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError) as error:
            raise _FailedError(f"{url} did not answer ({type(error).__name__})", ModelNotFoundError, is_paid=True) from None
        except httpx.HTTPError as error:
            raise _FailedError(f"{url} did not answer ({type(error).__name__})", ModelNotFoundError) from None
        if response.status_code >= 300:
            self._refuse(response, body, "logprobs" in payload)
        try:
            return read_answer(self._access.clean(body))
        except MalformedAnswerError as error:
            raise _FailedError(f"{url} answered {self._access.redact(str(error))}", ModelError, is_paid=True, is_odd=True) from None

    def _refuse(self, response: httpx.Response, body: bytes, has_logprobs: bool) -> None:
        """Raise what a status of 300 or more means."""
        status, url = response.status_code, self._access.base_url
        message = self._access.redact(_error_message(body) or _printable(response.reason_phrase))[:300]
        wait = _retry_after(response.headers, body)
        if status < 400:
            raise ModelError(f"{url} redirects to {self._access.redact(response.headers.get('location', 'nowhere'))!r}; correct model.base_url")
        is_used_up = "insufficient_quota" in message or (wait is None and _USED_UP.search(message))
        if status == 402 or (status in (403, 429) and is_used_up):
            raise ModelError(f"{url} will not answer any more ({status}: {message}); see to the account, then run the same command again")
        if status == 403 and has_logprobs:
            raise RejectedError(f"{url} refused logprobs ({status}: {message})", "logprobs")
        if status in (401, 403):
            raise ModelError(f"{url} refused the key ({status}: {message}); set the variable that model.api_key_env names")
        if status == 404:
            advice = "an adapter that `grasper align` made is served as docs/models.md says"
            raise ModelNotFoundError(f"{url} knows no model '{self._model}' or no chat completions (404: {message}); {advice}")
        is_final = response.headers.get("x-should-retry") == "false" or (status == 500 and _TEMPLATE.search(message))
        if status in REPEATED and not is_final:
            raise _FailedError(f"the server {url} said {status} ({message})", ModelError, wait=wait, is_busy=status in BUSY)
        raise RejectedError(f"{url} rejected the request ({status}: {message})", message)


async def _body(response: httpx.Response) -> bytes:
    """The content, unpacked, of at most `MAX_ANSWER_BYTES`.

    Raises:
        MalformedAnswerError: It is longer, or packed in a way that was not asked for.
    """
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise MalformedAnswerError(f"with more than {MAX_ANSWER_BYTES >> 20} MiB")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("gzip", "deflate", "x-gzip"):
        unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            content = unpacked.decompress(bytes(raw), MAX_ANSWER_BYTES + 1)
        except zlib.error:
            raise MalformedAnswerError("with a damaged gzip stream") from None
        if not unpacked.eof:
            what = f"more than {MAX_ANSWER_BYTES >> 20} MiB when unpacked" if len(content) > MAX_ANSWER_BYTES else "a gzip stream that is cut off"
            raise MalformedAnswerError(f"with {what}")
        return content
    if encoding not in ("identity", ""):
        raise MalformedAnswerError(f"in the encoding {encoding[:20]!r}, which was not asked for")
    return bytes(raw)


def _spent(answer: Answer, expected: Spending, price: tuple[float, float]) -> Spending:
    """What an answer cost; where the server does not tell, what was expected."""
    tokens_in = expected.tokens_in if answer.tokens_in is None else answer.tokens_in
    tokens_out = expected.tokens_out if answer.tokens_out is None else answer.tokens_out
    return Spending(1, tokens_in, tokens_out, tokens_in * price[0] + tokens_out * price[1])


def _error_message(body: bytes) -> str:
    """What the server says about an error, on one line."""
    try:
        content = read_body(body)
    except MalformedAnswerError:
        text = body[:2000].decode("utf-8", "replace")
    else:
        if isinstance(content, list) and len(content) == 1:  # as Gemini packs it
            [content] = content
        error = content.get("error", content.get("detail", content)) if isinstance(content, dict) else content
        details = [str(error[name]) for name in ("code", "message") if error.get(name)] if isinstance(error, dict) else []
        text = ": ".join(details) or str(error)[:2000]
    return _printable(text)


def _printable(text: str) -> str:
    """The text on one line, without what a terminal would obey, or show in another order, rather than print."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _retry_after(headers: httpx.Headers, body: bytes) -> float | None:
    """Seconds that a busy server asks to wait, told in a header (seconds, milliseconds, a date) or in its words.

    None where it does not say, or nothing that makes sense.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        return max(parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(), 0.0)
    except (KeyError, ValueError, TypeError, OverflowError):  # the last one by a time zone of twenty digits
        asked = _ASKED_WAIT.search(body[:10_000].decode("utf-8", "replace"))
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in _DURATION.findall(asked[0])) if asked else None
