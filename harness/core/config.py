"""Strict models parse TOML and JSON: a file holds exactly what its model says, or one error names the file and the key.

Unknown keys, wrong types and values out of range are refused with what was expected and the nearest known name. A file
that is no TOML, or no JSON, of finite numbers and sane depth is one error too. A part that names an adapter holds
tables of options; the adapter's own models parse them with the part (`parse_table`).
"""

import json
import math
import tomllib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
)

from harness.core.errors import HarnessError, near


class Strict(BaseModel):
    """Every parsed model derives from this one: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=(), defer_build=True)


class Grown(Strict):
    """This model gained fields after content keys were made: it dumps one only where its value differs from its
    default, so that accepted keys stay.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()
    """The names of those fields."""

    @model_serializer(mode="wrap")
    def _as_before(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        quiet = {name for name in self.LATER if getattr(self, name) == type(self).model_fields[name].default}
        return {name: value for name, value in plain(self).items() if name not in quiet}


class Specification(Strict):
    """A specification says what a stage is asked to do."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {}
    """Fields that do not decide the result, as pydantic's `exclude`: names in tables, places of files."""

    def decisive(self) -> dict[str, Any]:
        """Return the fields that decide the result, as JSON; the content key is their hash."""
        return self.model_dump(mode="json", exclude=self.NOT_IN_KEY, context=FOR_KEY)


Model = TypeVar("Model", bound=BaseModel)

FOR_KEY = {"for_key": True}
"""The context of a dump that a content key is made of."""


def _as_given(options: BaseModel, info: SerializationInfo) -> dict[str, Any]:
    exclude = getattr(options, "NOT_IN_KEY", None) if info.context == FOR_KEY else None
    return options.model_dump(mode="json", exclude_unset=True, exclude=exclude)


AS_GIVEN = PlainSerializer(_as_given)
"""Writes options as the keys that were given, so that an option that an adapter gains later moves no content key; in a
key without those that the `NOT_IN_KEY` of their model names."""


_PATH = "path"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; HarnessError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=_finite)
    except FileNotFoundError:
        names = [p.stem for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise HarnessError(f"{path}: no such file", hint=near(path.stem, names)) from None
    except (ValueError, OSError, RecursionError) as error:
        raise HarnessError(f"{path}: not a readable TOML file: {_reason(error)}") from None


def read_json(path: Path, what: str = "JSON file", *, hint: str = "") -> Any:
    """Return the content of a JSON file; HarnessError, which calls the file a `what`, when it is missing, unreadable or
    not JSON.

    NaN, infinities and numbers too large for a float are no JSON here.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise HarnessError(f"{path}: not a readable {what}: {_reason(error)}", hint=hint) from None


def parse_json(text: str | bytes) -> Any:
    """Return the values of JSON text; ValueError when it is not JSON of finite numbers and sane depth."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _reason(error: Exception) -> str:
    """Return why a file can't be read, in one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "integer string conversion" in str(error):
        return "a number has too many digits"
    return str(error).splitlines()[0][:300]


def parse(model: type[Model], data: dict[str, Any], path: Path | str) -> Model:
    """Return `data` as a `model`; HarnessError for the first complaint, with `path` and the dotted key."""
    try:
        # TOML has arrays and no tuples; JSON mode lets a strict model read one as a tuple and nothing else.
        return model.model_validate_json(_json(data), context={_PATH: path})
    except ValidationError as error:
        complaints = error.errors(include_url=False)
        # A misspelt key is both unknown and missing: the unknown one is what the user wrote.
        unknown = [c for c in complaints if c["type"] == "extra_forbidden"]
        # Where a string or a list may stand, a wrong list is told about as a list.
        apt = [c for c in complaints if not (c["type"] == "string_type" and isinstance(c["input"], list))]
        first = (unknown or apt or complaints)[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top level)"
        if first["type"] == "extra_forbidden":
            raise HarnessError(
                f"{path}: unknown key '{key}'", hint=near(str(first["loc"][-1]), _keys(model, first["loc"]))
            ) from None
        if first["type"] == "missing":
            raise HarnessError(f"{path}: key '{key}' is missing") from None
        found = "" if isinstance(first["input"], dict) else f", found {_shown(first['input'])}"
        raise HarnessError(f"{path}: key '{key}': {first['msg'][0].lower()}{first['msg'][1:]}{found}") from None


def parse_table(model: type[Model], part: dict[str, Any], table: str, info: ValidationInfo) -> Model:
    """Return a table of a part as the adapter's `model`; validators of parts call this; an absent table is an empty
    one.

    Options that are parsed already stay as they are. Errors are those of `parse`.
    """
    found = part.get(table, {})
    if isinstance(found, model):
        return found
    path = (info.context or {}).get(_PATH, f"part {part.get('label')!r}")
    return parse(model, found, f"{path}, {table}")


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on top, table by table."""
    merged = dict(base)
    for key, value in over.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both_tables else value
    return merged


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, default=str)


def _shown(value: object, longest: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def _keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
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
