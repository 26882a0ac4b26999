from __future__ import annotations

from pathlib import Path

import pytest

from grasper.config import load_config
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
        ("predict.top_k=many", "'predict.top_k' is 'many'"),
        ("predict.top_k=0", "greater than or equal to 1"),
        ("predict.encoder=magic", "'hybrid'"),
        ("predict.top_k", "section.key=value"),
        ("limit.deep=1", "extra|valid|section"),
    ],
)
def test_bad_settings_are_named(override: str, message: str) -> None:
    """An unknown key, a wrong type, a value out of range: each error names the key and what is possible there."""
    with pytest.raises(ConfigError, match=message):
        load_config(None, [override])


def test_missing_or_broken_files(tmp_path: Path) -> None:
    """A missing file, broken YAML, and YAML that is no mapping."""
    with pytest.raises(MissingFileError, match="experiments/"):
        load_config(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("predict: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not valid YAML"):
        load_config(broken)
    broken.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="expected sections"):
        load_config(broken)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    """Each file in experiments/ is valid and names its data set."""
    assert load_config(path).prepare.name


def test_configuration_is_frozen() -> None:
    """A stage cannot change what the run folder recorded."""
    with pytest.raises(ValueError, match="frozen"):
        load_config().predict.top_k = 3  # type: ignore[misc]
