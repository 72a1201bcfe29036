"""A result row holds what was measured or printed for one arm of a suite; this module defines it and its file format.

Tables, reports, checks and the leaderboard read rows and nothing else. Segmentation scores are fractions (AP 0.3846),
image quality is in its own unit (FID, dB). Not here: percent (the table's business), printed numbers (published.py).
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, FiniteFloat, NonNegativeFloat, NonNegativeInt, model_validator

from harness.core.config import Strict, parse, parse_json
from harness.core.errors import HarnessError
from harness.core.files import write_text

ROWS_FORMAT = 2
"""Version of the row file; a reader refuses what it doesn't know."""

Scores = dict[str, FiniteFloat | None]
Status = Literal["ok", "not built", "not run", "missing", "failed"]
Origin = Literal["published", "reproduced", "measured"]


class Record(Strict):
    """Base of what reaches a result file: the docstring under a field is its description in the JSON schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Budget(Record):
    """This holds what the training of a row was allowed to use, the same for every seed."""

    images_seen: NonNegativeInt | None = None
    """Training images drawn in all: iterations times batch size."""
    iterations: NonNegativeInt | None = None
    """Optimiser steps."""
    batch_size: NonNegativeInt | None = None
    """Images per step."""
    real_images: NonNegativeInt | None = None
    """Real frames in the training set."""
    synthetic_images: NonNegativeInt | None = None
    """Focused crops added to the training set."""


class Cost(Record):
    """This holds what a row cost, summed over the steps that belong to it alone or are shared with others, and over its
    seeds."""

    seconds: NonNegativeFloat | None = None
    """Wall time of all steps in seconds."""
    gpu_seconds: NonNegativeFloat | None = None
    """Wall time in seconds of those steps that held a GPU; null where none did."""
    peak_memory_mb: NonNegativeFloat | None = None
    """Largest resident memory of a step in MiB."""


class SeedResult(Record):
    """One run of a row: one seed, one evaluation."""

    seed: int
    """The suite's seed that every random draw of this run derives from."""
    scores: Scores = Field(default_factory=dict)
    """Metric name to value; null where the metric is undefined on this data."""
    classes: dict[str, Scores] = Field(default_factory=dict)
    """Class name to metric to value; "instances" may stand among the metrics as a count of ground-truth instances."""
    key: str = ""
    """Content key of the evaluation artifact these scores were read from."""
    folder: str = ""
    """Folder of that artifact, relative to the store; empty in committed files."""
    commit: str = ""
    """Commit of the code that made it, with "+" when the work tree had changes."""
    machine: str = ""
    """Kinds of processors, with versions of torch and numpy, that its steps ran on; empty: not known, or with a GPU."""
    status: Status = "ok"
    """What became of this run."""
    error: str = ""
    """Traceback or message when the run failed."""

    @model_validator(mode="after")
    def _scored(self) -> "SeedResult":
        if self.status == "ok" and not self.scores:
            raise ValueError("a seed with status 'ok' needs scores")
        return self

    def value(self, score: str) -> float | None:
        """Return a score by its name: "AP" of the set, "AP/car" of a class; None where it is undefined or not there."""
        key, _, name = score.partition("/")
        return self.classes.get(name, {}).get(key) if name else self.scores.get(key)


