"""One pydantic model per stage. Order of precedence: field default < YAML < `--set section.key=value`; unknown keys are errors."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from grasper.errors import ConfigError
from grasper.records import TASKS, Split, Task
from grasper.registry import nearest_first
from grasper.settings import apply_override, expand_home, read_yaml
from grasper.shipped import find_settings, lay_over


class Section(BaseModel):
    """A frozen part of the configuration that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """Paths may start with `~`, wherever they are written."""
        if isinstance(value, tuple):
            return tuple(expand_home(entry) if isinstance(entry, Path) else entry for entry in value)
        return expand_home(value) if isinstance(value, Path) else value


class ColumnMapping(Section):
    """Which column of a user's own table holds which field."""

    user_id: str = Field("user_id", description="Column with the user's id.")
    item_id: str = Field("item_id", description="Column with the item's id.")
    text: str = Field("text", description="Column with the review text.")
    title: str | None = Field("title", description="Column with the title; null if there is none.")
    rating: str | None = Field("rating", description="Column with the rating; null if there is none.")
    timestamp: str | None = Field("timestamp", description="Column with Unix seconds or ISO dates; null if there is none.")
    name: str | None = Field(None, description="Column with the item's name; null if there is none.")
    category: str | None = Field(None, description="Column with the item's category; null if there is none.")
    brand: str | None = Field(None, description="Column with the item's brand; null if there is none.")


class ItemMapping(Section):
    """Which column of a table of items holds which field."""

    item_id: str = Field("item_id", description="Column with the item's id, as the reviews name it.")
    name: str | None = Field(None, description="Column with the item's name; null if there is none.")
    category: str | None = Field(None, description="Column with the item's category; null if there is none.")
    brand: str | None = Field(None, description="Column with the item's brand; null if there is none.")


class ItemTable(Section):
    """A user's own table of what is known of the items."""

    data: Path = Field(description="File with the items (relative to the reviews).")
    columns: ItemMapping = Field(default_factory=ItemMapping, description="Column mapping of that file.")
    encoding: str | None = Field(None, description="Of that file, as prepare.encoding.")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Of that file, as prepare.delimiter.")


