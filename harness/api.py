"""Python programs use these functions: everything that `import harness` offers, with names that stay.

Each function does what the command of its name does, prints nothing, and raises `HarnessError` for bad input. Modules
that are slow to import are imported where they are used.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from harness.core.errors import HarnessError, UnknownNameError, near
from harness.core.progress import Report, silent
from harness.planning.changes import Changes, Setting, parse_setting
from harness.results.rows import Row, SeedResult

if TYPE_CHECKING:
    import pandas

    from harness.data.base import Dataset
    from harness.metrics.frame_statistics import Statistics
    from harness.metrics.intervals import Interval
    from harness.planning.new_part import NewPart, NewPredictions
    from harness.planning.plan import Plan
    from harness.running.watch import Event
    from harness.synthesis.manifest import ManifestEntry

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Scores(Mapping[str, float | None]):
    """The scores of predictions, by name, as fractions; None where one is undefined: `found["AP"]`.

    `scores`: the same as a mapping; `classes`: class to score to value, with `instances`, a count. `statistics` hold
    what the scores are made of, frame by frame.
    """

    scores: Mapping[str, float | None]
    classes: Mapping[str, Mapping[str, float | None]]
    n_images: int
    signature: str
    statistics: "Statistics" = field(repr=False, compare=False)

    def __getitem__(self, name: str) -> float | None:
        """Return a score; HarnessError with the nearest names for one that was not evaluated."""
        if name not in self.scores:
            raise UnknownNameError(f"no score {name!r}", hint=near(name, self.scores))
        return self.scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def interval(self, name: str) -> "Interval | None":
        """Return the 95 % interval of a score over images, for these predictions; it says nothing of other seeds."""
        from harness.metrics.intervals import interval

        return interval([self.statistics], name)

    def to_pandas(self) -> "pandas.DataFrame":
        """One line for the set and one for each class."""
        frame = _pandas().DataFrame.from_dict(
            {"all": dict(self.scores), **{name: dict(found) for name, found in self.classes.items()}}, orient="index"
        )
        return frame.rename_axis("class")


@dataclass(frozen=True)
class Synthesis:
    """A finished synthesis: its folder, what it counted, and an entry for every image that was asked for."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def entries(self) -> "list[ManifestEntry]":
        """The lines of its manifest."""
        from harness.synthesis.manifest import read_manifest

        return read_manifest(self.folder)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return one line for each entry."""
        return _pandas().DataFrame([entry.model_dump() for entry in self.entries])


@dataclass(frozen=True)
class Rows(Sequence[Row]):
    """Measured rows of a suite, a baseline or a file, with where their statistics lie.

    An index is a place or a name: `rows[0]`, `rows["focus/oneformer/swin"]`. `failed`: kind and label of each step that
    did not end, with its message.
    """

    name: str
    rows: tuple[Row, ...]
    statistics: Callable[[SeedResult], Path | None] = field(repr=False, compare=False)
    failed: Mapping[str, str] = field(default_factory=dict)
    reports: Path | None = None
    """The folder with tables and the HTML report, where a run wrote them."""

    @overload
    def __getitem__(self, index: int | str) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | str | slice) -> "Row | Rows":
        """Return the row at a place or of a name, or some of them; HarnessError for a name that there is not."""
        if isinstance(index, slice):
            return self._only(self.rows[index])
        if isinstance(index, int):
            return self.rows[index]
        found = [row for row in self.rows if row.name == index]
        if not found:
            known = [row.name for row in self.rows]
            raise UnknownNameError(f"{self.name} has no row {index!r}", hint=near(index, known))
        return found[0]

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, *names: str) -> "Rows":
        """The rows of these names, for a comparison."""
        return self._only(tuple(self[name] for name in names))

    def _only(self, rows: tuple[Row, ...]) -> "Rows":
        return Rows(self.name, rows, self.statistics, self.failed, self.reports)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return one line for each row and seed: names, status, budget, cost and scores, the latter as fractions."""
        lines = []
        for row in self.rows:
            about = {
                "row": row.name,
                "method": row.method,
                "generator": row.generator,
                "segmenter": row.segmenter,
                "backbone": row.backbone,
                "recipe": row.recipe,
                "mix": row.mix,
            }
            budget = row.budget.model_dump()
            for run in row.seeds or (SeedResult(seed=0, status=row.status, error=row.note),):
                lines.append({**about, "seed": run.seed, "status": run.status, **budget, **run.scores})
        return _pandas().DataFrame(lines)


