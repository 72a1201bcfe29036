"""This module reads the rows of a plan from the store: what was measured, and why a row has no number.

The only bridge from artifacts to rows; `report` and `check` see rows alone. Reads manifests and scores, never images.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.core.config import read_json
from harness.core.errors import HarnessError, near
from harness.core.store import Store
from harness.metrics.info import SIGNATURE_JOINT
from harness.metrics.table import find
from harness.planning.plan import Plan, PlannedRow, Step, chain
from harness.results.published import published
from harness.results.rows import Budget, Cost, Row, SeedResult, Status, mean_scores
from harness.segmenters.options import Training
from harness.stages.predictions import PredictionsSpec
from harness.stages.train import TrainSpec

SCORES = "scores.json"
_PERCENT = 100


def rows(plan: Plan, store: Store) -> list[Row]:
    """Return the rows of `plan` in its order: first the printed ones that none of ours stands beside, then ours."""
    printed = published(plan.suite.published) if plan.suite.published is not None else []
    ours = [_row(plan, store, planned, printed) for planned in plan.rows]
    beside = {row.paper_name for row in ours}
    # Image quality has few enough rows to show them all.
    quoted = [row for row in printed if row.name not in beside or plan.suite.kind == "image_quality"]
    return [*quoted, *ours]


def syntheses(plan: Plan, store: Store) -> dict[str, Path]:
    """Return the finished syntheses of a plan: label of the generator to folder, in the order of the rows."""
    found = {}
    for planned in plan.rows:
        for step in (step for final in planned.finals.values() for step in chain(final)):
            if step.kind == "synthesize" and _made(step, store):
                found[planned.generator.label] = store.path(step.kind, step.key)
    return found


def statistics_folder(run: SeedResult, store: Store) -> Path:
    """Return where the per-image statistics of a run lie."""
    return store.root / run.folder


def _row(plan: Plan, store: Store, planned: PlannedRow, printed: list[Row]) -> Row:
    arm, part = planned.arm, planned.generator
    seeds = tuple(_seed(seed, final, store) for seed, final in sorted(planned.finals.items()))
    steps = {step.key: step for final in planned.finals.values() for step in chain(final)}
    done = {step.kind: store.manifest(step.kind, step.key) for step in steps.values() if _made(step, store)}
    counterpart = _counterpart(plan, planned, printed)
    status = _status(planned, seeds)
    recipe = "" if part.role == "baseline" else arm.recipe or plan.profile.synthesis.recipe
    return Row(
        suite=plan.name,
        name=arm.name,
        profile=plan.profile_name,
        section="measured",
        method=arm.method,
        backbone=planned.backbone,
        segmenter=arm.segmenter or "",
        generator=arm.generator,
        generator_label=_generator_label(planned),
        role=part.role,
        compared_with=planned.compared_with,
        expects=(part.control and part.control.expects) or "",
        recipe=recipe,
        recipe_label=arm.recipe or "",
        mix=arm.mix.model_copy(update={"labels": "true"}).name,
        labels=arm.mix.labels,
        settings=planned.settings,
        crop=_crop(steps.values()),
        status=status,
        scores=mean_scores(seeds) if status == "ok" else {},
        seeds=seeds,
        paper=counterpart.scores if counterpart else {},
        paper_name=counterpart.name if counterpart else "",
        budget=_budget(done.get("train"), steps.values()),
        cost=_cost(steps.values(), store),
        images=_images(seeds, planned, store),
        data=plan.dataset.key,
        signature=_signature(planned, store),
        note=planned.why or "; ".join(filter(None, (arm.note, planned.stock))),
    )


def _generator_label(planned: PlannedRow) -> str:
    return planned.generator.label if planned.arm.version is None else planned.arm.version


def _seed(seed: int, final: Step, store: Store) -> SeedResult:
    if not store.has(final.kind, final.key):
        failures = [f for step in chain(final) if (f := store.failure(step.kind, step.key))]
        if not failures:
            return SeedResult(seed=seed, status="not run")
        return SeedResult(seed=seed, status="failed", error=failures[0].traceback or failures[0].message)
    folder = store.intact(final.kind, final.key)
    manifest, scores = store.manifest(final.kind, final.key), _read(folder / SCORES)
    _refuse_impossible(folder / SCORES, _numbers(scores), manifest.get("facts", {}).get("scores", {}))
    environment = manifest["environment"]
    return SeedResult(
        seed=seed,
        scores=_numbers(scores),
        classes={name: _numbers(values) for name, values in (scores.get("classes") or {}).items()},
        key=final.key,
        folder=str(folder.relative_to(store.root)),
        commit=environment["commit"][:12] + ("+" if environment["dirty"] else ""),
        machine=_machines(final, store),
    )


def _machines(final: Step, store: Store) -> str:
    """Return the kinds of machine that the steps behind an evaluation ran on, as far as they decide the last digits of
    sums; empty where a GPU took part, whose sums differ from run to run, and where nobody wrote the processor down.
    """
    made = [step for step in chain(final) if _made(step, store)]
    described = [store.manifest(step.kind, step.key)["environment"] for step in made]
    if any(known.get("gpus") or "processor" not in known for known in described):
        return ""
    return ", ".join(dict.fromkeys(map(_machine, described)))


def _machine(environment: dict[str, Any]) -> str:
    versions = environment["packages"]
    return " ".join([environment["processor"], *(f"{name} {versions.get(name)}" for name in ("torch", "numpy"))])


def _status(planned: PlannedRow, seeds: tuple[SeedResult, ...]) -> Status:
    """A row has a number only when each of its seeds has one."""
    if not planned.finals:
        return "not built"
    states = {run.status for run in seeds}
    return "ok" if states == {"ok"} else "failed" if "failed" in states else "not run"


def check_published(plan: Plan) -> None:
    """Raise HarnessError for an unknown printed table, or a counterpart that neither the suite nor it knows."""
    suite = plan.suite
    if suite.published is None:
        if suite.counterparts:
            raise HarnessError(f"suite {plan.name}: key 'counterparts': no key 'published' says of which table")
        return
    printed = published(suite.published)
    ours = {planned.arm.backbone or "" for planned in plan.rows} | {_generator_label(planned) for planned in plan.rows}
    theirs = {row.backbone for row in printed} | {row.generator_label for row in printed}
    folded = {name.casefold() for name in theirs}
    for mine, counterpart in suite.counterparts.items():
        if mine not in ours:
            raise HarnessError(
                f"suite {plan.name}: key 'counterparts.{mine}': no row has such a backbone or generator",
                hint=near(mine, ours - {""}),
            )
        if counterpart.casefold() not in folded:
            raise HarnessError(
                f"suite {plan.name}: key 'counterparts.{mine}': table {suite.published} prints no {counterpart!r}",
                hint=near(counterpart, theirs - {""}),
            )


def _counterpart(plan: Plan, planned: PlannedRow, printed: list[Row]) -> Row | None:
    """Return the printed row of the same method, backbone and generator; papers print no other recipe or mix."""
    arm, names, label = planned.arm, plan.suite.counterparts, _generator_label(planned)
    if arm.recipe or arm.mix.name:
        return None
    wanted = (arm.method, names.get(arm.backbone or "", ""), names.get(label, label).casefold())
    for row in printed:
        if (row.method, row.backbone, row.generator_label.casefold()) == wanted and row.section != "quoted":
            return row
    return None


def _crop(steps: Iterable[Step]) -> tuple[int, int] | None:
    """Return the training crop; None for a segmenter whose training has none of its own."""
    for step in steps:
        if isinstance(step.spec, TrainSpec) and isinstance(step.spec.segmenter.training, Training):
            return step.spec.segmenter.training.crop
    return None


def _budget(train: dict[str, Any] | None, steps: Iterable[Step]) -> Budget:
    """Return what the training used; of predictions made elsewhere what their part states."""
    for spec in (step.spec for step in steps if isinstance(step.spec, PredictionsSpec)):
        stated = spec.segmenter.training
        seen = stated.iterations * stated.batch_size
        return Budget(
            iterations=stated.iterations or None, batch_size=stated.batch_size or None, images_seen=seen or None
        )
    facts = (train or {}).get("facts", {})
    return Budget(**{name: facts[name] for name in Budget.model_fields if name in facts})


def _cost(steps: Iterable[Step], store: Store) -> Cost:
    manifests = [store.manifest(step.kind, step.key) for step in steps if _made(step, store)]
    if not manifests:
        return Cost()
    return Cost(
        seconds=round(sum(m["facts"]["wall_s"] for m in manifests), 1),
        gpu_seconds=_gpu_seconds(manifests),
        peak_memory_mb=round(max(m["peak_memory_bytes"] for m in manifests) / 2**20, 1),
    )


def _gpu_seconds(manifests: Iterable[dict[str, Any]]) -> float | None:
    """Return seconds of the steps that had a GPU; None where none had."""
    seconds = [m["facts"]["gpu_s"] for m in manifests if "gpu_s" in m["facts"]]
    return round(sum(seconds), 1) if seconds else None


def _images(seeds: tuple[SeedResult, ...], planned: PlannedRow, store: Store) -> int | None:
    for run, final in zip(seeds, planned.finals.values(), strict=True):
        if run.status == "ok":
            return _read(store.path(final.kind, final.key) / SCORES).get("n_images")
    return None


def _signature(planned: PlannedRow, store: Store) -> str:
    for final in planned.finals.values():
        if store.has(final.kind, final.key):
            signature = _read(store.path(final.kind, final.key) / SCORES).get("signature", "")
            return signature if isinstance(signature, str) else SIGNATURE_JOINT.join(signature.values())
    return ""


def _made(step: Step, store: Store) -> bool:
    return not step.external and store.has(step.kind, step.key)


def _numbers(values: dict[str, Any]) -> dict[str, float | None]:
    """Return the entries that are scores: numbers and nulls, no counts of images, no tables."""
    return {
        name: value
        for name, value in values.items()
        if name != "n_images" and (value is None or (isinstance(value, int | float) and not isinstance(value, bool)))
    }


def _read(path: Path) -> dict[str, Any]:
    again = f"remove {path.parent} and run again"
    scores = read_json(path, "file of scores", hint=again)
    if not isinstance(scores, dict):
        raise HarnessError(f"{path}: expected a table of scores, found {type(scores).__name__}", hint=again)
    return scores


def _refuse_impossible(path: Path, scores: dict[str, float | None], said: dict[str, Any]) -> None:
    """Raise HarnessError for a score that is not what the manifest says of it, or no share where it must be one."""
    again = f"remove {path.parent} and run again"
    for name, value in scores.items():
        if name in said and said[name] != value:
            raise HarnessError(f"{path}: {name} is {value}, the manifest says {said[name]}", hint=again)
        info = find(name)
        if value is not None and info is not None and info.scale == _PERCENT and not 0 <= value <= 1:
            raise HarnessError(f"{path}: {name} is {value}, expected a share from 0 to 1", hint=again)
