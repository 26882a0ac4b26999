"""Servers of chat completions on loopback: one that answers as it is told, and every odd answer that was ever met.

`FAULTS` holds the odd ones by name. Each is what a whole HTTP answer may be, so that a soak may mix them at random; the server counts requests.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Reply:
    """A whole answer: `body` is sent as it is if it is bytes or text, else as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Close the connection after so many bytes of the body."""
    drip_seconds: float = 0.0
    """Pause before each byte."""

    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Answer = Reply | tuple[int, Any]


def completion(*texts: Any, usage: Any = None, **extra: Any) -> Body:
    """The body of a chat completion; a text may be any content, `extra` joins every choice."""
    choices = [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **extra} for text in texts]
    return {"choices": choices, "usage": {"prompt_tokens": 11, "completion_tokens": 3 * len(texts)} if usage is None else usage}


def chat(*texts: Any, usage: Any = None, **extra: Any) -> Answer:
    """A successful chat completion."""
    return 200, completion(*texts, usage=usage, **extra)


def refusal(message: str, status: int = 400, **headers: str) -> Reply:
    """A refusal in the words of a server."""
    return Reply(status, {"error": {"message": message}}, headers)


TEXT = "Style: short\nInterests: quiet\nPlan: praise\nTitle: Lovely stay\nText: A lovely quiet place, {number}.\nRating: 4"


def write_reviews(body: Body, number: int) -> Answer:
    """A model that answers every task, with the tokens that its prompts really take by the same estimate as grasper's."""
    length = sum(len(message["content"].encode()) for message in body["messages"])
    extra: dict[str, Any] = {}
    if body.get("logprobs"):
        extra = {"logprobs": {"content": [{"token": "4", "logprob": -0.1}]}}
    text = "4" if extra else TEXT.format(number=number)
    return 200, completion(*[text] * body.get("n", 1), usage={"prompt_tokens": int(length / 3.5), "completion_tokens": 40}, **extra)


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128
    """Connections that wait to be taken up. The library's five are fewer than a test's threads may open at once, and the system resets the others."""


