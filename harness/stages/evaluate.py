"""The stage evaluate compares official result files with the ground truth of a split: scores, and what intervals
need."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.core.config import Grown, Specification
from harness.core.progress import Report
from harness.stages import Inputs

VERSION = 1


class EvaluateSpec(Specification, Grown):
    """This says what is evaluated, and how; the predictions come from the input."""

    NOT_IN_KEY: ClassVar[dict[str, Any]] = {"workers": True}
    LATER = frozenset({"metrics"})

    split: str = "val"
    workers: int = Field(default=1, ge=1)
    coco: bool = False
    metrics: list[str] = []
    """Metrics of plug-ins to compute too."""


def run(spec: EvaluateSpec, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Score what lies in inputs["predict"] (instances, semantic, panoptic) against inputs["dataset"].

    Writes scores.json, statistics.npz and anatomy.json; facts: the headline scores as fractions. Nothing is kept of an
    evaluation that was interrupted: it takes seconds, and starting over gives the same bytes.
    """
    from harness.core.errors import HarnessError
    from harness.metrics.evaluation import evaluate

    folders = {name: inputs["predict"] / name for name in ("instances", "semantic", "panoptic")}
    given = {name: folder for name, folder in folders.items() if folder.is_dir()}
    if not given:
        raise HarnessError(f"{inputs['predict']}: no predictions: expected one of {', '.join(folders)} in it")
    evaluation = evaluate(
        inputs["dataset"],
        spec.split,
        instances=given.get("instances"),
        semantic=given.get("semantic"),
        panoptic=given.get("panoptic"),
        coco=given.get("instances") if spec.coco else None,
        metrics=spec.metrics,
        workers=spec.workers,
        report=report,
    )
    evaluation.save(out)
    headline = {name: value for name, value in evaluation.scores.items() if value is None or isinstance(value, float)}
    return {"scores": headline, "n_images": evaluation.scores["n_images"], "signature": evaluation.scores["signature"]}
