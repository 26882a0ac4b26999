"""What a server of chat completions answers: texts, reasons, errors, and the weights of choices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import httpx
import numpy as np


def is_completion(answer: Any) -> bool:
    """Whether a server’s answer holds at least one choice."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return isinstance(choices, list) and bool(choices) and all(isinstance(choice, dict) for choice in choices)


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice; empty where it has none."""
    content = (choice.get("message") or {}).get("content")
    return content if isinstance(content, str) else ""


def without_prefix(text: str, prefix: str) -> str:
    """The continuation alone, whether or not the server repeated the beginning."""
    if not prefix:
        return text
    begun = text.lstrip()
    return begun.removeprefix(prefix.strip()) if begun.startswith(prefix.strip()) else text


def finish_reason(reason: Any) -> Literal["stop", "length", "error"]:
    """Why the answer ended; a server that does not tell has stopped."""
    if reason == "length":
        return "length"
    return "stop" if reason in ("stop", None) else "error"


def error_message(response: httpx.Response) -> str:
    """What the server says about an error, on one line."""
    try:
        body = response.json()
        error = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        text = response.text
    return " ".join(text.split())[:300] or response.reason_phrase


def retry_after(response: httpx.Response) -> float:
    """Seconds that a busy server asks to wait; 0 where it does not say."""
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def weights_from_logprobs(choice: dict[str, Any], choices: Sequence[str]) -> np.ndarray | None:
    """Probability of the first written token by choice, unnormalised; None where the server gives none or no choice is among the tokens."""
    for position in (choice.get("logprobs") or {}).get("content") or []:
        if not str(position.get("token", "")).strip():
            continue  # a space before the answer
        weights = np.zeros(len(choices))
        for candidate in position.get("top_logprobs") or [position]:
            token = str(candidate.get("token", "")).strip()
            named = [number for number, text in enumerate(choices) if token and text.strip().startswith(token)]
            exact = [number for number in named if choices[number].strip() == token]
            for number in exact or named:
                weights[number] += float(np.exp(candidate.get("logprob", -np.inf))) / len(exact or named)
        return weights if weights.sum() > 0 else None
    return None


def weights_from_text(text: str, choices: Sequence[str]) -> np.ndarray:
    """1 for the choice that stands first in the text, the longest where several begin there; equal weights if none does."""
    places = [
        (match.start(), -len(choice), number)
        for number, choice in enumerate(choices)
        if (match := re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", text))
    ]
    if not places:
        return np.ones(len(choices))
    return np.eye(len(choices))[min(places)[2]]
