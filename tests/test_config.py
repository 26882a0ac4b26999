from __future__ import annotations

import json
from pathlib import Path

import pytest

from grasper.config import ModelConfig, load_config
from grasper.errors import ConfigError, MissingFileError

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def test_order_of_precedence(tmp_path: Path) -> None:
    """Field default < YAML < --set < explicit option."""
    path = tmp_path / "run.yaml"
    path.write_text("limit: 3\npredict:\n  top_k: 7\n  num_layers: 1\n")
    config = load_config(path, ["predict.top_k=9", "limit=4"], limit=5)
    assert (config.predict.top_k, config.predict.num_layers, config.limit, config.predict.embedding_dim) == (9, 1, 5, 64)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("predict.topk=3", "unknown key 'predict.topk'.*top_k"),
        ("prepare.items.encodng=utf-8", "unknown key .prepare.items.encodng.*encoding"),
        ("predict.top_k=many", "'predict.top_k' is 'many'"),
        ("predict.top_k=0", "greater than or equal to 1"),
        ("predict.top_k", "section.key=value"),
        ("limit.deep=1", "extra|valid|section"),
    ],
)
def test_bad_settings_are_named(override: str, message: str) -> None:
    """An unknown key, a wrong type, a value out of range: each error names the key and what is possible there."""
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


@pytest.mark.parametrize("address", ["https://h/v1?api_key=sk-secret", "https://h/v1#sk-secret", "https://me:pw@h/?sk-secret"])
def test_a_key_in_the_address_is_refused_and_not_shown(address: str) -> None:
    """Else it would stand in the run's configuration, its manifests and its report."""
    for refuse in (lambda: load_config(None, [f"model.base_url={address}"]), lambda: ModelConfig(base_url=address)):
        with pytest.raises(ValueError, match=r"(?s)base_url.*without \? or #; a key belongs in the environment") as raised:
            refuse()
        assert "sk-secret" not in str(raised.value)


def test_gold_by_likelihood_is_chosen_among_sampled_paths() -> None:
    """One setting is enough; paths that saw the answer are refused, and a threshold of one's own stands."""
    align = load_config(None, ["align.reward=likelihood"]).align
    assert (align.sources, align.reward_threshold) == (("sampled",), 0.0)
    assert load_config(None, ["align.reward=likelihood", "align.reward_threshold=0.01"]).align.reward_threshold == 0.01
    with pytest.raises(ConfigError, match=r"reward=likelihood goes with sources=\[sampled\], got \[analysed, sampled\]"):
        load_config(None, ["align.reward=likelihood", "align.sources=[analysed,sampled]"])


def test_an_empty_setting_is_told_and_not_taken_for_none(tmp_path: Path) -> None:
    """`split:` without a value would train on everything and ask for nothing; `null` and `none` are values where they are written."""
    (tmp_path / "empty.yaml").write_text("prepare:\n  split:\n")
    with pytest.raises(ConfigError, match=r"prepare\.split"):
        load_config(tmp_path / "empty.yaml")
    (tmp_path / "named.yaml").write_text("prepare:\n  split: none\n  invalid_rating: null\n")
    assert (load_config(tmp_path / "named.yaml").prepare.split, load_config(tmp_path / "named.yaml").prepare.invalid_rating) == ("none", "null")


def test_missing_or_broken_files(tmp_path: Path) -> None:
    """A missing file, broken YAML, and YAML that is no mapping."""
    with pytest.raises(MissingFileError, match=r"experiments/: amazon\.yaml, harbour\.yaml, .*models/qwen3-8b\.yaml"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("predict: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not valid YAML"):
        load_config(broken)
    broken.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="expected sections"):
        load_config(broken)


DATA_SETS, MODELS = sorted(EXPERIMENTS.glob("*.yaml")), sorted(EXPERIMENTS.glob("models/*.yaml"))


