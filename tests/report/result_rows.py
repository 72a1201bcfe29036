"""Result rows as a run leaves them, for the tests of tables, reports and checks."""

from typing import Any

from harness.core.config import parse
from harness.generators.base import GeneratorHead, compared_with
from harness.metrics.intervals import Difference
from harness.metrics.power import Spread
from harness.planning.suite import Profile, Suite, SuiteRows, SynthesisScale, load_part, names
from harness.results.published import published, published_row
from harness.results.rows import Budget, Cost, Row, SeedResult, mean_scores

SIGNATURE = "AP,AP50,IoU,PQ: Cityscapes definition"
TWINS = {"ConvNeXt (mini)": "mapillary-convnext-l", "Swin (mini)": "swin-l"}

PARTS = {name: parse(GeneratorHead, *load_part("generators", name, "mini")) for name in names("generators")}
"""The generators that are shipped, with their roles."""


_SYNTHESIS = SynthesisScale(recipe="corrected", seed=0, top_k=3, variants=2)
MINI = Profile(
    label="mini",
    caption="streets (embedded, procedural), tiny models trained from scratch",
    dataset="streets",
    seeds=[0],
    synthesis=_SYNTHESIS,
)
PAPER = Profile(
    label="paper", caption="Cityscapes val", comparable=True, dataset="cityscapes", seeds=[0], synthesis=_SYNTHESIS
)


def suite(title: str = "State-of-the-art comparison (OneFormer)", *, table: dict[str, Any] | None = None) -> Suite:
    """A suite of one row; the tables of tests have rows of their own."""
    rows = [SuiteRows(method="OneFormer", generator="none", segmenter="oneformer", backbone="swin")]
    return Suite(title=title, question="Does it?", rows=rows, table=table or {})


def run(
    seed: int = 0, *, pq: float = 0.30, iou: float = 0.45, ap: float = 0.22, ap50: float | None = 0.40
) -> SeedResult:
    """One evaluated seed."""
    return SeedResult(
        seed=seed,
        scores={"PQ": pq, "IoU": iou, "AP": ap, "AP50": ap50},
        classes={"car": {"AP": ap + 0.1, "instances": 120.0}, "train": {"AP": None, "instances": 0.0}},
        key=(key := f"{seed:04x}{round(ap * 1e6):08x}{round(pq * 1e6):08x}"),
        folder=f"artifacts/evaluate/{key}",
        commit="0123456789ab",
    )


def difference(low: float, high: float, metric: str = "AP") -> Difference:
    """A difference with the interval from `low` to `high`: half of its variance from images, half from seeds."""
    counts = {"n_images": 40, "n_units": 40, "n_seeds": (3, 3), "replicates": 1000, "undefined": 0.0}
    variance = ((high - low) / 4) ** 2
    parts = {"images": Spread(variance / 2, 39), "seeds": Spread(variance / 2, 16), "mixed": variance / 4}
    ends = {"value": (low + high) / 2, "low": low, "high": high, "std": variance**0.5}
    return Difference(metric=metric, sources="images and seeds", **ends, **parts, **counts)


def measured(
    *seeds: SeedResult,
    method: str = "OneFormer",
    label: str = "Original",
    generator: str = "none",
    backbone: str = "Swin (mini)",
    twin: str = "",
    **more: Any,
) -> Row:
    """A measured row beside the printed row `twin`; without seeds it is not built."""
    done = bool(seeds) and all(one.status == "ok" for one in seeds)
    part = PARTS.get(generator, GeneratorHead(label=label, adapter="identity"))
    fields: dict[str, Any] = {
        "role": part.role,
        "compared_with": compared_with(part, PARTS),
        "expects": (part.control and part.control.expects) or "",
        "suite": "table1",
        "name": f"{generator}/oneformer/{backbone.split()[0].lower()}",
        "profile": "mini",
        "section": "measured",
        "status": "ok" if done else "not built",
        "scores": mean_scores(seeds) if done else {},
        "budget": Budget(images_seen=2400, iterations=600, batch_size=4, real_images=96, synthetic_images=0),
        "cost": Cost(seconds=151.0, peak_memory_mb=1400.0),
        "images": 40,
        "data": "d0",
        "signature": SIGNATURE,
        "crop": (128, 256),
        "paper": published_row(twin).scores if twin else {},
        "paper_name": twin,
    }
    return Row(
        method=method,
        backbone=backbone,
        generator_label=label,
        segmenter="oneformer",
        generator=generator,
        seeds=seeds,
        **{**fields, **more},
    )


def quoted() -> list[Row]:
    """The four systems that the paper's Table 1 quotes."""
    return [row for row in published(1) if row.section == "quoted"]


def table1(*, seeds: int = 1, **more: Any) -> list[Row]:
    """Four quoted systems, then baseline, one generator, one that is not built, and the control, x 2 backbones."""
    rows = quoted()
    for place, backbone in enumerate(TWINS):
        up, twin = 0.011 * place, TWINS[backbone]
        baseline = [run(seed, ap=0.2210 + up + 0.004 * seed) for seed in range(seeds)]
        ours = [run(seed, ap=0.2634 + up - 0.003 * seed, pq=0.33) for seed in range(seeds)]
        focus = [run(seed, ap=0.2571 + up, iou=0.47) for seed in range(seeds)]
        synthetic = {"method": "InstSynth", "backbone": backbone, **more}
        rows += [
            measured(*baseline, backbone=backbone, twin=f"table1/oneformer/{twin}/original", **more),
            measured(
                *ours,
                label="DiffInpainting",
                generator="diff_inpainting",
                twin=f"table1/instsynth/{twin}/diffinpainting",
                **synthetic,
            ),
            measured(label="GLIGEN", generator="gligen", twin=f"table1/instsynth/{twin}/gligen", **synthetic),
            measured(*focus, label="Focused crop only", generator="focus", **{**synthetic, "method": "Control"}),
        ]
    return rows
