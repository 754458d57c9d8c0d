"""TOML documents: laid over each other, checked against a model, and what is wrong with them told in one line."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import tomli
from pydantic import BaseModel, ValidationError

from rlpt.errors import UsageError

Table = dict[str, Any]
# Where pydantic's words are Python's, not TOML's.
_EXPECTED = {
    "tuple_type": "expected a list in brackets",
    "too_short": "expected at least one",
    "dict_type": "expected a table, such as { key = 1 }",
    "model_type": "expected a table, such as { key = 1 }",
    "bool_type": "expected true or false",
    "string_pattern_mismatch": "expected letters, digits, '.', '_' and '-', of which the first is a letter or digit",
    "finite_number": "expected a finite number",
}
Checked = TypeVar("Checked", bound=BaseModel)


@dataclass(frozen=True)
class Layer:
    """Values and where they come from, as an error message would name it."""

    origin: str
    table: Table

    def only(self, keys: Iterable[str]) -> "Layer":
        """Returns the values of some keys, as far as it has them."""
        return Layer(self.origin, {key: self.table[key] for key in keys if key in self.table})


def load_document(model: type[Checked], path: Path) -> Checked:
    """Reads a TOML file that stands by itself, such as the list of claims.

    Raises:
        UsageError: one line that names file, key, what was given and what is accepted.
    """
    return validated(model, [Layer(str(path), read_toml(path))])


def read_toml(path: Path) -> Table:
    """Returns a file's tables, unchecked.

    Raises:
        UsageError: if there is no such file, or it is not TOML.
    """
    try:
        return tomli.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file{_near(path)}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder: name a TOML file in it") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not readable as TOML: {error}: save it as UTF-8") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not readable as TOML: {error or 'nested too deeply'}") from None


def _near(path: Path) -> str:
    """Names a file in the same folder whose name is similar."""
    folder = path.parent.iterdir() if path.parent.is_dir() else ()
    names = [other.name for other in folder if other.suffix == path.suffix and other.is_file()]
    nearest = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.with_name(nearest[0])}?" if nearest else ""


def parse_override(text: str) -> Table:
    """Returns the table that `key=value` stands for; values are TOML, or else plain strings.

    Raises:
        UsageError: if it is neither.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: expected key=value, such as train.steps=500")
    for candidate in (value, json.dumps(value, ensure_ascii=False)):
        try:
            return tomli.loads(f"{key} = {candidate}")
        except (ValueError, RecursionError):
            continue
    raise UsageError(f"--set {text!r}: neither the key nor the value can be read as TOML")


def validated(model: type[Checked], layers: list[Layer]) -> Checked:
    """Merges the layers, the last one on top, and checks the result against `model`.

    Raises:
        UsageError: one line that names the layer, the key, what was given and what is accepted.
    """
    merged: Table = {}
    for layer in layers:
        _merge(merged, layer.table)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        # An unknown key first: a key may be missing because it is misspelt.
        first, *others = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        keys = tuple(key for key in first["loc"] if key != "[key]")
        named = [layer.origin for layer in layers if layer.table and _holds(layer.table, keys)]
        if not named:  # a missing key, or a check over a whole table
            named = [layer.origin for layer in layers if keys and _holds(layer.table, keys[:1])] or [layers[0].origin]
        key = ".".join(name if name.isprintable() else repr(name) for name in map(str, keys))
        place = f"{named[-1]}: {key}" if key else named[-1]
        more = f" (and {len(others)} more)" if others else ""
        raise UsageError(f"{place}: {_explain(model, first)}{more}") from None


def _merge(target: Table, source: Table) -> Table:
    """Lays `source` over `target`, table by table."""
    for key, value in source.items():
        if isinstance(value, dict):
            below = target.get(key)
            target[key] = _merge(below if isinstance(below, dict) else {}, value)
        else:
            target[key] = value
    return target


def _holds(table: Any, keys: tuple[Any, ...]) -> bool:
    for key in keys:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True


def _explain(model: type[BaseModel], error: Any) -> str:
    """Says in one line what is wrong with a value and what would be right."""
    if error["type"] == "extra_forbidden":
        accepted = _accepted_keys(model, error["loc"][:-1])
        nearest = difflib.get_close_matches(str(error["loc"][-1]), accepted, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        return f"unknown key; {hint}accepted: {', '.join(accepted)}"
    if error["type"] == "missing":
        return "missing, and it has no default"
    message = _EXPECTED.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if isinstance(error["input"], dict):
        return message
    return f"{message[0].lower()}{message[1:]} (given: {error['input']!r:.80})"


def _accepted_keys(model: Any, keys: tuple[Any, ...]) -> list[str]:
    for key in keys:
        model = model.model_fields[key].annotation if _is_model(model) else _model_in(model)
    return list((model if _is_model(model) else _model_in(model)).model_fields)


def _is_model(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)


def _model_in(annotation: Any) -> Any:
    """Returns the tables' model in a dictionary, tuple or union: any name or number leads to one."""
    return next(each for each in get_args(annotation) if _is_model(each))
