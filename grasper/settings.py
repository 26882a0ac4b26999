"""How settings are read from a YAML file and from `--set section.key=value`, each value by the type of its key.

Texts and paths are taken as they stand: a name may hold ` #`, be a number, or be `no`. Everything else is YAML. What could keep a reader busy
for ever (aliases of aliases, thousands of brackets, numbers of thousands of digits) is refused first.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from grasper.errors import ConfigError, MissingFileError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_DIGITS = 400
_NULLS = ("", "~", "null", "Null", "NULL")


def read_yaml(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """The settings of a file as plain values; `model` says which keys are text.

    Raises:
        MissingFileError: There is no such file.
        ConfigError: It is no YAML mapping, or too large, too deep or too often repeated to be a configuration.
    """
    if not path.is_file():
        raise MissingFileError(f"configuration {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path} has {path.stat().st_size:,} bytes, expected a configuration of at most {MAX_BYTES:,}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from None
    settings = _parse(text, model, str(path))
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds a {type(settings).__name__}, expected sections such as 'prepare:' with keys below them")
    return settings


def apply_override(settings: dict[str, Any], override: str, model: type[BaseModel]) -> str:
    """Set one `section.key=value` in the settings; gives the key.

    Raises:
        ConfigError: It has no such form, or the value is no YAML where the key wants some.
    """
    key, separator, value = override.partition("=")
    where = f"--set {override[:200]!r}"
    if not separator or not key.strip():
        raise ConfigError(f"{where} is not of the form section.key=value")
    *parents, leaf = key.strip().split(".")
    place, annotation = settings, model
    for parent in parents:
        place, annotation = place.setdefault(parent, {}), _type_below(annotation, parent)
        if not isinstance(place, dict):
            raise ConfigError(f"{where}: {parent!r} is a value, not a section")
    place[leaf] = _value(value, _type_below(annotation, leaf), where)
    return key.strip()


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by their whole keys, `section.key`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def expand_home(path: Path) -> Path:
    """The path with a leading `~` or `~name` replaced by the home folder; as it is where nobody has that name."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _value(value: str, annotation: Any, where: str) -> Any:
    if _is_text(annotation):
        return None if value == "null" and _is_optional(annotation) else value
    value = value.strip()
    if "#" in value and value[:1] not in ("[", "{", '"', "'"):
        return value  # a comment has no place here, so it is none
    return _parse(value, annotation, where)


def _parse(text: str, annotation: Any, where: str) -> Any:
    try:
        _require_moderate(text, where)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if node is None else _build(node, annotation, where, iter(range(MAX_NODES)))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split()):.300}") from None


def _require_moderate(text: str, where: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _too_deep(where)


def _too_deep(where: str) -> ConfigError:
    return ConfigError(f"{where} is nested too deeply for a configuration, more than {MAX_DEPTH} levels")


def _build(node: yaml.Node, annotation: Any, where: str, budget: Iterator[int], depth: int = 0) -> Any:
    """The value of a node; counting visits bounds what aliases of aliases unfold to, and the depth what an alias of itself does."""
    if depth > MAX_DEPTH:
        raise _too_deep(where)
    if next(budget, None) is None:
        raise ConfigError(f"{where} holds more than {MAX_NODES:,} entries (aliases written out), too many for a configuration")
    if isinstance(node, yaml.MappingNode):
        built = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise ConfigError(f"{where} line {key_node.start_mark.line + 1}: a key is no text")
            if key in built:
                raise ConfigError(f"{where} line {key_node.start_mark.line + 1}: key '{key:.80}' stands there twice")
            built[key] = _build(value_node, _type_below(annotation, key), where, budget, depth + 1)
        return built
    if isinstance(node, yaml.SequenceNode):
        inner = _type_of_elements(annotation)
        return [_build(child, inner, where, budget, depth + 1) for child in node.value]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, annotation, where)


def _scalar(node: yaml.ScalarNode, annotation: Any, where: str) -> Any:
    is_plain = node.style is None
    if _is_text(annotation):
        return None if is_plain and node.value in _NULLS and (_is_optional(annotation) or node.value == "") else node.value
    if node.tag != "tag:yaml.org,2002:str" and len(node.value) > MAX_DIGITS:
        raise ConfigError(f"{where} line {node.start_mark.line + 1}: a number of {len(node.value):,} characters, too large for a configuration")
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # the last ones where a tag asks for what the text is not
        told = str(error) if isinstance(error, ValueError) else f"{node.tag.rpartition(':')[2]} is asked for"
        raise ConfigError(f"{where} line {node.start_mark.line + 1}: {node.value[:40]!r} is no value ({told})") from None
    finally:
        loader.dispose()


def _type_below(annotation: Any, key: str) -> Any:
    """The type of a key in a section or mapping; None where there is none."""
    for choice in _choices(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            field = choice.model_fields.get(key)
            return field.annotation if field else None
        if get_origin(choice) is dict:
            return get_args(choice)[1]
    return None


def _type_of_elements(annotation: Any) -> Any:
    for choice in _choices(annotation):
        if get_origin(choice) in (tuple, list):
            return get_args(choice)[0]
    return None


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, without what validates them."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return (annotation,)


def _is_optional(annotation: Any) -> bool:
    return type(None) in _choices(annotation)


def _is_text(annotation: Any) -> bool:
    """Whether a key holds nothing but text: a string, a path, or one of some names."""
    choices = [choice for choice in _choices(annotation) if choice is not type(None)]
    return bool(choices) and all(
        choice in (str, Path) or (get_origin(choice) is Literal and all(isinstance(name, str) for name in get_args(choice))) for choice in choices
    )
