"""The plan turns the arms of a suite into steps, each once, with a key that is the hash of everything that decides its
result.

Cells share steps: three generators and four segmenters are three syntheses and twelve trainings. A training option
changes the keys from `train` on, so the synthesis is found again. Transport (workers, store, device) is in no key.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from harness.core import paths
from harness.core.config import Specification, Strict, parse
from harness.core.errors import HarnessError, NotBuiltError, near
from harness.core.registry import Registry
from harness.core.store import Store
from harness.data.base import DATASETS, Dataset, labels_key, open_dataset
from harness.data.labels import LabelSet
from harness.data.mix import Mix
from harness.generators.base import GENERATORS, GeneratorHead, GeneratorPart, Stock, compared_with
from harness.planning.changes import Changes, Parts
from harness.planning.keys import Keys, Texts, keys_of
from harness.planning.suite import Arm, Profile, Suite, arms, load_suite, names
from harness.segmenters.base import SEGMENTERS, SegmenterHead, SegmenterPart
from harness.segmenters.options import Training
from harness.stages import STAGES

if TYPE_CHECKING:
    from harness.stages.evaluate import EvaluateSpec
    from harness.stages.predict import PredictSpec
    from harness.stages.train import TrainSpec

Part = TypeVar("Part", bound=Strict)
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

NONE = "none"
"""The adapter of the generator part that adds nothing: arms with it have no synthesis."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step makes one artifact, or stands for a data set that is found on disk.

    `identity`: the key without the versions of the code: what is asked for, whoever makes it. `external`: it is not
    made but found there (a data set on disk).
    """

    kind: str
    label: str
    spec: Specification
    inputs: dict[str, "Step"]
    key: str
    identity: str = ""
    external: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """This holds a planned row of the table: an arm and the last step of each of its seeds.

    `compared_with`: name of another generator to what the difference is called. `segmenter` and `backbone` as printed.
    A row that can't be run has no steps, and `why` says what is missing. `stock`: what its generator has ready.
    `settings`: keys of its parts that are not as in the files, with their values.
    """

    arm: Arm
    generator: GeneratorHead
    compared_with: dict[str, str] = field(default_factory=dict)
    segmenter: str = ""
    backbone: str = ""
    finals: dict[int, Step] = field(default_factory=dict)
    why: str = ""
    stock: str = ""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan holds the rows of a suite under a profile. `changes`: what was asked for that stands in no file."""

    name: str
    suite: Suite
    profile_name: str
    profile: Profile
    dataset: Step
    labels: LabelSet
    rows: list[PlannedRow]
    changes: Changes = field(default_factory=Changes)

    @property
    def folder(self) -> str:
        """Return what the reports of the plan are called; a selection of its rows has a report of its own."""
        return f"{self.name}{self.changes.selection}-{self.profile_name}"

    def steps(self) -> dict[str, Step]:
        """Return every step once, inputs before what needs them."""
        found: dict[str, Step] = {}
        for row in self.rows:
            for final in row.finals.values():
                _collect(final, found, lambda step: True)
        return found

    def missing(self, store: Store) -> dict[str, Step]:
        """Return the steps to be made, inputs first. An input is made again only when something that needs it is
        missing.
        """
        found: dict[str, Step] = {}
        for row in self.rows:
            for final in row.finals.values():
                _collect(final, found, lambda step: not step.external and not store.has(step.kind, step.key))
        return found


def make_plan(
    suite_name: str,
    profile_name: str,
    *,
    data_root: Path | None = None,
    recipe: str = "",
    changes: Changes | None = None,
) -> Plan:
    """Return the plan of suites/<suite_name>.toml under a profile. `data_root`: the data set, for a profile that wants
    one on disk; else it is refused. Default: CITYSCAPES_DATASET, where one is wanted.

    `changes`: what is other than in the files; `recipe` alone is one of them. HarnessError for every unknown name, key
    or option, before anything runs.
    """
    changes = changes or Changes(recipe=recipe)
    parts = Parts(profile_name, changes.settings)
    profile = parts.profile()
    plan = _on(_dataset(profile, parts, data_root), suite_name, parts, profile, changes)
    parts.check_used()
    return plan


def make_plan_on_same_data(plan: Plan, suite_name: str) -> Plan:
    """Return the plan of another suite on the same data, under the same profile, recipe and settings."""
    changes = Changes(recipe=plan.changes.recipe, settings=plan.changes.settings)
    return _on(plan.dataset, suite_name, Parts(plan.profile_name, changes.settings), plan.profile, changes)


