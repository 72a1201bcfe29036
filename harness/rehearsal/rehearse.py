"""The whole rehearsal of a plan: first what can be looked at, then each distinct part for a few steps.

What stops the plan is found within seconds and ends the rehearsal there; only a plan that could run is run for short.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from harness.core.environment import gpus
from harness.core.store import Store
from harness.data.base import Dataset, open_dataset
from harness.planning.plan import Plan, Step, chain
from harness.rehearsal import checks, costs, short
from harness.rehearsal.findings import Finding
from harness.rehearsal.parts import Network, Parts, of_plan
from harness.running.local import Local
from harness.running.scheduler import Event, run

Tell = Callable[[Finding], None]
FOLDER = "rehearsal"
"""Of the store: where the short run works; removed afterwards."""


def rehearse(
    plan: Plan,
    store: Store,
    *,
    stand_in: bool,
    tell: Tell = lambda finding: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Finding]:
    """All findings, each told as it is made. `stand_in`: whether random networks may take the place of missing
    checkpoints."""
    one = _Rehearsal(plan, store, stand_in, on_event)
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

    def __init__(self, plan: Plan, store: Store, stand_in: bool, on_event: Callable[[Event], None]) -> None:
        self.plan, self.store, self.stand_in, self.on_event = plan, store, stand_in, on_event
        self.dataset: Dataset = open_dataset(plan.dataset.spec, plan.dataset.external)
        self.parts: Parts = of_plan(plan)
        self.folder = store.root / FOLDER
        self.missing: set[str] = set()
        """Generators and networks, whose checkpoint isn't there."""
        self.shapes: dict[str, dict[str, Any]] = {}
        """Of networks, by name: what builds them again without weights."""
        self.speeds = costs.known_speeds(store)

    def look(self) -> Iterator[Finding]:
        """Packages, data, checkpoints, disk."""
        yield from checks.packages()
        yield from checks.data(self.dataset)
        for row in self.plan.rows:
            if row.why:
                yield Finding(about="row", name=row.arm.name, state="missing", said=row.why, remedy="see: harness list")
        parameters = dict(self.speeds.parameters)
        for finding, built in checks.checkpoints(self.parts, self.plan.labels, stand_in=self.stand_in):
            kind, _, name = finding.name.partition(" ")
            if finding.about == "checkpoint" and finding.state != "broken":
                self.missing.add(name)
            if kind == "segmenter" and built is not None:
                parameters[name] = sum(checks.counted(built).values())
                self.shapes[name] = built.shape
            yield finding
        yield from checks.weights_of_assessments(self.parts, stand_in=self.stand_in)
        self.speeds = self.speeds.model_copy(update={"parameters": parameters})
        yield checks.disk(self._costs(), self.store)

    def measure(self) -> Iterator[Finding]:
        """Memory of every training at full size, and on a GPU its speed."""
        from harness.data.mix import Mix, stream
        from harness.rehearsal import memory
        from harness.segmenters.options import Training
        from harness.segmenters.training import Trainable

        frames = stream(self.dataset, None, Mix(), 0)
        for name, network in self.parts.networks.items():
            training = network.part.training
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
            memory.free()

    def _built(self, name: str, network: Network) -> Any:
        """The network on the CPU at full size, at random."""
        part = network.part
        backbone = part.chosen(network.spec.backbone)
        return part.kind.build(backbone, part.model, self.plan.labels, shape=self.shapes[name])

    def _timed(self, name: str, built: Any, frames: Any, training: Any) -> Finding:
        from harness.rehearsal import memory

        speed = memory.speed(built, frames, training)
        found = self.speeds.megapixels_a_second | {name: speed.megapixels_a_second}
        self.speeds = self.speeds.model_copy(update={"megapixels_a_second": found})
        a_second = speed.megapixels_a_second / (training.crop[0] * training.crop[1] / 1e6)
        said = f"{a_second:.1f} images a second at full crop and batch, {speed.peak / 1e9:.1f} GB at most"
        return Finding(about="speed", name=f"segmenter {name}", state="fine", said=said)

    def play(self) -> Iterator[Finding]:
        """Each distinct part for short."""
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            data = short.tree(self.dataset, self.folder / "tree")
            made: dict[str, Step] = {}
            for name, step in self.parts.generators.items():
                lacking = name in self.missing
                made[name] = short.synthesis(step, data, self.folder / "stand-ins" / name, stand_in=lacking)
                yield from self._run(f"generator {name}", {made[name].key: made[name]}, lacking)
            for name, network in self.parts.networks.items():
                synthetic = next(
                    (made[g] for g, s in self.parts.generators.items() if network.train.inputs.get("synthesis") == s),
                    None,
                )
                lacking = name in self.missing
                steps = short.network(network, data, synthetic, stand_in=lacking)
                yield from self._run(f"segmenter {name}", steps, lacking)
                shutil.rmtree(self._store.root / "artifacts" / "train", ignore_errors=True)
            for name, step in self.parts.assessments.items():
                lacking = self.stand_in
                assess = short.assessment(step, made[name], stand_in=lacking)
                yield from self._run(f"metrics of {name}", {assess.key: assess}, lacking)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _store(self) -> Store:
        return Store(self.folder / "store")

    def _run(self, name: str, steps: dict[str, Step], lacking: bool) -> Iterator[Finding]:
        store = self._store
        store.open()
        outcome = run(short.Some(steps), store, launcher=Local(store, workers=1), tell=self.on_event)
        for step in steps.values():
            failure = outcome.failed.get(step.key)
            if failure is not None:
                said = failure.message if failure.kind != "input" else "not tried: a step before it failed"
                last = failure.traceback.strip().splitlines()[-1:] if failure.kind == "error" else []
                said = "; ".join(dict.fromkeys([said, *last]))
                yield Finding(
                    about=step.kind, name=name, state="broken", said=said, remedy=failure.hint or "see the log"
                )
                continue
            facts = store.manifest(step.kind, step.key)
            seconds, peak = facts["facts"]["wall_s"], facts["peak_memory_bytes"]
            said = f"{_WHAT[step.kind]} in {seconds:.0f} s, {peak / 1e9:.1f} GB"
            state = "stand-in" if lacking else "fine"
            said += ", by a random network" if lacking else ""
            yield Finding(about=step.kind, name=name, state=state, said=said)

    def sum_up(self) -> Iterator[Finding]:
        """Hours and the day it would end; what was measured is kept for `plan`."""
        costs.remember(self.store, self.speeds)
        yield hours(self._costs(), self.speeds)

    def _costs(self) -> costs.Costs:
        return of_missing(self.plan, self.store, self.dataset, self.speeds)


