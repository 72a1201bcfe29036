"""Strict TOML: a part is exactly what its model says, or one error names the file and the key.

Unknown keys, wrong types and values out of range are refused with what was expected and the nearest known name.
"""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import HarnessError, near


class Strict(BaseModel):
    """Base of everything parsed: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; HarnessError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = [p.stem for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise HarnessError(f"{path}: no such file", hint=near(path.stem, names)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise HarnessError(f"{path}: not a readable TOML file: {error}") from None


def parse(model: type[Model], data: dict[str, Any], path: Path | str) -> Model:
    """`data` as a `model`; the first complaint becomes a HarnessError that names `path` and the dotted key."""
    try:
        # TOML has arrays and no tuples; JSON mode lets a strict model read one as a tuple and nothing else.
        return model.model_validate_json(_json(data))
    except ValidationError as error:
        complaints = error.errors(include_url=False)
        # A misspelt key is both unknown and missing: the unknown one is what the user wrote.
        first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        if first["type"] == "extra_forbidden":
            raise HarnessError(
                f"{path}: unknown key '{key}'", hint=near(str(first["loc"][-1]), _keys(model, first["loc"]))
            ) from None
        if first["type"] == "missing":
            raise HarnessError(f"{path}: key '{key}' is missing") from None
        found = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
        raise HarnessError(f"{path}: key '{key}': {first['msg'][0].lower()}{first['msg'][1:]}{found}") from None


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on top, table by table."""
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both_tables else value
    return merged


def _json(data: dict[str, Any]) -> str:
    import json

    return json.dumps(data, default=str)


def _keys(model: type[BaseModel], location: tuple) -> list[str]:
    """The field names of the (nested) model that `location` points into."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if isinstance(part, str) else None
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return list(model.model_fields)