def _on(dataset: Step, suite_name: str, parts: Parts, profile: Profile, changes: Changes) -> Plan:
    data = open_dataset(dataset.spec, dataset.external)
    suite, labels = changes.seeded(load_suite(suite_name)), data.labels
    if profile.comparable and (lacking := data.shortfall()):
        caption = f"{profile.caption}, but not the whole of it: {lacking}"
        profile = profile.model_copy(update={"comparable": False, "caption": caption})
    if changes.recipe:
        parts.part("recipes", changes.recipe)  # a name that is unknown is told even where no row takes it
        profile = changes.on(profile)
    every = list(arms(suite))
    planned = changes.arms(every, parts)
    kept = set(planned)
    if gone := [arm for arm in every if arm not in kept]:
        suite = _without_counterparts(suite, gone, planned, parts)
    named = {name: _generator(name, parts) for name in dict.fromkeys(arm.generator for arm in planned)}
    name = Path(suite_name).stem
    builder = _Builder(
        name=name, profile=profile, parts=parts, suite=suite, dataset=dataset, data=data, generators=named
    )
    # A title that named the data itself would be wrong under every profile but one.
    title = ", ".join(filter(None, (f"{suite.title}, on {dataset.label}", changes.text)))
    return Plan(
        name=f"{name}{changes.suffix}",
        suite=suite.model_copy(update={"title": title}),
        profile_name=parts.profile_name,
        profile=profile,
        dataset=dataset,
        labels=labels,
        rows=[builder.row(arm) for arm in planned],
        changes=changes,
    )


def _without_counterparts(suite: Suite, gone: list[Arm], left: list[Arm], parts: Parts) -> Suite:
    """Return the suite without what it says of printed rows that only rows that are gone stand beside."""

    def called(rows: list[Arm]) -> set[str]:
        labels = {row.version or _generator(row.generator, parts).label for row in rows}
        return labels | {row.backbone or "" for row in rows}

    dropped = called(gone) - called(left)
    kept = {name: printed for name, printed in suite.counterparts.items() if name not in dropped}
    return suite.model_copy(update={"counterparts": kept})


def make_step(
    kind: str,
    label: str,
    spec: Specification,
    inputs: dict[str, Step],
    *,
    weights: str = "",
    version: int | None = None,
    texts: Texts | None = None,
) -> Step:
    """Return a step with its key: the hash of version, specification, keys of the inputs and `weights`.

    `weights` says which starting weights; of an evaluation, which signatures of plug-in metrics; of a data set, which
    labels. `version`: default that of the stage. `texts` remembers what the specifications of one plan share.
    """
    text = (texts or Texts()).of(spec)
    version = STAGES[kind].version if version is None else version
    read = {name: Keys(step.key, step.identity or step.key) for name, step in inputs.items()}
    key, identity = keys_of(kind, version, text, read, weights)
    return Step(kind=kind, label=label, spec=spec, inputs=inputs, key=key, identity=identity)


