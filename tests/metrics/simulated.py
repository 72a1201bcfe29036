"""Evaluations drawn at random from a world whose scores are known: frames of differing difficulty, two methods.

Both methods see the same frames and objects, as two trained networks do; so their scores go together.
"""

import numpy as np

from harness.data.cityscapes import CITYSCAPES
from harness.metrics.frame_statistics import Statistics

IDS = np.array([label.id for label in CITYSCAPES.things])
SHARE = np.array([0.30, 0.06, 0.40, 0.04, 0.03, 0.02, 0.03, 0.12])
"""How often a class occurs: buses and trains are rare, as on the street."""
STUFF = (7, 11, 21, 23)


def methods(rng: np.random.Generator, n_images: int) -> list[Statistics]:
    """Statistics of two methods on `n_images` new frames."""
    objects = rng.poisson(8, n_images) + 1
    image = np.repeat(np.arange(n_images), objects)
    class_ = rng.choice(len(IDS), len(image), p=SHARE)
    ids = IDS[class_] * 1000 + np.arange(len(image)) - np.repeat(np.cumsum(objects) - objects, objects)
    order = np.lexsort((ids, image))
    ids, class_ = ids[order], class_[order]
    easy, own = rng.normal(0, 1, n_images), rng.normal(0, 1, len(image))
    texture = rng.lognormal(9, 0.7, (n_images, len(STUFF))) * (rng.random((n_images, len(STUFF))) < 0.8)
    names = tuple(f"frame{i}" for i in range(n_images))
    result = []
    for better in (0.0, 0.1):
        ability = 0.7 * own + 0.5 * easy[image] + rng.normal(0, 0.7, len(image)) + better
        parts = _things(rng, image, ids, class_, ability, easy)
        parts |= {"semantic": _pixels(rng, texture, easy + better)}
        result.append(Statistics(images=names, cities=("a",) * n_images, labels=CITYSCAPES, parts=parts))
    return result


def _things(rng, image, ids, class_, ability, easy) -> dict:
    """Objects found with an IoU and a score by ability, and inventions: for AP and for PQ."""
    n_images = len(easy)
    found = np.flatnonzero(ability > -0.6)
    iou = _logistic(1.3 + 0.8 * ability[found] + rng.normal(0, 0.5, len(found)))
    invented = np.repeat(np.arange(n_images), rng.poisson(np.exp(1 - 0.3 * easy)))
    wrong = rng.choice(len(IDS), len(invented), p=SHARE)
    score = _logistic(
        np.concatenate((0.5 + 0.8 * ability[found], np.full(len(invented), -0.6)))
        + rng.normal(0, 1, len(found) + len(invented))
    )
    home, predicted = np.concatenate((image[found], invented)), np.concatenate((class_[found], wrong))
    order = np.argsort(home, kind="stable")
    place = np.argsort(order)
    objects, n = len(image), len(order)
    instances = {
        "gt_image": image.astype(np.int32),
        "gt_id": ids.astype(np.int32),
        "gt_area": np.full(objects, 1000, np.int32),
        "gt_truncated": np.zeros(objects, bool),
        "gt_metres": np.full(objects, -1.0),
        "gt_density": np.zeros(objects),
        "pred_image": home[order].astype(np.int32),
        "pred_class": predicted[order].astype(np.int8),
        "pred_score": score[order],
        "pred_area": np.full(n, 1000, np.int32),
        "pred_void": np.zeros(n, np.int32),
        "pair_gt": found.astype(np.int32),
        "pair_pred": place[: len(found)].astype(np.int32),
        "pair_pixels": (2000 * iou / (1 + iou)).astype(np.int32),
        "images": np.ones(n_images, np.int32),
    }
    panoptic = np.zeros((n_images, 19, 4))
    match = iou > 0.5
    missed = np.ones(objects, bool)
    missed[found[match]] = False
    at = 11 + class_  # things follow the eleven classes of stuff
    np.add.at(panoptic, (image[found[match]], at[found[match]], 0), iou[match])
    np.add.at(panoptic, (image[found[match]], at[found[match]], 1), 1)
    np.add.at(panoptic, (image[found[~match]], at[found[~match]], 2), 1)
    np.add.at(panoptic, (invented, 11 + wrong, 2), 1)
    np.add.at(panoptic, (image[missed], at[missed], 3), 1)
    return {"instances": instances, "panoptic": {"panoptic": panoptic}}


def _pixels(rng, texture, easy) -> dict:
    """Right pixels and those taken for the next class, by how easy the frame is."""
    share = _logistic(1.5 + 0.6 * easy[:, None] + rng.normal(0, 0.5, texture.shape))
    confusion = np.zeros((len(texture), 34, 34), np.int32)
    for place, label in enumerate(STUFF):
        confusion[:, label, label] = texture[:, place] * share[:, place]
        confusion[:, label, STUFF[place - 1]] = texture[:, place] * (1 - share[:, place])
    n = len(texture)
    return {"confusion": confusion, "instance": np.zeros((n, 8, 2)), "category": np.zeros((n, 2, 2))}


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
