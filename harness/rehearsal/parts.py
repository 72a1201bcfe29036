"""This module lists the distinct parts of a plan: each generator, network and assessment once, with its steps."""

from dataclasses import dataclass, field
from typing import NamedTuple, cast

from harness.planning.plan import Plan, Step, chain
from harness.segmenters.base import SegmenterPart
from harness.stages.synthesize import SynthesisSpec
from harness.stages.train import TrainSpec


class NetworkSteps(NamedTuple):
    """A segmenter on one of its backbones: the steps of one of its rows, if possible of one with synthetic frames."""

    train: Step
    predict: Step
    evaluate: Step

    @property
    def spec(self) -> TrainSpec:
        """The specification of its training."""
        return cast(TrainSpec, self.train.spec)

    @property
    def part(self) -> SegmenterPart:
        """The segmenter, of whose backbones only this one is left."""
        return self.spec.segmenter


@dataclass(kw_only=True)
class PlanParts:
    """This holds the distinct parts of a plan by name: "gligen", "oneformer-swin"."""

    generators: dict[str, Step] = field(default_factory=dict)
    networks: dict[str, NetworkSteps] = field(default_factory=dict)
    assessments: dict[str, Step] = field(default_factory=dict)


def of_plan(plan: Plan) -> PlanParts:
    """Return the distinct parts of what can be run."""
    found = PlanParts()
    for row in plan.rows:
        for final in row.finals.values():
            steps = {step.kind: step for step in chain(final)}
            if "synthesize" in steps:
                found.generators.setdefault(row.arm.generator, steps["synthesize"])
            if "assess" in steps:
                found.assessments.setdefault(row.arm.generator, steps["assess"])
            if "evaluate" in steps:
                name = f"{row.arm.segmenter}-{row.arm.backbone}"
                if name not in found.networks or "synthesis" not in found.networks[name].train.inputs:
                    found.networks[name] = NetworkSteps(steps["train"], steps["predict"], steps["evaluate"])
    return found


def generator_of(step: Step) -> SynthesisSpec:
    """Return the specification of a synthesis step."""
    return cast(SynthesisSpec, step.spec)