class Row(Record):
    """One line of a table, published or measured, with everything a reader must know to trust it."""

    suite: str
    """Suite (question) the row belongs to; "published" for numbers read from papers."""
    name: str
    """Identity of the row inside its suite, readable, such as "oneformer-swin-none"; `check` matches rows by it."""
    profile: str
    """Profile it was measured under; "published" for numbers read from papers."""
    section: str = ""
    """Group of rows it stands in; a table draws a rule between sections."""
    method: str
    """Method as printed."""
    backbone: str = ""
    """Backbone as printed."""
    segmenter: str = ""
    """Name of the segmenter part that was trained."""
    generator: str = ""
    """Name of the generator part that made the added images, or that adds none."""
    generator_label: str = ""
    """That generator as printed."""
    role: Literal["", "baseline", "control", "generator"] = ""
    """What the generator is in the comparison: real frames alone, a control, or a method; empty for printed rows."""
    compared_with: dict[str, str] = Field(default_factory=dict)
    """What the row is compared with: name of another generator to what the difference is called."""
    expects: Literal["", "none", "gain"] = ""
    """The known truth of a control's first difference; empty: it is not known."""
    recipe: str = ""
    """Name of the synthesis recipe; empty for real frames alone."""
    recipe_label: str = ""
    """That recipe as printed; empty where the suite leaves it to the profile."""
    mix: str = ""
    """How real and synthetic frames were mixed, as printed; empty: all of them take turns."""
    labels: Literal["true", "shuffled"] = "true"
    """shuffled: each training frame carried the labels of another one."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Keys of parts that were set on the command line, with their values; rows with other settings don't compare."""
    crop: tuple[int, int] | None = None
    """Training crop, height and width in pixels."""
    origin: Origin = "measured"
    """published: printed by the authors of the method; reproduced: printed by others; measured: by this harness."""
    mark: str = ""
    """Footnote mark of the row, such as a dagger for results quoted from elsewhere."""
    status: Status = "ok"
    """Whether there is a number, and why not."""
    scores: Scores = Field(default_factory=dict)
    """Metric name to value; the mean over seeds where there are seeds."""
    seeds: tuple[SeedResult, ...] = ()
    """The runs behind a measured row, ordered by seed."""
    paper: Scores = Field(default_factory=dict)
    """Scores of the published counterpart; empty where there is none."""
    paper_name: str = ""
    """Name of that published row."""
    budget: Budget = Budget()
    """What the training could use."""
    cost: Cost = Cost()
    """What it cost."""
    images: NonNegativeInt | None = None
    """Number of evaluated images."""
    data: str = ""
    """Key of the dataset the row was evaluated on; rows on different data don't compare."""
    signature: str = ""
    """Metric signature: how the scores were made."""
    note: str = ""
    """Free text shown as a footnote: why a row failed, what a mark means."""
    source: str = ""
    """Where a published number is printed."""

    @model_validator(mode="after")
    def _consistent(self) -> "Row":
        if self.status == "ok" and not self.scores:
            raise ValueError(f"row {self.name!r} has status 'ok' and no scores")
        if self.seeds:
            numbers = [run.seed for run in self.seeds]
            if numbers != sorted(set(numbers)):
                raise ValueError(f"row {self.name!r}: seeds {numbers} are not ordered and distinct")
            for metric, mean in mean_scores(self.seeds).items() if self.status == "ok" else ():
                if not _close(self.scores.get(metric), mean):
                    found = self.scores.get(metric)
                    raise ValueError(f"row {self.name!r}: {metric} is {found}, but the mean over its seeds is {mean}")
        return self

    def measurement(self, score: str) -> "Measurement":
        """Mean, spread and count of "AP", or of a class as "AP/car", over the finished seeds; or the printed number."""
        runs = finished(self.seeds)
        if not runs:
            return Measurement(mean=self.scores.get(score), std=None, n=0 if self.scores.get(score) is None else 1)
        values = [value for run in runs if (value := run.value(score)) is not None]
        if self.status != "ok" or len(values) < len(runs):
            return Measurement(mean=None, std=None, n=0)
        mean = self.scores[score] if score in self.scores else statistics.fmean(values)
        return Measurement(mean=mean, std=statistics.stdev(values) if len(values) > 1 else None, n=len(values))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A score over seeds: `std` is the sample standard deviation (ddof 1), None with fewer than two seeds."""

    mean: float | None
    std: float | None
    n: int


class RowFile(Record):
    """A rows file holds the rows of a suite and the version of its format."""

    format: int = ROWS_FORMAT
    """Version of this format."""
    rows: tuple[Row, ...]
    """Rows in the order of the suite."""


def finished(seeds: Iterable[SeedResult]) -> list[SeedResult]:
    """The runs that ended with scores."""
    return [run for run in seeds if run.status == "ok"]


def competes(row: Row) -> bool:
    """Return whether a row may be better than others: controls and rows with shuffled labels are there to be compared
    with."""
    return row.role != "control" and row.labels == "true"


def mean_scores(seeds: Sequence[SeedResult]) -> Scores:
    """Mean of every metric over the finished runs; None where a metric is undefined in one of them."""
    runs = finished(seeds)
    metrics = list(dict.fromkeys(metric for run in runs for metric in run.scores))
    means: Scores = {}
    for metric in metrics:
        values = [value for run in runs if (value := run.scores.get(metric)) is not None]
        means[metric] = statistics.fmean(values) if len(values) == len(runs) else None
    return means


def to_json(rows: Iterable[Row], *, exclude: set[str] | None = None) -> str:
    """Return rows as text that `from_json` reads back equal; stable, and only fields that differ from their default."""
    body = {
        "format": ROWS_FORMAT,
        "rows": [row.model_dump(mode="json", exclude_defaults=True, exclude=exclude) for row in rows],
    }
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, path: Path | str = "rows") -> list[Row]:
    """Return the rows of a rows file; HarnessError names `path` and the key that is wrong."""
    try:
        data = parse_json(text)
    except ValueError as error:
        raise HarnessError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != ROWS_FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise HarnessError(f"{path}: expected a rows file of format {ROWS_FORMAT}, found {found!r}")
    return list(parse(RowFile, data, path).rows)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a rows file in one step."""
    write_text(path, to_json(rows))


def read_rows(path: Path) -> list[Row]:
    """Read a rows file."""
    try:
        return from_json(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: cannot be read: {error}") from None


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b))
