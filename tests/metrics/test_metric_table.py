"""The table of metrics: every score once, classes behind it, plug-ins beside it."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from harness.core import registry
from harness.core.errors import HarnessError
from harness.core.registry import Registry
from harness.metrics import table
from harness.metrics.base import Metric
from harness.metrics.info import MetricInfo
from harness.metrics.table import METRICS, RESERVED, TABLE, check_extra, find, known, load_metric
from harness.quality import measurement
from harness.stages import assess


def info(key: str, **more) -> MetricInfo:
    return MetricInfo(**{"key": key, "label": key, "reads": "semantic", "direction": "up"} | more)


class Own(Metric):
    """A metric of a plug-in."""

    infos = (info("own", tolerance=0.1), info("own_things"))
    signature = "own"

    def observe(self, prediction, target):
        return {"n": np.ones((1, 1))}

    def score(self, statistics):
        return {"own": float(statistics["n"].sum())}


class Rival(Own):
    """Another one with a score of the same name."""

    infos = (info("own"),)


class Greedy(Own):
    infos = (info("AP"),)


class Slashed(Own):
    infos = (info("own/car"),)


class Mixed(Own):
    infos = (info("a"), info("b", reads="panoptic"))


class Crops(Own):
    infos = (info("a", reads="crops"),)


class Nameless(Own):
    infos = ()


@pytest.fixture
def installed(monkeypatch):
    """Entry points of these classes, as an installed package has them."""
    names = {"own": "Own", "rival": "Rival", "greedy": "Greedy", "slashed": "Slashed", "mixed": "Mixed"}
    names |= {"crops": "Crops", "nameless": "Nameless", "no_metric": "info", "broken": "Nothing"}
    points = [EntryPoint(name=n, value=f"{__name__}:{c}", group="harness.metrics") for n, c in names.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "harness.metrics" else [])
    monkeypatch.setattr(table, "METRICS", Registry("metric", METRICS.builtin, base=object))
    forget()
    yield
    forget()


def forget() -> None:
    table.load_metric.cache_clear()
    table._of_plugins.cache_clear()


def test_every_score_stands_once_and_is_one_that_its_class_gives():
    keys = [one.key for entry in TABLE for one in entry.infos]
    assert len(set(keys)) == len(keys) and not set(keys) & set(RESERVED)
    for entry in TABLE:
        if entry.place:
            metric = load_metric(entry.name)
            assert metric.infos == entry.infos
            assert metric.signature.startswith(entry.infos[0].key)


def test_a_score_of_a_class_is_known_as_that_of_the_set():
    assert find("IoU/car") is find("IoU")
    assert find("") is None and find("nothing") is None


def test_values_are_printed_in_their_unit():
    assert find("AP").printed(0.3846) == "38.46"
    assert find("PSNR").printed(-1.2, signed=True) == "−1.20"


def test_the_scores_of_image_quality_stand_in_the_table():
    recipe = measurement.Measurement(name="released", size=64, regions=("whole",))
    names = [name for metric in assess.AssessSpec().metrics for name in assess._names(metric, (recipe,))]
    assert {name for name in names if "." not in name} <= {one.key for one in known()}


def test_the_table_imports_no_array_library():
    code = "import sys, harness.metrics.table as t; t.known(); t.find('AP'); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_plug_in_brings_its_infos_and_broken_ones_do_not_stop_others(installed, caplog):
    assert find("own").tolerance == 0.1 and find("own_things") in known()
    left_out = [record.getMessage() for record in caplog.records]
    assert len(left_out) == 7 and any("'broken'" in text for text in left_out)
    check_extra(["own"], {"semantic": "there"})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["AP"], "the evaluation's own"),
        (["semantic"], "the evaluation's own"),
        (["own", "own"], "'own' stands twice"),
        (["own", "rival"], "'own' stands twice"),
        (["onw"], "unknown metric 'onw'"),
        (["greedy"], "can't call a score 'AP'"),
        (["slashed"], "holds a slash"),
        (["mixed"], "reads semantic, panoptic"),
        (["crops"], "reads crops"),
        (["nameless"], "must be a tuple of MetricInfo"),
        (["no_metric"], "does not derive from"),
        (["broken"], "can't be loaded"),
    ],
)
def test_what_is_no_extra_metric_is_an_error(installed, names, words):
    with pytest.raises(HarnessError, match=words):
        check_extra(names)


def test_a_metric_without_its_kind_of_prediction_is_an_error(installed):
    with pytest.raises(HarnessError, match="'own' reads semantic predictions, and none are given"):
        check_extra(["own"], {"panoptic": "there"})
