"""The content key of a step is the hash of everything that decides its result.

Steps of one plan share most of what their specifications hold, so what they share is rendered once.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from harness.core.config import FOR_KEY, Specification, Strict

KEY_VERSION = 1
"""Raise it when keys are made in another way: every artifact is then made anew."""

_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


class Keys(NamedTuple):
    """This holds the keys of a step. `identity`: the key without versions of stage and keys: what was asked for,
    whoever made it."""

    key: str
    identity: str


def keys_of(kind: str, version: int, spec: str, inputs: Mapping[str, Keys], weights: str) -> Keys:
    """Return the keys of a step, 20 hex digits each. `spec`: a text of `Texts`; `inputs`: what the step reads, by
    name."""
    return Keys(
        key=_hash(kind, KEY_VERSION, version, spec, {name: keys.key for name, keys in inputs.items()}, weights),
        identity=_hash(kind, 0, 0, spec, {name: keys.identity for name, keys in inputs.items()}, weights),
    )


def _hash(kind: str, key_version: int, version: int, spec: str, inputs: dict[str, str], weights: str) -> str:
    text = (
        f'{{"inputs":{_json(inputs)},"key_version":{key_version},"kind":{_json(kind)},"spec":{spec},'
        f'"version":{version},"weights":{_json(weights)}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class Texts:
    """Specifications as JSON with sorted keys and without what their NOT_IN_KEY names."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[Strict, str]] = {}
        """By identity, which the kept object makes safe, and the place where it stands."""

    def of(self, spec: Specification) -> str:
        """Return the text of `spec.decisive()`."""
        if type(spec).__pydantic_decorators__.model_serializers:
            return _json(spec.decisive())
        fields = (
            f"{_json(name)}:{self._field(spec, name)}"
            for name in sorted(type(spec).model_fields)
            if spec.NOT_IN_KEY.get(name) is not True
        )
        return f"{{{','.join(fields)}}}"

    def _field(self, spec: Specification, name: str) -> str:
        value = getattr(spec, name)
        if value is None or isinstance(value, str | int):
            return _json(value)
        place = id(value), f"{type(spec).__name__}.{name}"
        if place in self._known:
            return self._known[place][1]
        exclude = {name: spec.NOT_IN_KEY[name]} if name in spec.NOT_IN_KEY else None
        text = _json(spec.model_dump(mode="json", include={name}, exclude=exclude, context=FOR_KEY)[name])
        if isinstance(value, Strict):
            self._known[place] = value, text
        return text
