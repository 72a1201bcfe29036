"""The package `cityscapesscripts` gives the labels of Cityscapes, so that the numbers are the benchmark's own.

Not here: the tree of files that Cityscapes lies in, which holds data sets of other labels too (tree).
"""

from cityscapesscripts.helpers.labels import labels as _official

from harness.data.labels import Label, LabelSet

_MEAN_SIZE = {
    "bicycle": 4672.3249222261,
    "caravan": 36771.8241758242,
    "motorcycle": 6298.7200839748,
    "rider": 3930.4788056518,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "car": 12794.0202738185,
    "person": 3462.4756337644,
    "truck": 27855.1264367816,
    "trailer": 16926.9763313609,
}
"""Mean instance size in pixels; constants of the benchmark (evalPixelLevelSemanticLabeling), from its training set."""

CITYSCAPES = LabelSet(
    name="cityscapes",
    labels=tuple(
        Label(
            id=label.id,
            train_id=label.trainId,
            name=label.name,
            category="" if label.category == "void" else label.category,
            is_thing=label.hasInstances,
            color=label.color,
            mean_size=_MEAN_SIZE.get(label.name),
        )
        for label in _official
    ),
    divisor=1000,
    void=0,
    border=(1, 2, 3),
)
"""The 34 labels and licence plate (-1): 19 are evaluated, of which the eight of ids 24..28, 31, 32 and 33 are things.

Border: ego vehicle, rectification border, out of roi.
"""
