"""Sections of what is trained: alignment, preference rounds, pooled tuning."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from grasper.config.section import Section


class DpoConfig(Section):
    """Preference rounds on the notes of dual reasoning, after the warm start (PAT)."""

    rounds: int = Field(2, ge=0, description="Rounds at most; they stop where the held-out reward does not rise. 0: the warm start alone.")
    patience: int = Field(1, ge=1, description="Rounds without a better held-out reward before they stop.")
    num_notes: int = Field(6, ge=2, description="Notes sampled per pair and reasoner.")
    reward: Literal["drafts", "likelihood"] = Field(
        "drafts",
        description="What notes are judged by: drafts (mean `align.reward` of drafts with them, minus without), or likelihood (bits per byte of the "
        "real text or title that they save: no luck, but another scale, see `margin`). Ratings go by expectation in both.",
    )
    num_drafts: int = Field(4, ge=1, description="Drafts with the notes, and as many without, per differential reward (K). Not for likelihood.")
    temperature: float = Field(1.0, gt=0, description="Temperature of the sampled notes.")
    draft_temperature: float = Field(0.7, ge=0, description="Temperature of the drafts that judge them. Not for likelihood.")
    margin: float = Field(
        0.02,
        ge=0,
        description="How much more differential reward the chosen notes must have than the rejected ones (δ): points of `align.reward` for drafts; "
        "for likelihood bits per byte, where 0.005 is enough, as nothing is drawn.",
    )
    max_length_ratio: float = Field(1.5, ge=1, description="Most that the two sides of a pair may differ in words; METEOR rewards length.")
    beta: float = Field(0.1, gt=0, description="How strongly the reference holds the policy.")
    sft_weight: float = Field(0.2, ge=0, description="Weight of the likelihood of the chosen notes beside the preference; 0 leaves it out.")
    ld_alpha: float | None = Field(None, ge=0, le=1, description="Weight of what a side has beyond the shorter one's length; null: 1.")
    learning_rate: float = Field(1e-5, gt=0, description="AdamW's learning rate (the embedded model hardly moves below 1e-3).")
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs of a round.")
    batch_size: int = Field(4, ge=1, description="Pairs in a batch.")


class AlignConfig(Section):
    """Reasoning alignment: sampled paths → gold paths → LoRA adapter (GraSPer, Sec. 3.2; REST-PG, Sec. 3)."""

    num_pairs: int | None = Field(64, ge=0, description="Training pairs; null takes all reserved users, 0 aligns no method.")
    num_held_out: int = Field(32, ge=0, description="Held-out pairs for the evaluation loss and the rewards of the rounds.")
    num_samples: int = Field(4, ge=1, description="Paths and texts sampled per pair and source (m).")
    temperature: float | None = Field(0.7, ge=0, description="Sampling temperature; null: the model's own, for servers that take no other.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus of the sampling.")
    reward: str = Field("mean", description="What chooses the gold path: mean, rouge1, rougeL, meteor, judge, likelihood, or a registered one.")
    reward_threshold: float = Field(0.05, ge=-1, le=1, description="Pairs whose best reward is lower are hopeless: counted and left out.")
    top_n: int = Field(1, ge=1, description="Gold paths kept per pair.")
    plain: Literal["none", "hopeless", "all"] = Field("none", description="Pairs whose real text is also learned without a path.")
    consensus_samples: int = Field(
        0, ge=0, description="Local models: what is learned without a path is the choice among so many of the model's own texts; 0: the real ones."
    )
    gold_text: Literal["real", "sampled"] = Field("real", description="What is learned behind a gold path: the real text, or the sampled one.")
    review_pairs: bool = Field(True, description="Every fourth pair asks for a whole review; methods that predict no items leave it out.")
    path_weight: float = Field(1.0, ge=0, description="Weight of a gold path in the loss (GraSPer): 1 joint, 0 as printed in Eq. (9).")
    sources: tuple[Literal["analysed", "sampled", "hindsight"], ...] = Field(("analysed", "sampled"), description="Where paths come from.")
    rounds: int = Field(1, ge=1, description="EM rounds (REST-PG).")
    max_per_input: int = Field(10, ge=1, description="Samples kept per input in an E-step.")
    lora_rank: int = Field(8, ge=1, description="LoRA r.")
    lora_alpha: int = Field(32, ge=1, description="LoRA α.")
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="LoRA dropout.")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), description="Modules that get an adapter."
    )
    learning_rate: float = Field(2e-3, gt=0, description="AdamW's learning rate (5e-6 for an 8B model).")
    epochs: float = Field(2.0, gt=0, description="Passes over the pairs.")
    batch_size: int = Field(4, ge=1, description="Pairs in a batch.")
    log_to_trackio: bool = Field(False, description="Also log the training to trackio (extra `logging`).")
    dpo: DpoConfig = Field(default_factory=DpoConfig, description="Preference rounds (PAT).")
    exemplars: int = Field(2, ge=0, description="Gold paths shown as examples to a backbone that cannot be fine-tuned.")

    @model_validator(mode="before")
    @classmethod
    def _suit_likelihood(cls, values: Any) -> Any:
        """Rewarded by likelihood, gold are sampled paths that save something, unless it is said otherwise."""
        if isinstance(values, dict) and values.get("reward") == "likelihood":
            return {"sources": ("sampled",), "reward_threshold": 0.0, **values}
        return values

    @model_validator(mode="after")
    def _likelihood_looks_at_sampled_paths(self) -> AlignConfig:
        if self.reward == "likelihood" and self.sources != ("sampled",):
            found = ", ".join(self.sources)
            raise ValueError(f"reward=likelihood goes with sources=[sampled], got [{found}]: a path that saw the answer nearly always wins")
        return self


class TuneConfig(Section):
    """Pooled supervised tuning of a base model on the training split, in the prompts of all methods (docs/tune.md)."""

    rank: int = Field(16, ge=1, description="LoRA r.")
    alpha: int = Field(32, ge=1, description="LoRA α.")
    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), description="Modules that get an adapter."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Of the constant part of the schedule.")
    tokens: int = Field(2_000_000, ge=1, description="Tokens of prompts and answers until the learning rate is zero; a larger number goes on.")
    warmup_tokens: int = Field(80_000, ge=0, description="Tokens over which the learning rate rises.")
    decay_share: float = Field(0.2, ge=0, le=1, description="Last part of the tokens, over which the learning rate falls to zero.")
    step_tokens: int = Field(2048, ge=1, description="Tokens of one optimizer step, at least.")
    batch_tokens: int = Field(1024, ge=64, description="Tokens of one batch, padding included.")
    max_length: int = Field(1024, ge=64, description="Tokens at which an example is cut.")
    averaging: float = Field(0.99, ge=0, lt=1, description="Decay per step of the running mean of the weights, which is what is measured and kept.")
    checkpoint_minutes: float = Field(10.0, gt=0, description="Minutes between two checkpoints.")
    evaluation_tokens: int = Field(300_000, ge=1, description="Tokens between two measurements of the held-out losses.")
    workers: int = Field(1, ge=1, description="Batches worked on at once, each by its share of the cores; every one needs memory of its own.")
    drawers: int | None = Field(
        None, ge=0, description="Processes that draw examples ahead; 0: the training itself does. null: 0 on a processor, up to 12 beside a GPU."
    )
