"""The exports write annotations in other formats: COCO instance and panoptic JSON, and data sets for detectron2.

coco.py writes them, outlines.py draws exact polygons, registration.py makes them known to detectron2 (it is also the
file register.py of an export, so it imports nothing of the harness). No torch here.
"""

from harness.export.registration import register

__all__ = ["register"]