@dataclass(frozen=True, kw_only=True)
class _Builder:
    """This holds what all rows of one plan share. Each part is read, each weight file hashed and each synthesis planned
    once."""

    name: str
    """Of the suite."""

    profile: Profile
    parts: Parts
    suite: Suite
    dataset: Step
    data: Dataset
    generators: dict[str, GeneratorHead]
    texts: Texts = field(default_factory=Texts)
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """What `_once` made."""

    @property
    def labels(self) -> LabelSet:
        """Those of the data set."""
        return self.data.labels

    def row(self, arm: Arm) -> PlannedRow:
        generator = self.generators[arm.generator]
        row = PlannedRow(
            arm=arm,
            generator=generator,
            compared_with=self._once(self._compared, arm.generator),
            settings=self.parts.concerning(arm, arm.recipe or self.profile.synthesis.recipe),
        )
        segmenter = None
        if arm.segmenter:
            segmenter = self._part(SegmenterHead, "segmenters", arm.segmenter)
            row = replace(row, segmenter=segmenter.label, backbone=segmenter.chosen(arm.backbone).label)
        try:
            row = replace(row, finals=self._finals(arm, generator, segmenter))
            stock = self._stock(arm.generator) if generator.adapter != NONE else None
            return replace(row, stock=self._told(stock)) if stock else row
        except NotBuiltError as error:
            return replace(row, why=error.message)

    def _compared(self, generator: str) -> dict[str, str]:
        return compared_with(self.generators[generator], self.generators)

    def _finals(self, arm: Arm, generator: GeneratorHead, segmenter: SegmenterHead | None) -> dict[int, Step]:
        """Return the last step of each seed; NotBuiltError when the row needs what this version hasn't got."""
        if segmenter is not None:
            self._once(_require_segmenter, segmenter.adapter)
            part = self._part(SegmenterPart, "segmenters", arm.segmenter or "")
            if (runs := part.runs(arm.generator, arm.backbone or "")) is not None:
                return {seed: self._given(arm, part, folder, seed) for seed, folder in runs.items()}
        synthesis = None
        if generator.adapter != NONE:
            self._once(_require_generator, generator.adapter)
            if why := GENERATORS.load(generator.adapter).unfit(self.data):
                raise NotBuiltError(f"the generator adapter {generator.adapter!r} {why}")
            synthesis = self._added(arm.generator, arm.recipe or self.profile.synthesis.recipe)
        if segmenter is None:
            if synthesis is None:
                raise HarnessError(f"suite {self.suite.title!r}: generator {arm.generator!r} makes no images to assess")
            if synthesis.kind != "synthesize":
                raise NotBuiltError("whole images are given; image quality compares crops of instances")
            return {self.profile.synthesis.seed: self._assessment(arm, synthesis)}
        seeds = self.suite.seeds or self.profile.seeds
        return {seed: self._evaluation(arm, synthesis, seed) for seed in seeds}

    def _once(self, make: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        """`make(...)`, called the first time that this plan asks for it."""
        place = make.__qualname__, *arguments, *named.items()
        if place not in self.known:
            self.known[place] = make(*arguments, **named)
        return cast(Result, self.known[place])

    def _part(self, model: type[Part], kind: str, name: str) -> Part:
        return self._once(self._read_part, model, kind, name)

    def _read_part(self, model: type[Part], kind: str, name: str) -> Part:
        return parse(model, *self.parts.part(kind, name))

    def _added(self, name: str, recipe: str) -> Step:
        """Return the step that makes the frames which join the real ones."""
        generator = self._part(GeneratorPart, "generators", name)
        if generator.makes == "images":
            return self._once(self._images, name)
        return self._once(self._synthesis, name, recipe)

    def _synthesis(self, name: str, recipe: str) -> Step:
        from harness.stages.synthesize import SynthesisSpec
        from harness.synthesis import filters
        from harness.synthesis.recipe import Recipe

        generator = self._part(GeneratorPart, "generators", name)
        wanted = self.profile.synthesis
        rules = self._part(Recipe, "recipes", recipe)
        rules.check(self.labels)
        # What lies ready says itself which instances it is of, and how often.
        chosen = {} if self._stock(name) else {"top_k": wanted.top_k, "variants": wanted.variants}
        spec = SynthesisSpec(
            generator=generator,
            recipe=rules,
            seed=wanted.seed,
            split="train",
            limit=wanted.frames,
            weights=generator.fingerprint,
        ).model_copy(update=chosen)
        weights = spec.weights + filters.fingerprint(spec.recipe.filters)
        return make_step("synthesize", name, spec, {"dataset": self.dataset}, weights=weights)

    def _images(self, name: str) -> Step:
        from harness.stages.images import ImagesSpec

        generator, wanted = self._part(GeneratorPart, "generators", name), self.profile.synthesis
        self._stock(name)
        spec = ImagesSpec(
            generator=generator, seed=wanted.seed, split="train", limit=wanted.frames, weights=generator.fingerprint
        )
        return make_step("images", name, spec, {"dataset": self.dataset}, weights=spec.weights)

    def _stock(self, name: str) -> Stock | None:
        """Return what a generator has ready in files, its frames checked where those of the data set are known
        already."""
        return self._once(self._checked_stock, name)

    def _told(self, stock: Stock) -> str:
        """Return what there is, and that a profile takes but a part of it."""
        frames = self.profile.synthesis.frames
        return f"{stock.text}; of them those of the first {frames} train frames" if frames else stock.text

    def _checked_stock(self, name: str) -> Stock | None:
        stock = self._part(GeneratorPart, "generators", name).stock
        if stock and (known := self.data.names("train")) is not None:
            stock.check(self.data, known, "train")
        return stock

    def _given(self, arm: Arm, part: SegmenterPart, folder: Path, seed: int) -> Step:
        """Return the evaluation of predictions that were made elsewhere."""
        from harness.stages.predictions import PredictionsSpec, fingerprint

        label = _label(arm, "", seed)
        spec = PredictionsSpec(segmenter=part, folder=str(folder), split="val", files=fingerprint(folder))
        predictions = make_step("predictions", label, spec, {"dataset": self.dataset}, weights=spec.files)
        return self._scored(label, predictions)

    def _evaluation(self, arm: Arm, synthesis: Step | None, seed: int) -> Step:
        network = self._once(self._network, arm.segmenter or "", arm.backbone or "")
        # Real frames alone are the same stream however synthetic ones would join them: one training, not one per mix.
        mix = arm.mix if synthesis else Mix(labels=arm.mix.labels)
        label = _label(arm, mix.name, seed)
        inputs = {"dataset": self.dataset} | ({"synthesis": synthesis} if synthesis else {})
        training = network.train.model_copy(update={"mix": mix, "seed": seed})
        train = make_step("train", label, training, inputs, weights=network.weights, texts=self.texts)
        inputs = {"dataset": self.dataset, "train": train}
        return self._scored(label, make_step("predict", label, network.predict, inputs, texts=self.texts))

    def _scored(self, label: str, predict: Step) -> Step:
        evaluation, signatures = self._once(self._metrics)
        inputs = {"dataset": self.dataset, "predict": predict}
        return make_step("evaluate", label, evaluation, inputs, weights=signatures, texts=self.texts)

    def _network(self, name: str, backbone: str) -> "_Network":
        from harness.stages.predict import PredictSpec
        from harness.stages.train import TrainSpec

        segmenter = self._part(SegmenterPart, "segmenters", name)
        if isinstance(segmenter.training, Training) and not segmenter.training.project:
            training = segmenter.training.model_copy(update={"project": self.name})
            segmenter = segmenter.model_copy(update={"training": training})
        return _Network(
            train=TrainSpec(segmenter=segmenter, backbone=backbone, seed=0),
            predict=PredictSpec(segmenter=segmenter, backbone=backbone, split="val"),
            weights=segmenter.fingerprint(backbone),
        )

    def _metrics(self) -> "tuple[EvaluateSpec, str]":
        """Return what every evaluation of the suite computes, and the signatures of the metrics of plug-ins."""
        from harness.stages.evaluate import EvaluateSpec

        signatures = ""
        if self.suite.metrics:
            from harness.metrics.table import check_extra, load_metric

            check_extra(self.suite.metrics)
            signatures = " ".join(load_metric(name).signature for name in self.suite.metrics)
        return EvaluateSpec(split="val", metrics=self.suite.metrics), signatures

    def _assessment(self, arm: Arm, synthesis: Step) -> Step:
        from harness.stages import assess

        spec = self._part(assess.AssessSpec, "assessments", "image_quality")
        return make_step("assess", arm.generator, spec, {"synthesis": synthesis}, weights=assess.fingerprint(spec))


def _label(arm: Arm, mix: str, seed: int) -> str:
    """Return what the steps of one run are called."""
    said = (f"{arm.segmenter}-{arm.backbone} on {arm.generator}", mix, f"seed {seed}" if seed else "")
    return ", ".join(filter(None, said))


class _Network(NamedTuple):
    """A segmenter with one of its backbones: what its steps share."""

    train: "TrainSpec"
    predict: "PredictSpec"
    weights: str


def _generator(name: str, parts: Parts) -> GeneratorHead:
    data, path = parts.part("generators", name)
    part = parse(GeneratorHead, data, path)
    if part.control and part.control.minus not in names("generators"):
        raise HarnessError(
            f"{path}: key 'control.minus': there is no generator {part.control.minus!r}",
            hint=near(part.control.minus, names("generators")),
        )
    return part


def _require_generator(adapter: str) -> None:
    _require(GENERATORS, adapter)


def _require_segmenter(adapter: str) -> None:
    _require(SEGMENTERS, adapter)


def _require(registry: Registry[Any], adapter: str) -> None:
    if not registry.has(adapter):
        raise NotBuiltError(f"the {registry.kind} adapter {adapter!r} is not built")
    if why := registry.load(adapter).missing():
        raise NotBuiltError(f"the {registry.kind} adapter {adapter!r} is {why}")


def _dataset(profile: Profile, parts: Parts, data_root: Path | None) -> Step:
    part = parts.dataset(profile.dataset)
    _require(DATASETS, part.adapter)
    adapter = DATASETS.load(part.adapter)
    if not adapter.found:
        if data_root is not None:
            raise HarnessError(
                f"profile {parts.profile_name!r} draws its own {part.label}: nothing would be read from {data_root}",
                hint="leave --data-root out, or choose the profile of a data set on disk",
            )
        dataset = open_dataset(part, None)
        return make_step("dataset", part.label, part, {}, weights=labels_key(dataset.labels), version=adapter.VERSION)
    data_root = paths.data_root(data_root)
    if data_root is None:
        raise HarnessError(
            f"profile {parts.profile_name!r} needs {part.label} on disk, and no data root is given",
            hint=f"pass --data-root DIR or set CITYSCAPES_DATASET; DIR holds {adapter.LAYOUT}",
        )
    dataset = open_dataset(part, data_root)
    return Step(
        kind="dataset", label=part.label, spec=part, inputs={}, key=dataset.fingerprint()[:20], external=data_root
    )


def _collect(step: Step, found: dict[str, Step], wanted: Any) -> None:
    if step.key in found or not wanted(step):
        return
    for needed in step.inputs.values():
        _collect(needed, found, wanted)
    found[step.key] = step


def chain(step: Step) -> Iterator[Step]:
    """`step` and everything it is made from, inputs first, each once."""
    found: dict[str, Step] = {}
    _collect(step, found, lambda _: True)
    yield from found.values()
