"""TOML documents: layers, and errors in one line that name the layer and the key."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from rlpt.documents import Layer, _merge, load_document, parse_override, read_toml, validated
from rlpt.errors import UsageError


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    spokes: int = 36
    rim: str = "alloy"


class Bicycle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    front: Wheel = Wheel()
    gears: int


def test_the_last_layer_wins_and_tables_are_laid_over_each_other() -> None:
    layers = [
        Layer("below", {"gears": 3, "front": {"spokes": 32, "rim": "steel"}}),
        Layer("above", {"front": {"spokes": 28}}),
    ]
    assert validated(Bicycle, layers) == Bicycle(gears=3, front=Wheel(spokes=28, rim="steel"))
    assert layers[0].table["front"] == {"spokes": 32, "rim": "steel"}, "a layer is left as it was"
    assert layers[0].only(["gears", "saddle"]) == Layer("below", {"gears": 3})


@pytest.mark.parametrize(
    ("above", "problem"),
    [
        ({"front": {"spokes": "many"}}, r"above: front\.spokes: .*integer.* \(given: 'many'\)"),
        ({"front": {"spoke": 4}}, r"above: front\.spoke: unknown key; did you mean 'spokes'\? accepted: spokes, rim"),
        ({"bell": True}, r"above: bell: unknown key; accepted: front, gears"),
        ({"gears": None}, r"above: gears: .*\(given: None\)"),
        ({}, r"below: gears: .*\(given: 'few'\)"),
    ],
)
def test_an_error_names_the_layer_and_the_key(above: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError, match=f"^{problem}$"):
        validated(Bicycle, [Layer("below", {"gears": "few" if not above else 3}), Layer("above", above)])


def test_a_missing_key_and_further_errors_are_said() -> None:
    with pytest.raises(UsageError, match=r"^file: gears: missing, and it has no default$"):
        validated(Bicycle, [Layer("file", {})])
    with pytest.raises(UsageError, match=r" \(and 1 more\)$"):
        validated(Bicycle, [Layer("file", {"gears": "few", "front": {"spokes": "many"}})])


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("a.b=3", {"a": {"b": 3}}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a=two words", {"a": "two words"}),
        ("a=", {"a": ""}),
        ("a=it's", {"a": "it's"}),
        ('a="', {"a": '"'}),
    ],
)
def test_an_override_is_toml_or_else_a_plain_string(text: str, table: dict[str, object]) -> None:
    assert parse_override(text) == table


@pytest.mark.parametrize("text", ["a", "=3", "a b=3"])
def test_other_overrides_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--set .*: (expected key=value|neither the key nor the value)"):
        parse_override(text)


def test_what_is_not_a_document_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bicycle.toml"
    with pytest.raises(UsageError, match=r"bicycle\.toml: no such file$"):
        load_document(Bicycle, path)
    path.with_name("bicycle.d.toml").mkdir()
    path.with_name("bicycles.toml").touch()
    with pytest.raises(UsageError, match=r"no such file; did you mean .*bicycles\.toml\?$"):
        load_document(Bicycle, path)
    path.write_text("gears = ")
    with pytest.raises(UsageError, match="not readable as TOML"):
        read_toml(path)
    path.write_text("gears = 3")
    assert load_document(Bicycle, path) == Bicycle(gears=3)


def test_a_table_replaces_what_is_none() -> None:
    assert _merge({"train": 5}, {"train": {"steps": 3}}) == {"train": {"steps": 3}}
    assert _merge({"train": {"steps": 3}}, {"train": 5}) == {"train": 5}