_WHAT = {
    "synthesize": "one crop painted and pasted",
    "train": "two steps",
    "predict": "one frame answered",
    "evaluate": "its answers scored",
    "assess": "one crop measured",
}


def of_missing(plan: Plan, store: Store, dataset: Dataset, speeds: costs.Speeds) -> costs.Costs:
    """What is still to be made of a plan takes."""
    names: dict[str, str] = {}
    for row in plan.rows:
        for final in row.finals.values():
            for step in chain(final):
                names[step.key] = (
                    row.arm.generator if step.kind == "synthesize" else f"{row.arm.segmenter}-{row.arm.backbone}"
                )
    return costs.costs(plan.missing(store).values(), dataset, names, speeds)


def hours(found: costs.Costs, speeds: costs.Speeds) -> Finding:
    """GPU hours, and the day on which they would be over."""
    unknown = [name for name, share in found.shares.items() if share.hours is None]
    known = sum(share.hours or 0.0 for share in found.shares.values())
    if unknown:
        kinds = sorted({name.partition(" ")[0] for name in unknown})
        said = f"not measured for {len(unknown)} steps ({', '.join(kinds)})"
        said += f"; {known:,.1f} GPU hours for the others" if known else ""
        remedy = "on a GPU: make gpu, or this command"
        return Finding(about="time", name="GPU hours", state="unknown", said=said, remedy=remedy)
    devices = max(len(gpus()), 1)
    end: date | None = found.ends(devices)
    device = speeds.device or "this device"
    said = f"{known:,.1f} GPU hours by the speeds of {device}; on {devices} from now on until {end}"
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
