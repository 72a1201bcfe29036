"""A small label set for tests: three things, two of stuff, ids in an encoding of its own."""

from harness.data.labels import Label, LabelSet

FRUIT = LabelSet(
    name="fruit",
    labels=(
        Label(id=0, name="void"),
        Label(id=3, name="plum", train_id=2, category="fruit", is_thing=True, color=(120, 30, 120), mean_size=150.0),
        Label(id=1, name="apple", train_id=0, category="fruit", is_thing=True, color=(200, 30, 40), mean_size=300.0),
        Label(id=2, name="pear", train_id=1, category="fruit", is_thing=True, color=(160, 190, 40), mean_size=250.0),
        Label(id=8, name="nut", category="fruit", is_thing=True, color=(90, 60, 30)),
        Label(id=4, name="table top", train_id=3, category="ground", color=(150, 110, 70)),
        Label(id=5, name="grass", train_id=4, category="ground", color=(40, 140, 40)),
    ),
    divisor=256,
)
"""Ids and train ids differ, and one class with instances (nut) is ignored, as caravan is in Cityscapes."""