class PrepareConfig(Section):
    """Raw files → reviews, items, examples."""

    source: str = Field("harbour", description="Layout of the data, a name of `grasper data list`.")
    data: Path | None = Field(None, description="Folder or file with the data, a Hub id (source `hub`); null for the bundled data set.")
    name: str = Field("harbour", min_length=1, max_length=100, description="Name of the data set in results; the file prefix of PGraphRAG's JSON.")
    train: tuple[Path, ...] = Field((), description="Further files or folders whose rows join the training pool (relative to `data`).")
    language: str = Field("en", description="Language of the reviews, ISO 639-1.")
    columns: ColumnMapping = Field(default_factory=ColumnMapping, description="Column mapping of a user's own table.")
    items: ItemTable | None = Field(None, description="A further table with names, categories and brands of the items (source `table`).")
    split: Literal["given", "last-out", "users", "none"] = Field(
        "given", description="Benchmark splits; leave-last-out by time; users held out; none trains on all reviews and asks for nothing."
    )
    dev_share: float = Field(0.2, gt=0, lt=1, description="Share of users in dev (split: users), and again in test.")
    history_limit: int | None = Field(None, ge=0, description="Keep at most this many reviews of each user's history, the most recent ones.")
    pooled_user_limit: int = Field(
        50, ge=0, description="Training reviews kept of one user name; names like 'A Traveler' pool many people. 0 drops such users."
    )
    rating_scale: int = Field(5, ge=1, description="Highest rating in the source; ratings are mapped to 1–5.")
    rating_lowest: int = Field(1, description="Lowest rating in the source, for example 0.")
    rating_fractions: bool = Field(False, description="Accept ratings between whole numbers, such as 3.5; they are rounded, halves up.")
    rating_in_words: bool = Field(False, description="Ratings are words around one number, such as '4 stars' or '4/5', or stars (★★★★☆).")
    invalid_rating: Literal["error", "null"] = Field("error", description="What to do with a rating that is not on the scale; null keeps the review.")
    encoding: str | None = Field(None, description="Of text files, for example cp1252; null: UTF-8, or what a byte order mark says.")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Of CSV files; null: a tab in .tsv, else a comma.")
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of numbers in text.")
    date_formats: tuple[str, ...] = Field((), description="strptime formats tried in order on dates that are not ISO 8601, for example %d.%m.%Y.")
    invalid_timestamp: Literal["error", "null"] = Field("error", description="What to do with a date that cannot be read; null keeps the review.")
    invalid_rows: Literal["error", "skip"] = Field("error", description="Lines that are broken, of another number of cells, or not in the encoding.")
    timestamp_unit: Literal["s", "ms", "us"] = Field("s", description="Unit of numeric timestamps since 1970.")
    strip_html: bool = Field(False, description="Take tags off texts and titles, and read entities such as &amp;.")
    query: str | None = Field(None, description="SQL that selects the reviews (source `sql`), columns as in `columns`.")
    database_env: str = Field("DATABASE_URL", description="Environment variable with the SQLAlchemy URL of the database (source `sql`).")
    max_text_characters: int = Field(100_000, ge=1, description="Longer texts are cut, and counted.")
    max_name_characters: int = Field(1_000, ge=1, description="Longer titles, item names, categories and brands are cut; longer ids are refused.")
    max_line_mib: int = Field(64, ge=1, description="Longer lines of text files are refused (MiB).")
    max_unpacked_ratio: int = Field(200, ge=1, description="Compressed files that unpack to more than so many times their size are refused.")
    memory_mib: int = Field(768, ge=128, description="What joining and sorting may hold in memory before it goes to disk (MiB).")

    @model_serializer(mode="wrap")
    def _without_absent_items(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Folders that were made before there were tables of items keep their key."""
        return {key: value for key, value in dump(self).items() if key != "items" or value is not None}

    @property
    def is_bundled(self) -> bool:
        """Whether the data set is the bundled one itself, and no file in its layout."""
        return self.source == "harbour" and self.data is None

    @field_validator("invalid_rating", "invalid_timestamp", mode="before")
    @classmethod
    def _take_null_by_its_name(cls, value: object) -> object:
        return "null" if value is None else value  # YAML reads a bare null as nothing

    @field_validator("split", mode="before")
    @classmethod
    def _take_none_by_its_name(cls, value: object) -> object:
        return "none" if value is None else value

    @field_validator("name")
    @classmethod
    def _must_name_a_folder(cls, value: str) -> str:
        if value.strip() != value or value.startswith(".") or any(letter in "/\\:" or not letter.isprintable() for letter in value):
            raise ValueError("a data set's name is also a folder's: no / \\ : or control characters, no dot at the start, no outer spaces")
        return value

    @field_validator("encoding")
    @classmethod
    def _must_be_known(cls, value: str | None) -> str | None:
        try:
            return value if value is None else codecs.lookup(value).name
        except LookupError:
            raise ValueError("unknown encoding; known are utf-8, cp1252, latin-1, utf-16 and the others of Python") from None

    @model_validator(mode="after")
    def _scale_must_rise(self) -> PrepareConfig:
        if self.rating_lowest >= self.rating_scale:
            raise ValueError(f"rating_lowest {self.rating_lowest} is not below rating_scale {self.rating_scale}")
        return self


class PredictConfig(Section):
    """Link prediction: reviews → likely next items."""

    encoder: str = Field("hybrid", description="Item predictor: hybrid, lightgcn, sage, popularity, itemknn, ease, similarity, or a plugin's.")
    embedding_dim: int = Field(64, gt=0, description="Width of user and item embeddings.")
    num_layers: int = Field(2, ge=1, description="Propagation layers.")
    text_dim: int = Field(128, gt=0, description="Width of the text features after SVD.")
    text_encoder: str = Field("tfidf", description="`tfidf`, or a sentence-transformers id or path (extra `embeddings`).")
    learning_rate: float = Field(0.03, gt=0, description="Adam's learning rate.")
    weight_decay: float = Field(1e-6, ge=0, description="Adam's weight decay.")
    max_epochs: int = Field(30, ge=1, description="Upper bound; training stops early on validation edges.")
    patience: int = Field(3, ge=1, description="Epochs without a better validation NDCG@10 before training stops.")
    batch_size: int = Field(2048, ge=1, description="Edges in a batch.")
    top_k: int = Field(10, ge=1, description="Predicted items kept per example.")
    eras: int = Field(8, ge=1, description="Splits by time: stretches of time for which it is fitted anew, each on what was known when it began.")

    @field_validator("encoder")
    @classmethod
    def _require_known_encoder(cls, value: str) -> str:
        from grasper.predict.doors import ENCODERS

        ENCODERS.get(value)
        return value


class ModelConfig(Section):
    """The language model."""

    kind: Literal["local", "endpoint", "scripted"] = Field("local", description="Which door.")
    name: str = Field("nano", description="`nano`, a Hub id, a path, or the endpoint's model name.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:1` …")
    batch_tokens: int | None = Field(
        None,
        ge=64,
        description="Most tokens (prompt and answer, padded) in one generation batch; null: 32,768, and on a GPU what half of its free memory holds.",
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
    def _take_login_out(cls, value: str | None) -> str | None:
        from grasper.models.login import without_login

        return None if value is None else without_login(value)  # kept in memory; see there

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
    item_name: bool = Field(True, description="Whether prompts name the item; PGraphRAG does so only where a review has no title.")


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

    num_pairs: int | None = Field(64, ge=1, description="Training pairs; null takes all reserved users.")
    num_held_out: int = Field(32, ge=0, description="Held-out pairs for the evaluation loss and the rewards of the rounds.")
    num_samples: int = Field(4, ge=1, description="Paths and texts sampled per pair and source (m).")
    temperature: float | None = Field(0.7, ge=0, description="Sampling temperature; null: the model's own, for servers that take no other.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus of the sampling.")
    reward: str = Field("mean", description="What chooses the gold path: mean, rouge1, rougeL, meteor, judge, likelihood, or a registered one.")
    reward_threshold: float = Field(0.05, ge=-1, le=1, description="Pairs whose best reward is lower are hopeless: counted and left out.")
    top_n: int = Field(1, ge=1, description="Gold paths kept per pair.")
    plain: Literal["none", "hopeless", "all"] = Field("none", description="Pairs whose real text is also learned without a path.")
    gold_text: Literal["real", "sampled"] = Field("real", description="What is learned behind a gold path: the real text, or the sampled one.")
    review_pairs: bool = Field(True, description="Also align on whole reviews, as synthesis asks for them, where a method predicts items.")
    path_weight: float = Field(1.0, ge=0, description="Weight of the path in the loss: 1 joint, 0 as printed in Eq. (9).")
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
    plain_weight: float = Field(0.5, ge=0, le=1, description="Weight in that pool of the same prompt without a path.")
    least_length: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Local models: no text ends before this share of its evidence's usual length, or of its plan's where that is longer.",
    )
    rating: Literal["expectation", "median", "argmax"] = Field("median", description="How digit probabilities become a rating.")


class EvaluateConfig(Section):
    """Outputs → numbers and the report."""

    bootstrap_samples: int = Field(1000, ge=100, description="Resamples of the intervals.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Coverage of the intervals.")
    baseline: str = Field("pgraphrag", description="Method that the paired comparison is made against.")
    extra_metrics: tuple[str, ...] = Field((), description="Metrics besides the usual ones, for example bleu, chrf, bertscore.")
    report_examples: int = Field(20, ge=0, description="Examples in the report's browser.")


MIN_EXEMPLAR_PAIRS = 8
"""Pairs that exemplars are chosen from, however few texts are written."""


class Config(Section):
    """A whole run."""

    seed: int = Field(0, ge=0, description="The one seed; every stage derives its own from it.")
    split: Split = Field("dev-a", description="Which targets are written.")
    limit: int | None = Field(None, ge=1, description="At most this many targets, the same ones for every method.")
    tasks: tuple[Task, ...] = Field(TASKS, description="Which tasks are asked.")
    methods: tuple[str, ...] = Field(("none", "copy", "lamp", "pgraphrag", "rest_pg", "grasper"), description="Which systems are compared.")
    prepare: PrepareConfig = Field(default_factory=PrepareConfig)
    predict: PredictConfig = Field(default_factory=PredictConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    prompts: PromptConfig = Field(default_factory=PromptConfig)
    align: AlignConfig = Field(default_factory=AlignConfig)
    tune: TuneConfig = Field(default_factory=TuneConfig)
    synthesize: SynthesizeConfig = Field(default_factory=SynthesizeConfig)
    generate: GenerateConfig = Field(default_factory=GenerateConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)

    @property
    def num_alignment_pairs(self) -> int | None:
        """Training pairs that are asked for: where they are paid for and only shown as exemplars, not many more than there are texts to write."""
        pairs = self.align.num_pairs
        if self.limit is None or self.model.for_training().kind != "endpoint":
            return pairs
        few = max(MIN_EXEMPLAR_PAIRS, 2 * self.limit)
        return few if pairs is None else min(pairs, few)


def load_config(path: Path | str | Sequence[Path | str] | None = None, overrides: Sequence[str] = (), **values: Any) -> Config:
    """The resolved configuration: defaults, then the YAML files, then `section.key=value` overrides, then keyword values that are not None.

    Args:
        path: One file, or several of which later ones win key by key; a shipped one also by its bare name.

    Raises:
        MissingFileError: A YAML file does not exist.
        ConfigError: Broken YAML, an unknown key, or a value of the wrong type or range; the message names the key, and the file or override.
    """
    files = [path] if isinstance(path, Path | str) else list(path or ())
    layers: list[_Layer] = [(str(file), read_yaml(find_settings(Path(file)), Config)) for file in files]
    for override in overrides:
        settings: dict[str, Any] = {}
        key = apply_override(settings, override, Config)
        layers.append((f"--set {key:.120}", settings))
    layers.append(("", {key: value for key, value in values.items() if value is not None}))
    merged: dict[str, Any] = {}
    for name, settings in layers:
        lay_over(merged, settings, name)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, layers)) from None


_Layer = tuple[str, dict[str, Any]]
"""Where settings come from, in words, and what they are."""


def _explain(error: ValidationError, layers: Sequence[_Layer]) -> str:
    """One line per problem, each with who set it, the key, and, for an unknown one, the keys that exist there, the nearest first."""
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        origin = _origin(problem["loc"], layers)
        where = f"{origin}: " if origin else ""
        if problem["type"] == "extra_forbidden":
            known = ", ".join(nearest_first(str(problem["loc"][-1]), _keys_beside(problem["loc"])))
            lines.append(f"{where}unknown key '{key:.120}' (known there: {known})")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            is_list = problem["type"] == "tuple_type" and isinstance(problem["input"], str)
            hint = f"; a list is written [{repr(problem['input'])[1:-1]:.80}]" if is_list else ""
            lines.append(f"{where}'{key:.120}' is {_short(problem['input'])}: {message[0].lower()}{message[1:]}{hint}")
    return "; ".join(lines)


def _origin(location: tuple[int | str, ...], layers: Sequence[_Layer]) -> str:
    """The last place that gave the value at a location: a file or an override; empty for the caller's own values and for defaults."""

    def depth(settings: Any) -> int:
        steps = 0
        while steps < len(location) and isinstance(settings, dict) and location[steps] in settings:
            settings, steps = settings[location[steps]], steps + 1
        return steps

    deepest = max((depth(settings) for _, settings in layers), default=0)
    return next((name for name, settings in reversed(layers) if deepest and depth(settings) == deepest), "")


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a {type(value).__name__} too large to show"
    return shown if len(shown) <= 100 else f"{shown[:97]}…"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location[:-1]:
        fields = getattr(section, "model_fields", {})
        section = fields[part].annotation if part in fields else None
    return list(getattr(section, "model_fields", {}))
