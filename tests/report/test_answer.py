"""The answer in words and figures: gains with intervals, one seed, image quality beside gain."""

import re

from result_rows import difference, measured, run

from harness.metrics.intervals import Interval
from harness.report.answer import ONE_SEED, alone, looks, quality, section
from harness.results.gains import decompose


def test_an_answer_of_one_seed_without_intervals_says_why():
    names = ("none", "focus", "gligen")

    def answer(*seeds: int, known: bool = True) -> tuple[str, ...]:
        rows = [measured(*(run(seed) for seed in seeds), generator=name) for name in names]
        return section(decompose(rows, lambda *_: difference(0.01, 0.05) if known else None)).texts

    assert ONE_SEED not in answer(0)
    assert answer(0, known=False)[-1] == ONE_SEED
    assert answer(0) == answer(0, 1)
    assert ONE_SEED not in answer(0, 1, known=False)


def test_image_quality_stands_beside_gains_as_measured_not_as_printed():
    shown = {"none": ("Original", 0.20), "gligen": ("GLIGEN", 0.25), "blended": ("BlendedDiff", 0.22)}
    rows = [measured(run(ap=ap), generator=name, label=printed) for name, (printed, ap) in shown.items()]
    gains = decompose(rows, lambda *_: difference(0.01, 0.07))
    regions = {"FID (other).corrected.inside": 8.0, "SSIM.corrected.inside": 0.4}
    made = [
        measured(run(), generator=name).model_copy(
            update={"scores": {"SSIM": ssim, "FID (other)": 9.0, "KID": 1.0} | regions}
        )
        for name, ssim in (("gligen", 0.5), ("blended", 0.7), ("focus", 1.0))
    ]
    printed = [row.model_copy(update={"origin": "published", "scores": {"PSNR": 14.0}}) for row in made]
    drawn = quality(gains, [*printed, *made]).figures
    assert [re.search('aria-label="([^"]*)"', figure)[1] for figure in drawn] == [
        "BlendedDiff: SSIM 0.70: +2.00 AP points, 95 % interval +1.00 to +7.00",
        "GLIGEN: FID (other) 9.0000: +5.00 AP points, 95 % interval +1.00 to +7.00",
    ]
    assert drawn[0].count('class="whisker"') == 2 and "Focused" not in drawn[0]
    assert drawn[0].index("BlendedDiff: SSIM 0.70") < drawn[0].index("GLIGEN: SSIM 0.50")  # the best first
    assert "GLIGEN: SSIM 0.50: +5.00 AP points, 95 % interval +1.00 to +7.00" in drawn[0]


def test_rows_that_nothing_is_compared_with_show_their_intervals_and_no_answer():
    rows = [measured(run(ap=0.2642), label="real"), measured(run(ap=0.2), label="other")]
    counts = {"n_images": 9, "n_units": 9, "n_seeds": 1, "replicates": 100, "undefined": 0.0, "sources": "images"}
    known = Interval(metric="AP", value=0.2642, low=0.24, high=0.286, bias=0.0, std=0.01, **counts)
    found = alone(rows, lambda row, score: known if row is rows[0] and score == "AP" else None)
    assert found.lead.startswith("Cannot tell: no row here is compared with another. ")
    assert found.lead.endswith(" has the most: 26.42 % AP (24.00 to 28.60).")
    assert ">26.42 (24.00 to 28.60)<" in found.figures[0] and ">20.00<" in found.figures[0]
    assert alone([], lambda *_: None).empty


def test_a_suite_of_image_quality_shows_its_measures_with_units_and_leaves_out_what_nobody_measured():
    rows = [
        measured(run(), generator=name, label=name).model_copy(
            update={"scores": {"PSNR": psnr, "FID": None, "SSIM": 1}}
        )
        for name, psnr in (("gligen", 16.0), ("focus", None))
    ]
    text = looks(rows, "No: because.").figures[0]
    assert re.findall("<figcaption>([^<]*)</figcaption>", text) == [
        "Image quality",
        "PSNR (higher is better)",
        "SSIM (higher is better)",
    ]
    assert "16.00 dB" in text and text.count("–") >= 1
    assert looks([], "").empty
