"""Sections of the language model and of its prompts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from grasper.config.section import Section
from grasper.login import without_login


class ModelConfig(Section):
    """The language model."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may hold a key

    kind: Literal["local", "endpoint", "scripted"] = Field("local", description="Which door.")
    name: str = Field("nano", description="`nano`, a Hub id, a path, or the endpoint's model name.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:1` …")
    batch_tokens: int | None = Field(
        None,
        ge=64,
        description="Most tokens (prompt and answer, padded) in one generation batch; null: on processors 32,768, or what a "
        "quarter of the free memory holds if that is less; on a GPU what half of its free memory holds.",
    )
    context_tokens: int | None = Field(None, ge=64, description="Context length; null reads it from the model.")
    no_repeat_tokens: int = Field(4, ge=0, description="Local models: no line of an answer holds the same run of so many tokens twice; 0 allows it.")
    base_url: str | None = Field(None, description="Address of an OpenAI-compatible server, for example http://localhost:8000/v1.")
    api_key_env: str = Field("OPENAI_API_KEY", description="Environment variable that holds the endpoint's key.")
    concurrency: int = Field(8, ge=1, description="Requests under way at once at an endpoint.")
    deadline_seconds: float = Field(600.0, gt=0, description="Longest time for one answer of an endpoint, with all repeating and waiting.")
    thinking_tokens: int = Field(2048, ge=0, description="Further tokens allowed for an answer once the endpoint's model is found to think.")
    rating_samples: int = Field(5, ge=1, description="Ratings sampled for one, where an endpoint gives no log-probabilities.")
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="Further fields of every request to an endpoint, such as {chat_template_kwargs: {enable_thinking: false}}; "
        "of these, local models take chat_template_kwargs.",
    )
    price_in: float | None = Field(None, ge=0, description="Price of a million tokens of prompts, in any currency.")
    price_out: float | None = Field(None, ge=0, description="Price of a million tokens of answers, in the same currency.")
    trained: str | None = Field(None, description="Endpoints: the Hub id or path of the model that `align` trains; null trains none.")
    served_adapter: str = Field("{method}", description="Name under which the server holds an adapter of `trained`; `{method}` is the method's.")

    @field_validator("base_url")
    @classmethod
    def _take_secrets_out(cls, value: str | None) -> str | None:
        plain = None if value is None else without_login(value)  # kept in memory; see there
        if plain and any(mark in plain for mark in "?#"):
            raise ValueError("an address ends with its path, without ? or #; a key belongs in the environment variable that model.api_key_env names")
        return plain

    @property
    def template_settings(self) -> dict[str, Any]:
        """What a local model's chat template is told."""
        given = self.extra.get("chat_template_kwargs")
        return dict(given) if isinstance(given, dict) else {}

    def for_training(self) -> ModelConfig:
        """The model that `align` trains: this one, or for an endpoint the local one that its server serves."""
        return self.model_copy(update={"kind": "local", "name": self.trained, "base_url": None}) if self.kind == "endpoint" and self.trained else self

    @property
    def has_weights(self) -> bool:
        """Whether `align` can train it, or the local model that its server serves."""
        return self.for_training().kind == "local"

    def for_adapter(self, method: str) -> ModelConfig:
        """The endpoint's model with the adapter of a method, under the name that the server holds it by; any other is this one."""
        return self.model_copy(update={"name": self.served_adapter.replace("{method}", method)}) if self.kind == "endpoint" and self.trained else self


class PromptConfig(Section):
    """What a prompt shows, in tokens of the model."""

    context_tokens: int = Field(1024, ge=256, description="Prompt plus answer.")
    own_entries: int = Field(4, ge=0, description="Own reviews shown at most.")
    neighbour_entries: int = Field(4, ge=0, description="Neighbours' reviews shown at most.")
    predicted_entries: int = Field(3, ge=0, description="Synthetic reviews shown at most.")
    own_tokens: int = Field(96, ge=8, description="Tokens of one own review.")
    neighbour_tokens: int = Field(96, ge=8, description="Tokens of one neighbour's review.")
    predicted_tokens: int = Field(64, ge=8, description="Tokens of one synthetic review.")
    path_tokens: int = Field(64, ge=8, description="Tokens of a reasoning path.")
    answer_tokens: int = Field(160, ge=8, description="Tokens of the answer.")
    given_tokens: int = Field(256, ge=8, description="Tokens of the given text (tasks title and rating).")
    ranker: Literal["bm25", "embedding", "recency"] = Field("bm25", description="How own reviews and neighbours are ranked.")
    item_name: bool = Field(
        True, description="Whether prompts name the item (PGraphRAG's do not); always where a review has no title to be asked by."
    )