@dataclass(frozen=True)
class Comparisons(Sequence[Any]):
    """This holds what `compare` found: one `harness.results.compare.Comparison` for each pair of rows and metric."""

    found: tuple[Any, ...]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Comparisons": ...
    def __getitem__(self, index: int | slice) -> Any:
        return Comparisons(self.found[index]) if isinstance(index, slice) else self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return one line for each comparison."""
        return _pandas().DataFrame([one.model_dump() for one in self.found])


def evaluate(
    data_root: PathLike,
    *,
    data: str = "cityscapes",
    split: str = "val",
    instances: PathLike | None = None,
    semantic: PathLike | None = None,
    panoptic: PathLike | None = None,
    coco: PathLike | None = None,
    metrics: Sequence[str] = (),
    workers: int = 1,
    report: Report = silent,
) -> Scores:
    """Score predictions in the official formats against the ground truth in `data_root`.

    `data` says what lies there: a name of configs/datasets. `instances`: a folder or a COCO result JSON; `semantic`,
    `panoptic`: folders; `coco`: masks for COCO's own mask AP. `metrics`: those of plug-ins, by name. `workers`:
    processes; from a script, more than one needs the usual `if __name__ == "__main__"`.
    """
    from harness.metrics.evaluation import evaluate as evaluated

    found = evaluated(
        _dataset(data, data_root),
        split,
        instances=_path(instances),
        semantic=_path(semantic),
        panoptic=_path(panoptic),
        coco=_path(coco),
        metrics=metrics,
        workers=workers,
        report=report,
    )
    named = {name: value for name, value in found.scores.items() if value is None or isinstance(value, float)}
    return Scores(named, found.scores["classes"], found.scores["n_images"], found.scores["signature"], found.statistics)


def synthesize(
    dataset: PathLike,
    output: PathLike,
    *,
    generator: str,
    data: str = "cityscapes",
    recipe: str = "corrected",
    profile: str = "mini",
    seed: int = 0,
    split: str = "train",
    top_k: int = 3,
    variants: int = 2,
    limit: int | None = None,
    frames: bool = False,
    report: Report = silent,
) -> Synthesis:
    """Repaint the instances of a data set into the folder `output`, which appears when it is whole.

    `generator` and `recipe` are names of parts, taken as `profile` has them. The same call goes on where one stopped.
    """
    from harness.inference.repaint_tree import synthesize as repaint

    facts = repaint(
        _dataset(data, dataset),
        Path(output),
        generator=generator,
        recipe=recipe,
        profile=profile,
        seed=seed,
        split=split,
        top_k=top_k,
        variants=variants,
        limit=limit,
        frames=frames,
        report=report,
    )
    return Synthesis(Path(output), facts)


def plan(
    suite: PathLike,
    *,
    profile: str = "mini",
    data_root: PathLike | None = None,
    recipe: str = "",
    seeds: int | Sequence[int] | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    added: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> "Plan":
    """Return the steps of a suite, with their keys; nothing is run.

    `seeds`: how many, or which. `only`, `without`, `added`: names of parts, as --only, --without and --with take them.
    `settings`: keys of parts, {"segmenters.oneformer.training.iterations": 500}.
    """
    from harness.planning.changes import seeds_of
    from harness.planning.plan import make_plan
    from harness.report import spec_of
    from harness.results.collect import check_published

    chosen = () if seeds is None else seeds_of(seeds)
    changes = Changes(
        recipe=recipe,
        only=_names(only),
        without=_names(without),
        added=_names(added),
        seeds=chosen,
        settings=tuple(_setting(key, value) for key, value in (settings or {}).items()),
    )
    root = None if data_root is None else Path(data_root).absolute()
    made = make_plan(os.fspath(suite), profile, data_root=root, changes=changes)
    spec_of(made.suite)
    check_published(made)
    return made


def run(
    suite: PathLike,
    *,
    profile: str = "mini",
    data_root: PathLike | None = None,
    store: PathLike | None = None,
    recipe: str = "",
    seeds: int | Sequence[int] | None = None,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    added: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    device: Literal["auto", "cpu"] = "auto",
    retry_failed: bool = False,
    tell: "Callable[[Event], None] | None" = None,
) -> Rows:
    """Make what is missing of a suite on this machine, and return its rows.

    Arguments as of `plan`; `store`: default HARNESS_STORE, else results/store. Steps run in processes of their own,
    `workers` at a time; `device` "cpu" keeps them off the GPUs. `tell` hears of every step that begins, goes on and
    ends. What failed is in `failed` of the rows and raises nothing; the same call tries it again.
    """
    from harness.core import upkeep
    from harness.planning.demands import refuse
    from harness.report.written import write_reports
    from harness.running.local import Local
    from harness.running.scheduler import heal
    from harness.running.scheduler import run as make

    made = plan(
        suite,
        profile=profile,
        data_root=data_root,
        recipe=recipe,
        seeds=seeds,
        only=only,
        without=without,
        added=added,
        settings=settings,
    )
    place = _store(store)
    tell = tell or (lambda event: None)
    heal(made, place, tell)
    refuse(made, place)
    failed: dict[str, str] = {}
    if missing := made.missing(place):
        place.open()
        upkeep.remember(place, made.folder, upkeep.RecordedRun(os.fspath(suite), profile, tuple(made.steps())))
        needs = made.profile.needs()
        if device == "cpu":
            needs = {kind: each.model_copy(update={"gpus": 0}) for kind, each in needs.items()}
        asked = make(
            made,
            place,
            launcher=Local(place, workers=workers),
            resources=needs,
            retry_failed=retry_failed,
            tell=tell,
        )
        failed = {f"{missing[key].kind} {missing[key].label}": each.message for key, each in asked.failed.items()}
    return _rows_of(made, place, failed, write_reports(made, place))


def rows(
    source: PathLike,
    *,
    profile: str = "mini",
    data_root: PathLike | None = None,
    store: PathLike | None = None,
    **changes: Any,
) -> Rows:
    """Return the rows that are there already: of a suite in a store, of a baseline, or of a rows file; nothing is run.

    `source`: as `harness compare` takes it, SUITE, FILE.json, and either with `:ROW`. `changes`: as of `plan`;
    of a file `only` and `without` alone.
    """
    from harness.results.sources import find

    found = find(
        os.fspath(source),
        _store(store),
        lambda suite: plan(suite, profile=profile, data_root=data_root, **changes),
        Changes(only=_names(changes.get("only", ())), without=_names(changes.get("without", ()))),
    )
    return Rows(found.name, tuple(found.rows), found.statistics)


def compare(
    first: "Rows | Scores | PathLike", second: "Rows | Scores | PathLike", *, metrics: Sequence[str] = ()
) -> Comparisons:
    """Return how `second` differs from `first`, metric by metric, with paired 95 % intervals.

    Of rows (or what `rows` takes): row by row, with what else differs between them; the interval is over images, and
    over seeds as far as rows of the kind say how much they matter. Of two `Scores`: over images alone, for these very
    predictions.
    """
    from harness.results.baselines import read_baselines
    from harness.results.compare import compare as compared
    from harness.results.paired import intervals

    if isinstance(first, Scores) or isinstance(second, Scores):
        if not (isinstance(first, Scores) and isinstance(second, Scores)):
            raise HarnessError("scores are compared with scores, and rows with rows")
        return Comparisons(tuple(_between(first, second, metrics)))
    one, two = (side if isinstance(side, Rows) else rows(side) for side in (first, second))
    accepted = [row for found in read_baselines() for row in found.rows]
    paired = intervals(lambda run: one.statistics(run) or two.statistics(run), [*one.rows, *two.rows], accepted)
    return Comparisons(tuple(compared(one.rows, two.rows, paired, metrics=metrics)))


def draw_dataset(output: PathLike, *, profile: str = "mini", report: Report = silent) -> Path:
    """Draw the data set of a profile into a folder, to make images of its frames; return the folder.

    The same call goes on in the same folder.
    """
    from harness.planning.new_part import draw_dataset as draw

    draw(profile, Path(output), report)
    return Path(output)


def import_images(
    folder: PathLike,
    name: str,
    *,
    profile: str = "mini",
    data_root: PathLike | None = None,
    label: str = "",
    window: Literal["", "focused", "frame"] = "",
    replace: bool = False,
    **options: Any,
) -> "NewPart":
    """Make a generator of the images or crops in a folder: configs/generators/<name>.toml of the working folder.

    `options`: images, labels, label_files, segments, crops, as of the part; left out, they are guessed from the names.
    """
    from harness.planning.new_part import new_generator

    return new_generator(
        Path(folder),
        name,
        dataset=_dataset_of(profile, data_root),
        options=options,
        label=label,
        window=window,
        replace=replace,
    )


def import_predictions(
    folder: PathLike,
    name: str,
    *,
    profile: str = "mini",
    data_root: PathLike | None = None,
    label: str = "",
    backbones: Sequence[str] = (),
    replace: bool = False,
    **model: Any,
) -> "NewPredictions":
    """Make a segmenter of the predictions in a folder: configs/segmenters/<name>.toml of the working folder.

    `folder` may hold {generator} and {backbone}; `model`: instances, semantic, panoptic, categories, as of the part.
    """
    from harness.planning.new_part import new_segmenter

    return new_segmenter(
        os.fspath(folder),
        name,
        dataset=_dataset_of(profile, data_root),
        model=model,
        label=label,
        backbones=backbones,
        replace=replace,
    )


def _between(first: Scores, second: Scores, metrics: Sequence[str]) -> Iterator[Any]:
    from harness.metrics.intervals import differences
    from harness.results.compare import HEADLINES, judged

    if first.signature != second.signature:
        raise HarnessError("the scores were made in different ways", hint=f"{first.signature} and {second.signature}")
    wanted = [name for name in metrics or HEADLINES if first.get(name) is not None and second.get(name) is not None]
    found = differences([second.statistics], [first.statistics], wanted)
    for name in wanted:
        before, after = first[name], second[name]
        assert before is not None and after is not None
        yield judged(("first", "second"), name, (before, after), found[name])


def _rows_of(made: "Plan", store: Any, failed: Mapping[str, str], reports: Path) -> Rows:
    from harness.results.collect import rows as collected
    from harness.results.collect import statistics_folder

    measured = tuple(row for row in collected(made, store) if row.origin == "measured")
    return Rows(made.name, measured, lambda run: statistics_folder(run, store), failed, reports)


def _store(given: PathLike | None) -> Any:
    from harness.core.paths import store_root
    from harness.core.store import Store

    return Store(store_root(None if given is None else os.fspath(given)))


def _dataset(data: str, root: PathLike) -> "Dataset":
    from harness.data.base import open_dataset
    from harness.planning.suite import load_dataset_part

    return open_dataset(load_dataset_part(data, "mini"), Path(root))


def _dataset_of(profile: str, root: PathLike | None) -> "Dataset":
    from harness.planning.new_part import dataset_of

    return dataset_of(profile, _path(root))


def _path(given: PathLike | None) -> Path | None:
    return None if given is None else Path(given)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _setting(key: str, value: Any) -> Setting:
    return parse_setting(f"{key}=0")._replace(value=value)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise HarnessError("pandas is not installed", hint="pip install 'harness[pandas]'") from None
    return pandas