class Server:
    """Speaks the protocol; `respond` decides, given the request's body and its number from 0."""

    def __init__(self, respond: Callable[[Body, int], Answer] = lambda body, number: chat("hello")) -> None:
        self.respond = respond
        self.requests: list[Body] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.barrier: threading.Barrier | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._http = _Listener(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.keys.append(handler.headers.get("Authorization"))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        if self.barrier:
            self.barrier.wait(5)
        answer = self.respond(body, number) if handler.path == "/v1/chat/completions" else Reply(404, {})
        reply = answer if isinstance(answer, Reply) else Reply(*answer)
        with self._lock:
            self._at_once -= 1
        with suppress(OSError):  # the client has gone
            self._send(handler, reply)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        content = reply.content()
        handler.send_response(reply.status)
        for name, value in ({"Content-Length": str(len(content))} | reply.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if reply.drip_seconds:
            for byte in content:
                handler.wfile.write(bytes([byte]))
                time.sleep(reply.drip_seconds)
        else:
            handler.wfile.write(content[: reply.cut_at])
        if reply.cut_at is not None:
            handler.close_connection = True

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving(respond: Callable[[Body, int], Answer] | None = None) -> Iterator[Server]:
    """A server within the block."""
    server = Server(respond) if respond else Server()
    try:
        yield server
    finally:
        server.close()


def dead_port() -> int:
    """A port that nobody listens at."""
    with serving() as server:
        return server.port


def _with(**changes: Any) -> Body:
    """A completion that says "fine" with some fields replaced."""
    return completion("fine") | changes


def _deep(depth: int = 100_000) -> str:
    return '{"choices":' + "[" * depth + "]" * depth + "}"


HARMLESS: dict[str, Reply] = {
    "usage a list": Reply(body=_with(usage=[1, 2])),
    "usage null": Reply(body=_with(usage=None)),
    "usage NaN": Reply(body='{"choices":[{"message":{"content":"fine"}}],"usage":{"prompt_tokens":NaN,"completion_tokens":Infinity}}'),
    "usage negative": Reply(body=_with(usage={"prompt_tokens": -5, "completion_tokens": -1})),
    "usage absurd": Reply(body=_with(usage={"prompt_tokens": 10**30, "completion_tokens": True})),
    "usage a text": Reply(body=_with(usage={"prompt_tokens": "11", "completion_tokens_details": 7})),
    "logprobs a list": Reply(body=completion("fine", logprobs=[1])),
    "logprobs null": Reply(body=completion("fine", logprobs=None)),
    "logprobs nonsense": Reply(body=completion("fine", logprobs={"content": [{"token": 5, "top_logprobs": "x"}, 3]})),
    "top_logprobs a number": Reply(body=completion("fine", logprobs={"content": [{"token": "fine", "logprob": -1, "top_logprobs": 5}]})),
    "a logprob of 400 digits": Reply(body=completion("fine", logprobs={"content": [{"token": "fine", "logprob": -(10**400)}]})),
    "content in parts": Reply(body=completion([{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}, {"type": "image_url"}])),
    "parts with a thought": Reply(
        body=completion([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "fine"}])
    ),
    "finish reason a number": Reply(body=completion("fine", finish_reason=7)),
    "unknown fields": Reply(body=_with(object="x", extra={"deep": [None]})),
    "gzip": Reply(body=gzip.compress(json.dumps(completion("fine")).encode()), headers={"Content-Encoding": "gzip"}),
}
"""Odd answers that hold a completion all the same; every one says "fine"."""

FAULTS: dict[str, Reply] = {
    "message a text": Reply(body={"choices": [{"message": "fine"}]}),
    "message null": Reply(body={"choices": [{"message": None}]}),
    "content a number": Reply(body=completion(7)),
    "choices empty": Reply(body={"choices": []}),
    "choices of texts": Reply(body={"choices": ["fine"]}),
    "no choices": Reply(body={"object": "list"}),
    "a list": Reply(body=[1]),
    "null": Reply(body="null"),
    "an error with status 200": Reply(body={"error": {"message": "upstream died", "code": 502}}),
    "deep nesting": Reply(body=_deep()),
    "a number of 5,000 digits": Reply(body='{"choices":' + "9" * 5000 + "}"),
    "web page": Reply(body="<!DOCTYPE html><html><body>Welcome to nginx</body></html>", headers={"Content-Type": "text/html"}),
    "no JSON": Reply(body="Bad gateway"),
    "nothing": Reply(body=b""),
    "invalid UTF-8": Reply(body=b'{"choices":[{"message":{"content":"\xff\xfe"}}]}'),
    "cut off": Reply(body=completion("fine"), cut_at=30),
    "broken gzip": Reply(body=b"\x1f\x8b\x08 this is none", headers={"Content-Encoding": "gzip"}),
    "cut gzip": Reply(body=gzip.compress(json.dumps(completion("fine")).encode())[:-12], headers={"Content-Encoding": "gzip"}),
    "gzip bomb": Reply(body=gzip.compress(b" " * 40_000_000), headers={"Content-Encoding": "gzip"}),
    "unknown encoding": Reply(body=completion("fine"), headers={"Content-Encoding": "br"}),
    "10 MB": Reply(body=completion("x" * 10_000_000)),
    "busy": Reply(503, "busy"),
    "too many requests": Reply(429, {"error": "slow down"}),
    "overloaded": Reply(529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "server error": Reply(500, "<html>Internal server error</html>"),
    "web server down": Reply(521, "<html>Web server is down</html>"),
}
"""Answers that hold no completion, and may be followed by one."""

EMPTY: dict[str, Reply] = {
    "content null": Reply(body=completion(None)),
    "content empty": Reply(body=completion("")),
    "content of spaces": Reply(body=completion(" \n")),
    "parts empty": Reply(body=completion([])),
    "thought alone": Reply(body={"choices": [{"message": {"content": None, "reasoning_content": "hm, 1 to 5"}, "finish_reason": "length"}]}),
    "thought cut off": Reply(body=completion("<think>The user wants 1 to 5", finish_reason="length")),
    "filtered": Reply(body=completion(None, finish_reason="content_filter")),
    "filtered prompt": refusal("The response was filtered due to the prompt triggering the content management policy (content_filter)"),
}
"""Answers without a text."""

FINAL: dict[str, Reply] = {
    "key refused": refusal("Incorrect API key provided", 401),
    "key refused in an unknown encoding": Reply(401, {"error": "no"}, {"Content-Encoding": "br"}),
    "forbidden": refusal("no access", 403),
    "payment": refusal("Insufficient balance", 402),
    "quota": Reply(429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}),
    "unknown model": refusal("no such model", 404),
    "context": refusal("context too long"),
    "redirect": Reply(307, b"", {"Location": "https://elsewhere.example/"}),
}
"""Refusals that no repetition changes."""
