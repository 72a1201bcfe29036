"""A rehearsal checks all that a plan needs, then runs each distinct part for a few steps.

What stops the plan is found within seconds and ends the rehearsal there; only a plan that could run is run for short.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

from harness.core import shortage
from harness.core.environment import gpus
from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.data.base import Dataset, open_dataset
from harness.planning import demands
from harness.planning.plan import Plan, Step
from harness.rehearsal import checks, short
from harness.rehearsal.findings import Finding, State
from harness.rehearsal.parts import NetworkSteps, PlanParts, of_plan
from harness.running.local import Local
from harness.running.scheduler import run

Tell = Callable[[Finding], None]
FOLDER = "rehearsal"
"""Of the store: where the short run works; removed afterwards."""


def rehearse(
    plan: Plan,
    store: Store,
    *,
    stand_in: bool,
    tell: Tell = lambda finding: None,
    doing: Callable[[str], None] = lambda text: None,
) -> list[Finding]:
    """Rehearse a plan; return all findings, each also given to `tell`. `stand_in`: random networks may replace missing
    checkpoints. `doing`: told what is looked at next, which may take a minute."""
    if plan.dataset.external is None:
        raise HarnessError(
            f"profile {plan.profile_name!r} draws its own data: there is nothing to rehearse",
            hint="`harness run` takes minutes; rehearse a profile of data on disk, as --profile paper",
        )
    one = _Rehearsal(plan, store, stand_in, doing)
    found: list[Finding] = []
    for look in (one.look, one.measure, one.play, one.sum_up):
        for finding in look():
            found.append(finding)
            tell(finding)
        if look == one.look and any(finding.stops for finding in found):
            break  # nothing is tried, and hours would be of a plan that can't run
    return found


class _Rehearsal:
    """What the parts of a rehearsal share."""

    def __init__(self, plan: Plan, store: Store, stand_in: bool, doing: Callable[[str], None]) -> None:
        self.plan, self.store, self.stand_in, self.doing = plan, store, stand_in, doing
        self.dataset: Dataset = open_dataset(plan.dataset.spec, plan.dataset.external)
        self.parts: PlanParts = of_plan(plan)
        self.folder = store.root / FOLDER
        self.missing: set[str] = set()
        """Generators and networks, whose checkpoint isn't there."""
        self.lacks_metrics = False
        """Whether a network of an image metric is stood in for."""
        self.shapes: dict[str, dict[str, Any]] = {}
        """Of networks, by name: what builds them again without weights."""
        self.speeds = demands.known_speeds(store)

    def look(self) -> Iterator[Finding]:
        """Packages, data, checkpoints, disk."""
        yield from checks.packages()
        yield from checks.data(self.dataset)
        for row in self.plan.rows:
            if row.why:
                yield Finding(about="row", name=row.arm.name, state="left out", said=row.why)
        parameters = dict(self.speeds.parameters)
        for finding, built in checks.checkpoints(self.parts, self.plan.labels, stand_in=self.stand_in):
            kind, _, name = finding.name.partition(" ")
            if finding.about == "checkpoint" and finding.state != "broken":
                self.missing.add(name)
            if kind == "segmenter" and built is not None:
                parameters[name] = sum(checks.counted(built).values())
                self.shapes[name] = built.shape
            yield finding
        for finding in checks.weights_of_assessments(self.parts, stand_in=self.stand_in):
            self.lacks_metrics = self.lacks_metrics or finding.state == "stand-in"
            yield finding
        self.speeds = self.speeds.model_copy(update={"parameters": parameters})
        yield checks.disk(self._demands(), self.store)

    def measure(self) -> Iterator[Finding]:
        """Memory of every training at full size, and on a GPU its speed."""
        from harness.data.mix import Mix, stream
        from harness.rehearsal import memory
        from harness.segmenters.options import Training
        from harness.segmenters.training import Trainable

        frames = stream(self.dataset, None, Mix(), 0)
        for name, network in self.parts.networks.items():
            training = network.part.training
            self.doing(f"one step of {name} at full size, to measure its memory")
            built = self._built(name, network)
            if not isinstance(built, Trainable) or not isinstance(training, Training):
                said = "trains itself: its memory is not measured"
                yield Finding(about="memory", name=f"segmenter {name}", state="unknown", said=said)
                continue
            needs = memory.of_training(built, frames, training)
            yield _memory(name, needs.state, needs.saved, training)
            if gpus():
                yield self._timed(name, built, frames, training)
            del built
            shortage.free()

    def _built(self, name: str, network: NetworkSteps) -> Any:
        """Return the network on the CPU at full size, at random."""
        part = network.part
        backbone = part.chosen(network.spec.backbone)
        return part.kind.build(backbone, part.model, self.plan.labels, shape=self.shapes[name])

    def _timed(self, name: str, built: Any, frames: Any, training: Any) -> Finding:
        import torch

        from harness.rehearsal import memory

        speed = memory.speed(built, frames, training)
        found = self.speeds.megapixels_a_second | {name: speed.megapixels_a_second}
        known = {"device": torch.cuda.get_device_name(0), "megapixels_a_second": found}
        self.speeds = self.speeds.model_copy(update=known)
        a_second = speed.megapixels_a_second / (training.crop[0] * training.crop[1] / 1e6)
        said = f"{a_second:.1f} images a second at full crop and batch, {speed.peak / 1e9:.1f} GB at most"
        return Finding(about="speed", name=f"segmenter {name}", state="fine", said=said)

    def play(self) -> Iterator[Finding]:
        """Run each distinct part for a few steps; yield what was found."""
        shutil.rmtree(self.folder, ignore_errors=True)
        broken = False
        for finding in self._played():
            broken = broken or finding.stops
            yield finding
        if not broken:  # else its logs are what a user looks at
            shutil.rmtree(self.folder, ignore_errors=True)

    def _played(self) -> Iterator[Finding]:
        data = short.tree(self.dataset, self.folder / "tree")
        made: dict[str, Step] = {}
        for name, step in self.parts.generators.items():
            lacking = name in self.missing
            crop = short.synthesis(step, data, self.folder / "stand-ins" / name, stand_in=lacking)
            yield from self._run(f"generator {name}", {crop.key: crop}, lacking)
            if self._store.has(crop.kind, crop.key):
                made[name] = crop
        for name, network in self.parts.networks.items():
            synthetic = next(
                (made.get(g) for g, s in self.parts.generators.items() if network.train.inputs.get("synthesis") == s),
                None,
            )
            lacking = name in self.missing
            steps = short.network(network, data, synthetic, stand_in=lacking)
            yield from self._run(f"segmenter {name}", steps, lacking)
            shutil.rmtree(self._store.root / "artifacts" / "train", ignore_errors=True)
        for name, step in self.parts.assessments.items():
            if name not in made:
                continue
            lacking = self.lacks_metrics
            assess = short.assessment(step, made[name], stand_in=lacking)
            yield from self._run(f"metrics of {name}", {assess.key: assess}, lacking or name in self.missing)

    @property
    def _store(self) -> Store:
        return Store(self.folder / "store")

    def _run(self, name: str, steps: dict[str, Step], lacking: bool) -> Iterator[Finding]:
        store = self._store
        store.open()
        self.doing(f"{', '.join(step.kind for step in steps.values())}: {name}")
        outcome = run(short.Some(steps), store, launcher=Local(store, workers=1), tell=lambda event: None)
        for step in steps.values():
            failure = outcome.failed.get(step.key)
            if failure is not None:
                said = failure.message if failure.kind != "input" else "not tried: a step before it failed"
                last = failure.traceback.strip().splitlines()[-1:] if failure.kind == "error" else []
                said = "; ".join(dict.fromkeys([said, *last]))
                yield Finding(
                    about=step.kind,
                    name=name,
                    state="broken",
                    said=said,
                    remedy=failure.hint or f"its log is in {store.root / 'logs'}",
                )
                continue
            facts = store.manifest(step.kind, step.key)
            seconds, peak = facts["facts"]["wall_s"], facts["peak_memory_bytes"]
            said = f"{_WHAT[step.kind]} in {seconds:.0f} s, {peak / 1e9:.1f} GB"
            state: State = "stand-in" if lacking else "fine"
            said += ", by a random network" if lacking else ""
            yield Finding(about=step.kind, name=name, state=state, said=said)

    def sum_up(self) -> Iterator[Finding]:
        """Hours and the day it would end; what was measured is kept for `plan`."""
        demands.remember(self.store, self.speeds)
        yield _hours(self._demands())

    def _demands(self) -> demands.Demands:
        return demands.demands(self.plan, self.store, self.speeds)


