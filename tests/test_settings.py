"""Values as they are meant: texts and paths literally, everything else as YAML, nothing that never ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from grasper.config import load_config
from grasper.errors import ConfigError


@pytest.mark.parametrize("value", ["hot #2", "#mine", "a: b", "[x]", "no", "123", "- x", "'quoted'", "null and void", "a\\b"])
def test_texts_and_paths_are_literal(value: str) -> None:
    config = load_config(None, [f"prepare.data={value}", f"model.name={value}"])
    assert str(config.prepare.data) == value
    assert config.model.name == value


def test_other_values_are_yaml() -> None:
    config = load_config(None, ["limit=4", "predict.learning_rate=1e-3", "prepare.strip_html=true", "tasks=[long, rating]", "prepare.data=null"])
    assert (config.limit, config.predict.learning_rate, config.prepare.strip_html, config.tasks) == (4, 1e-3, True, ("long", "rating"))
    assert config.prepare.data is None
    assert load_config(None, ["prepare.columns={user_id: no, rating: null}"]).prepare.columns.user_id == "no"
    assert load_config(None, ["prepare.columns={user_id: no, rating: null}"]).prepare.columns.rating is None


def test_texts_in_files_are_not_mistaken_for_values(tmp_path: Path) -> None:
    """`no` is Norway's language, and a name may be a number."""
    path = tmp_path / "c.yaml"
    path.write_text("prepare: {language: no, name: 2024, data: ~/shop, train: [1, '~/x']}\nlimit: 3\n")
    prepare = load_config(path).prepare
    assert (prepare.language, prepare.name, prepare.data) == ("no", "2024", Path.home() / "shop")
    assert prepare.train == (Path("1"), Path.home() / "x")


def test_home_on_the_command_line() -> None:
    assert load_config(None, ["prepare.data=~/x"]).prepare.data == Path.home() / "x"
    assert load_config(None, ["prepare.data=~nobody-of-this-name/x"]).prepare.data == Path("~nobody-of-this-name/x")


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "too many for a configuration"),
        ("limit: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("tune:\n  target_modules: &a [*a]\n", "nested too deeply"),
        ("model: &a {name: *a}\n", "nested too deeply"),
        ('methods: "two\\nlines"\n', r"^[^\n]*a list is written \[two\\nlines\]$"),
        ("limit: " + "9" * 5000, "a number of 5,000 characters"),
        ("limit: 2024-99-99\n", "no value"),
        ("limit: 3\nlimit: 4\n", "line 2: key 'limit' stands there twice"),
        ("x: " + "y" * 2_000_000, "expected a configuration of at most"),
        ("limit: !!python/object/apply:os.system [ls]", "not valid|extra|valid integer"),
        ("? [a]\n: 3\n", "a key is no text"),
        ("nonsense" * 40 + ": 1\n", "unknown key 'nonsense"),
    ],
)
def test_what_never_ends_is_refused_quickly(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert time.process_time() - begun < 3
    assert len(str(caught.value)) < 3000


def test_the_blame_is_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("limit: 3\n")
    with pytest.raises(ConfigError, match=r"^--set predict\.top_k: 'predict\.top_k' is 'many'"):
        load_config(path, ["predict.top_k=many"])
    with pytest.raises(ConfigError, match=r"a list is written \[long\]"):
        load_config(path, ["tasks=long"])
    with pytest.raises(ConfigError, match=r"--set .* is not of the form"):
        load_config(path, ["x"])
    for deep in ("[" * 5000, "9" * 5000):
        with pytest.raises(ConfigError, match="--set"):
            load_config(None, [f"limit={deep}"])


@pytest.mark.parametrize("value", ["!!bool maybe", "!!int ''", "!!timestamp soon", "!!float x"])
def test_a_tag_that_the_text_does_not_fit_is_told(value: str) -> None:
    with pytest.raises(ConfigError, match=r"--set .seed=.*is no value"):
        load_config(None, [f"seed={value}"])
