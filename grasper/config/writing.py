"""Sections of the stages that write and judge: synthesize, generate, evaluate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grasper.config.section import Section


class SynthesizeConfig(Section):
    """Candidates + aligned model → synthetic reviews."""

    num_items: int = Field(3, ge=0, description="Predicted items that get a text.")
    min_score: float = Field(0.0, ge=0, le=1, description="Items predicted with a lower score get none.")
    temperature: float | None = Field(0.7, ge=0, description="Sampling temperature; null: the model's own, for servers that take no other.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus of the sampling.")
    min_words: int = Field(3, ge=0, description="Shorter texts are rejected.")
    max_words: int = Field(200, ge=1, description="Longer texts are rejected.")
    max_copied_share: float = Field(0.5, ge=0, le=1, description="Texts with a larger share of 8-grams from the prompt are rejected.")


class GenerateConfig(Section):
    """Real + synthetic history → the target text."""

    temperature: float | None = Field(0.4, ge=0, description="Sampling temperature; null: the model's own, for servers that take no other.")
    path_temperature: float | None = Field(None, ge=0, description="Temperature of reasoning paths, drawn before the answer; null: the same.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus of the sampling.")
    consensus_samples: int = Field(1, ge=1, description="Samples per request; above 1 the minimum-Bayes-risk choice is kept.")
    counted_path: bool = Field(
        False, description="Style and interests are counted from the evidence and put before the plan, and the plan's guess of a length is taken out."
    )
    pooled_paths: int = Field(
        0, ge=0, description="Local models: an answer is written behind so many paths at once, by the pool of their distributions; 0: behind one."
    )
    neighbour_sets: int = Field(
        1, ge=1, description="Local models, methods that pool them: and behind so many sets of `prompts.neighbour_entries` neighbours at once."
    )
    plain_weight: float = Field(0.5, ge=0, le=1, description="Weight in that pool of the real reviews alone: no path, no synthetic reviews.")
    least_length: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Local models: no text ends before this share of the usual length of its evidence (without any: of training reviews), or of "
        "its plan's length where that is longer.",
    )
    kept_draft: Literal["last", "agreed"] = Field(
        "last", description="PAT: which of its drafts is the answer, the last or the one that agrees most with the others and with the evidence."
    )
    rating: Literal["expectation", "median", "argmax"] = Field("median", description="How digit probabilities become a rating.")


class EvaluateConfig(Section):
    """Outputs → numbers and the report."""

    bootstrap_samples: int = Field(1000, ge=100, description="Resamples of the intervals.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
    baseline: str = Field("pgraphrag", description="Method that the paired comparison is made against.")
    extra_metrics: tuple[str, ...] = Field((), description="Metrics besides the usual ones, for example bleu, chrf, bertscore.")
    report_examples: int = Field(20, ge=0, description="Examples in the report's browser.")
