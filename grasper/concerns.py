"""What a person should hear about a finished step, from the counts of its manifest: shares of its answers that could not be used, and training that
came to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WORTH_TELLING = 0.05
"""Smaller shares stand in the manifest alone."""
_UNUSABLE = ("unparsable", "empty")


def concerns(counts: Mapping[str, Any]) -> list[str]:
    """One sentence for each share above 5 %, for preference rounds without pairs and for weights that were not learned, from a stage's counts."""
    return list(_concerns(counts, ""))


def _concerns(counts: Mapping[str, Any], where: str) -> Iterator[str]:
    if "unparsed" in counts:
        total = counts.get("requests", counts.get("traces", 0))
        yield from _tell(counts["unparsed"], total, f"answers{where} lack the lines that were asked for; what is read from them is a guess")
    if isinstance(rejected := counts.get("rejected"), Mapping):
        unusable = sum(rejected.get(reason, 0) for reason in _UNUSABLE)
        yield from _tell(unusable, counts.get("written", 0), f"synthetic reviews{where} could not be read and are not shown")
    if isinstance(traces := counts.get("traces"), Mapping):
        yield from _concerns(traces, f" of sampled paths{where}")
    if isinstance(context := counts.get("context"), Mapping):
        yield from _concerns(context, " of training pairs")
    if counts.get("weights") == "prior":
        yield "too few users have an item to withhold, so no signal's weight was learned: popularity decides"
    if counts.get("preference_rounds") == 0:
        yield f"nothing was learned from preferences, the warm start writes: {counts.get('stopped', 'there were no rounds')}"
    for number, entry in enumerate(counts.get("rounds", ())):
        yield from _concerns(entry, f" in round {number}")


def _tell(count: int, total: int, what: str) -> Iterator[str]:
    if total and count > WORTH_TELLING * total:
        yield f"{count} of {total} {what} ({100 * count / total:.0f} %)"