@pytest.mark.parametrize("path", DATA_SETS, ids=lambda path: path.stem)
def test_every_shipped_data_set_loads(path: Path) -> None:
    """Each file in experiments/ is valid, names its data set, and is found by its name alone."""
    config = load_config(path)
    assert config.prepare.name
    assert load_config(path.name) == load_config(f"experiments/{path.stem}") == config


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_shipped_model_joins_any_data_set(path: Path) -> None:
    """Each file in experiments/models/ sets a model and how it is aligned, and nothing of a data set."""
    alone = load_config(f"models/{path.name}")
    assert alone.model.name.rpartition("/")[2].lower() == path.stem
    assert alone.align.learning_rate < 2e-3
    for data_set in DATA_SETS:
        both = load_config([data_set, path])
        assert (both.model, both.align.learning_rate, both.prompts) == (alone.model, alone.align.learning_rate, alone.prompts)
        assert (both.prepare, both.split, both.limit) == (load_config(data_set).prepare, load_config(data_set).split, load_config(data_set).limit)


def test_longer_alignment_changes_alignment_alone() -> None:
    model = ["hotel", "models/smollm2-reviews"]
    short, longer = load_config(model), load_config([*model, "align/long"])
    assert longer.align.num_pairs > short.align.num_pairs
    assert longer.align.learning_rate == short.align.learning_rate
    assert longer.model_copy(update={"align": short.align}) == short


def test_later_files_win_key_by_key(tmp_path: Path) -> None:
    first, second = tmp_path / "data.yaml", tmp_path / "model.yaml"
    first.write_text("limit: 3\ntasks: [long, title]\npredict: {top_k: 7, num_layers: 1}\nmodel:\n  extra: {a: 1}\n")
    second.write_text("tasks: [title]\npredict: {top_k: 9}\nmodel: {extra: {b: 2}}\n")
    config = load_config([first, second], ["predict.patience=2"])
    assert (config.limit, config.tasks, config.model.extra) == (3, ("title",), {"a": 1, "b": 2})
    assert (config.predict.top_k, config.predict.num_layers, config.predict.patience) == (9, 1, 2)
    second.write_text("limit: {deep: 1}\n")
    with pytest.raises(ConfigError, match=r"model\.yaml: 'limit' is a value, not a section"):
        load_config([first, second])


@pytest.mark.parametrize(
    ("overrides", "values", "message"),
    [
        (["predict.top_k=many"], {}, "--set predict.top_k: 'predict.top_k' is 'many'"),
        (["seed=-1"], {}, "^--set seed: 'seed' is -1: "),
        (["predict.topk=3"], {}, "--set predict.topk: unknown key 'predict.topk'"),
        (["align.epochs=1"], {}, r"^\S*data\.yaml: 'limit' is 0: "),
        (["limit=4", "tasks=long"], {}, r"^--set tasks: 'tasks' is 'long': .*a list is written \[long\]$"),
        (["limit=4"], {"split": "dev-x"}, "^'split' is 'dev-x'"),
        (["seed=-1"], {}, r"; \S*data\.yaml: 'limit' is 0|data\.yaml: 'limit' is 0.*; --set seed: "),
        (["limit=4", "prepare.rating_lowest=9"], {}, "^--set prepare.rating_lowest: 'prepare' is .*is not below"),
    ],
)
def test_a_mistake_is_blamed_on_where_it_stands(tmp_path: Path, overrides: list[str], values: dict[str, str], message: str) -> None:
    """On the override, the file, or neither."""
    path = tmp_path / "data.yaml"
    path.write_text("limit: 0\nprepare: {rating_scale: 5}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(path, overrides, **values)


def test_configuration_is_frozen() -> None:
    """A stage cannot change what the run folder recorded."""
    with pytest.raises(ValueError, match="frozen"):
        load_config().predict.top_k = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", ["hot #2", "#mine", "my model #3", "a: b", "[x]", "'quoted'", "1e3", "yes", "2024-05-31", "- a", "*a"])
def test_paths_and_names_are_taken_literally(value: str) -> None:
    """Nothing in a path or a name is YAML, though a number or a list elsewhere is."""
    config = load_config(None, [f"prepare.data={value}", f"model.name={value}", "predict.top_k=3", "tasks=[long, title]"])
    assert config.prepare.data == Path(value)
    assert config.model.name == value
    assert (config.predict.top_k, config.tasks) == (3, ("long", "title"))


def test_null_still_means_nothing() -> None:
    assert load_config(None, ["prepare.columns.title=null"]).prepare.columns.title is None
    assert load_config(None, ["prepare.split=none"]).prepare.split == "none"


def test_a_tilde_is_home_in_yaml_and_in_options(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("prepare: {data: ~/shop.csv, train: [~/more.csv]}\n")
    prepare = load_config(path).prepare
    assert (prepare.data, prepare.train) == (Path.home() / "shop.csv", (Path.home() / "more.csv",))
    assert load_config(None, ["prepare.data=~/x"]).prepare.data == Path.home() / "x"


@pytest.mark.parametrize("name", ["../../x", "shop[/x]", "a" * 5000, "", ".hidden", "a\x00b", " shop", "c:\\x"])
def test_a_name_that_is_no_folder_is_refused_in_short(name: str) -> None:
    with pytest.raises(ConfigError, match=r"prepare\.name") as caught:
        load_config(None, [f"prepare.name={name}"])
    assert len(str(caught.value)) < 400


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "too many for a configuration"),
        ("limit: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("limit: " + "9" * 5000, "not valid YAML|too large"),
        ("x: " + "y" * 1_100_000, "expected a configuration of at most"),
    ],
)
def test_costly_yaml_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ([], "harbour"),
        (["prepare.source=table", "prepare.data=exports/shop.csv.gz"], "shop"),
        (["prepare.source=hub", "prepare.data=someone/reviews-of-2023"], "reviews-of-2023"),
        (["prepare.source=pgraphrag", "prepare.data=data/hotel/"], "hotel"),
        (["prepare.source=table", "prepare.data=a:b.csv"], "table"),
        (["prepare.source=sql"], "sql"),
        (["prepare.source=table", "prepare.data=shop.csv", "prepare.name=mine"], "mine"),
    ],
)
def test_a_data_set_without_a_name_goes_by_its_data(settings: list[str], name: str) -> None:
    """By that of a file, a folder or a Hub id, or by the source where that can name no folder."""
    assert load_config(None, settings).prepare.name == name