_WHAT = {
    "synthesize": "a crop painted and pasted",
    "train": "two steps",
    "predict": "one frame answered",
    "evaluate": "its answers scored",
    "assess": "one crop measured",
}


def _hours(found: demands.Demands) -> Finding:
    """GPU hours, and the day on which they would be over."""
    if found.hours is None:
        said = f"not measured for {found.unmeasured} steps"
        return Finding(about="time", name="GPU hours", state="unknown", said=said, remedy="on a GPU: this command")
    devices = max(len(gpus()), 1)
    end = date.today() + timedelta(hours=found.hours / devices)
    said = f"{found.hours:,.1f} by the speeds of {found.device}; begun now on {devices}, they end on {end}"
    return Finding(about="time", name="GPU hours", state="fine", said=said)


def _memory(name: str, state: float, saved: float, training: Any) -> Finding:
    """Memory of a training against that of the first GPU."""
    import torch

    height, width = training.crop
    total = state + saved
    said = (
        f"{total / 1e9:.1f} GB at {training.at_a_time} x {height} x {width}: weights, gradients and moments "
        f"{state / 1e9:.1f}, activations {saved / 1e9:.1f}"
    )
    if training.gradient_checkpointing:
        said += " and those of one block at a time, computed again"
    if not torch.cuda.is_available():
        return Finding(
            about="memory", name=f"segmenter {name}", state="unknown", said=f"{said}; no GPU to hold it here"
        )
    room = torch.cuda.get_device_properties(0).total_memory
    if total > room:
        remedy = "training.accumulate cuts a batch into parts, training.gradient_checkpointing keeps fewer activations"
        said = f"{said}; the GPU has {room / 1e9:.1f}"
        return Finding(about="memory", name=f"segmenter {name}", state="broken", said=said, remedy=remedy)
    return Finding(about="memory", name=f"segmenter {name}", state="fine", said=f"{said} of {room / 1e9:.1f}")
