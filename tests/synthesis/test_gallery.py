"""The gallery pairs the same instance across syntheses, whatever else each of them made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.synthesis.gallery import write_gallery
from harness.synthesis.manifest import ManifestEntry, render

SIDE, GAP, TEXT, HEAD = 112, 8, 190, 58


def _synthesis(folder: Path, colours: dict[int, tuple[int, int, int]], *, variants: int = 2) -> Path:
    """One car per frame; frame number to the colour it is painted in."""
    entries = []
    for frame, colour in colours.items():
        source = f"aachen_{frame:06d}_000019"
        files = {name: f"crops/{name}/{source}.png" for name in ("real", "mask")}
        mask = np.zeros((30, 30), np.uint8)
        mask[8:-8, 8:-8] = 255
        images = {files["real"]: np.full((30, 30, 3), frame, np.uint8), files["mask"]: mask}
        for variant in range(variants):
            generated = f"crops/generated/{source}_{variant}.png"
            images[generated] = np.full((16, 16, 3), colour if variant == 0 else (1, 2, 3), np.uint8)
            entries.append(
                ManifestEntry(
                    status="made", name=f"aachen-26000-{variant}_{frame:06d}_000019", source=source, city="aachen",
                    instance=26000, variant=variant, class_name="car", label_id=26, area=9, box=(0, 0, 3, 3),
                    square=(0, 0, 30, 30), prompt="a photo of a red car", seed=1, generated=generated, **files,
                )
            )  # fmt: skip
        for name, image in images.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / name)
    (folder / "manifest.jsonl").write_text(render(entries))
    return folder


def _cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = HEAD + row * (SIDE + GAP), GAP + TEXT + column * (SIDE + GAP)
    return sheet[top : top + SIDE, left : left + SIDE]


def test_rows_are_shared_instances_and_columns_are_syntheses(tmp_path: Path) -> None:
    red, blue = (200, 10, 10), (10, 10, 200)
    one = _synthesis(tmp_path / "one", {10: red, 20: red, 30: red})
    two = _synthesis(tmp_path / "two", {20: blue, 30: blue, 40: blue})
    path = write_gallery({"GLIGEN": one, "Focus": two}, tmp_path / "gallery.png", title="Ablation")
    sheet = np.array(Image.open(path))
    assert sheet.shape == (HEAD + 2 * (SIDE + GAP), GAP + TEXT + 3 * (SIDE + GAP), 3)
    for row, frame in enumerate((20, 30)):
        real = _cell(sheet, row, 0)
        assert real[2, 2].tolist() == [frame] * 3
        assert real[SIDE // 2, SIDE // 2].tolist() == [frame] * 3  # only the outline is drawn, the inside is seen
        assert (real == (255, 0, 200)).all(axis=2).sum() > 150
        assert (_cell(sheet, row, 1) == red).all()
        assert (_cell(sheet, row, 2) == blue).all()


def test_at_most_count_instances(tmp_path: Path) -> None:
    one = _synthesis(tmp_path / "one", {frame: (9, 9, 9) for frame in range(10)})
    path = write_gallery({"one": one}, tmp_path / "gallery.png", title="t", count=4)
    assert Image.open(path).height == HEAD + 4 * (SIDE + GAP)


def test_a_synthesis_that_lacks_an_instance_leaves_its_place_empty(tmp_path: Path) -> None:
    """One that chooses its instances itself does not take those of the others away."""
    red, blue = (200, 10, 10), (10, 10, 200)
    one, two = _synthesis(tmp_path / "one", {1: red, 2: red}), _synthesis(tmp_path / "two", {1: blue, 2: blue})
    own = _synthesis(tmp_path / "own", {2: red, 3: red})
    sheet = np.array(Image.open(write_gallery({"A": own, "B": one, "C": two}, tmp_path / "g.png", title="t")))
    assert sheet.shape[0] == HEAD + 1 * (SIDE + GAP)
    assert (_cell(sheet, 0, 1) == red).all() and (_cell(sheet, 0, 3) == blue).all()
    apart = np.array(
        Image.open(write_gallery({"A": own, "B": _synthesis(tmp_path / "x", {7: blue})}, tmp_path / "h.png", title="t"))
    )
    assert apart.shape[0] == HEAD + 3 * (SIDE + GAP)
    assert (
        (_cell(apart, 0, 2) == 255).all() and (_cell(apart, 2, 1) == 255).all() and (_cell(apart, 2, 2) == blue).all()
    )


def test_without_any_instance_there_is_no_gallery(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no synthesis"):
        write_gallery({}, tmp_path / "gallery.png", title="t")
    assert not (tmp_path / "gallery.png").exists()


def test_headings_stay_over_their_columns():
    from PIL import ImageFont

    from harness.synthesis.gallery import _SIDE, _fitting

    for name in ("GLIGEN", "Recoloured instances", "W" * 60):
        assert ImageFont.load_default(12).getlength(_fitting(name)) <= _SIDE
    assert _fitting("GLIGEN") == "GLIGEN" and _fitting("Recoloured instances").startswith("Recoloured inst")
