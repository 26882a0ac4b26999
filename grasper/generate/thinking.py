"""What a method thinks before it answers: its paths, and the pool of prompts that the answer is written behind.

Three things that a small model does badly are taken from it. What can be counted is counted (`generate.counted_path`): the style and the interests
that the evidence shows are put before its plan as `reason.analyse` finds them, and the plan's length, which it guesses (the commonest one, nearly
always), is taken out again. So they stand in the analysed paths that it learned from, but not in sampled and hindsight ones, which are whole and its
own. No path is trusted alone (`generate.pooled_paths`): analysed plans knew the answer, and sampled gold ones were chosen by it; those of a request
are neither, but the model follows them as if they were. So an answer is written behind several paths and the bare evidence at once
(`models.pooling`), and what a plan makes unlikely stays possible. Nor does it read a long prompt well: twice the neighbours in one prompt tell it
nothing more, in two prompts they do (`generate.neighbour_sets`).

Whatever the model made up itself, paths and synthetic reviews, stands in prompts of its own; those of real reviews alone weigh
`generate.plain_weight`.

Ours, not of a paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from grasper.config import GenerateConfig
from grasper.desk import Desk
from grasper.models.base import Completion, Pool, Prompt
from grasper.prompts.render import after_path
from grasper.reason.analyse import analyse, without_length
from grasper.reason.format import parse_path
from grasper.records import Profile, Request

LEAST_PLAN_TOKENS = 24
"""Tokens that a plan may have, however long the counted lines before it are."""


@dataclass(frozen=True)
class Thinking:
    """Thinks at the desk of one method."""

    desk: Desk
    config: GenerateConfig

    @property
    def is_apart(self) -> bool:
        """Whether paths are written before their answers, and not in one go with them."""
        config = self.config
        return config.path_temperature is not None or config.counted_path or self.is_pooled

    @property
    def is_pooled(self) -> bool:
        """Whether an answer is written behind several prompts at once; models behind an endpoint cannot do it."""
        pools_paths = self.desk.method.reasoning and self.config.pooled_paths > 0
        return self.num_sets > 1 or (pools_paths and self._can_pool)

    @property
    def num_paths(self) -> int:
        """Paths of a request: as many as are pooled, at least one, or one for each sample of an answer."""
        return max(self.config.pooled_paths, 1) if self.is_pooled else self.config.consensus_samples

    @property
    def num_sets(self) -> int:
        """Sets of neighbours that an answer is written behind, where there are enough of them."""
        return self.config.neighbour_sets if self.desk.method.pools_neighbours and self._can_pool else 1

    @property
    def _can_pool(self) -> bool:
        return getattr(self.desk.model, "can_pool", False)

    def think(
        self, requests: Sequence[Request], profiles: Sequence[Profile], prompts: Sequence[Prompt], seeds: Sequence[int], count: int
    ) -> list[list[Completion]]:
        """`count` paths for each prompt: completions whose text is the lines of a path, or empty where the model wrote no whole one."""
        config, room = self.config, self.desk.prompts.path_tokens
        temperature = config.temperature if config.path_temperature is None else config.path_temperature
        begun = [_counted_lines(*parts) if config.counted_path else "" for parts in zip(requests, profiles, strict=True)]
        most = [max(LEAST_PLAN_TOKENS, room - self.desk.model.count_tokens(lines)) if lines else room for lines in begun]
        asked = [replace(prompt, prefix=lines) for prompt, lines in zip(prompts, begun, strict=True)]
        found = self.desk.complete(asked, seeds, n=count, temperature=temperature, top_p=config.top_p, max_new_tokens=most)
        return [[replace(one, text=_path(lines, one.text)) for one in group] for lines, group in zip(begun, found, strict=True)]

    def pool(self, request: Request, profile: Profile, prompt: Prompt, paths: Sequence[str]) -> Pool:
        """What an answer is written behind, up to its label: the prompt with one of its paths, or where prompts are pooled with all of them, and by
        `generate.plain_weight` the real reviews alone, in a prompt for each set of neighbours.

        Equal paths are one with more weight. Empty ones, which the model did not write, count as the prompt as it is; where prompts are pooled as one
        that asks for no path, or, if that showed real reviews alone, as those that do.
        """
        shares = {path: count / max(len(paths), 1) for path, count in Counter(paths or [""]).items()}
        if not self.is_pooled:
            return Pool(tuple(after_path(prompt, path, request.task) for path in shares), tuple(shares.values()), is_mixture=True)
        made_up, plain = 1 - self.config.plain_weight, self.config.plain_weight
        if not profile.predicted:
            plain += made_up * shares.pop("", 0.0)
        real = [replace(profile, predicted=(), neighbours=shown) for shown in (profile.neighbours, *profile.further)]
        members: list[tuple[Prompt, str, float]] = [(self.desk.prompt(request, shown, reasoning=False), "", plain / len(real)) for shown in real]
        for path, share in shares.items():
            members.append((prompt if path else self.desk.prompt(request, profile, reasoning=False), path, made_up * share))
        asked, paths, weights = zip(*(member for member in members if member[2]), strict=True)
        return Pool(tuple(after_path(one, path, request.task) for one, path in zip(asked, paths, strict=True)), weights)


def _counted_lines(request: Request, profile: Profile) -> str:
    """The lines of the path that need no guess, up to the label of the plan."""
    return analyse(request, profile).render_before_plan()


def _path(begun: str, written: str) -> str:
    """The path, without whatever answer follows it; where its first lines were counted, without the length that its plan names. Empty where a line
    is missing or says nothing."""
    path = parse_path(begun + written)
    if path is None or not path.is_whole:
        return ""
    return (replace(path, plan=without_length(path.plan)) if begun else path).render()
