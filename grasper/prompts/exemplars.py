"""Where a prompt's exemplars come from: the protocol that lets the writing stages use what the alignment found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from grasper.prompts.render import Exemplar
from grasper.prompts.templates import AnswerTask
from grasper.records import Request


class ExemplarSource(Protocol):
    """Solved requests that resemble a new one."""

    def nearest(self, request: Request, task: AnswerTask) -> Sequence[Exemplar]:
        """The most similar ones, best first; `task` is `review` where a whole review of a predicted item is written."""
        ...