@pytest.mark.parametrize("override", ["prepare.data=\udcff.csv", 'prepare.train=["\\uDCFF"]', "model.name=a\udcff", 'model.extra={a: "\\uDCFF"}'])
def test_settings_that_are_no_utf_8_are_named(override: str) -> None:
    """They could be neither recorded nor compared; the key is told, and the message can be printed."""
    with pytest.raises(ConfigError) as raised:
        load_config(None, [override])
    assert override.partition("=")[0] in str(raised.value)
    assert "not UTF-8" in str(raised.value)
    str(raised.value).encode()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("methods=[]", "at least 1"),
        ("tasks=[]", "at least 1"),
        ("methods=[copy,lamp,copy]", "copy more than once"),
        ("tasks=[long,long]", "long more"),
    ],
)
def test_methods_and_tasks_are_some_and_each_once(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(None, [override])


@pytest.mark.parametrize("name", ["base64", "rot13", "hex", "undefined", "klingon"])
def test_only_encodings_of_text_are_taken(name: str) -> None:
    for key in ("prepare.encoding={}", "prepare.items={{data: items.csv, encoding: {}}}"):
        with pytest.raises(ConfigError, match="unknown encoding"):
            load_config(None, [key.format(name)])
    assert load_config(None, ["prepare.encoding=Latin1"]).prepare.encoding == "iso8859-1"


@pytest.mark.parametrize("key", ["memory_mib", "max_line_mib"])
def test_sizes_beyond_any_machine_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}.*less than or equal"):
        load_config(None, [f"prepare.{key}=99999999999999999999"])


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("1", "1"), ("1.0", "1"), ("0", "0"), ("0.5", "0.5")])
def test_a_scale_may_begin_between_whole_numbers_and_whole_ones_keep_their_key(given: str | None, kept: str) -> None:
    """Half stars begin at 0.5; what was prepared when this was always a whole number is still known by it."""
    config = load_config(None, [f"prepare.rating_lowest={given}"] if given else [])
    assert json.dumps(config.prepare.model_dump(mode="json")["rating_lowest"]) == str(config.prepare.rating_lowest) == kept
