"""The stage dataset makes a data set. One that is found on disk is no step of any run."""

from pathlib import Path
from typing import Any

from harness.core.progress import Report
from harness.data.base import DatasetPart, open_dataset
from harness.stages import Inputs

DatasetSpec = DatasetPart
VERSION = 1
"""In no key: there stands the version of what the data set makes."""


def run(spec: DatasetPart, inputs: Inputs, out: Path, report: Report) -> dict[str, Any]:
    """Make the data set into `out`; facts: those of its `make`."""
    del inputs
    return open_dataset(spec, out).make(report)
