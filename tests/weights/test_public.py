"""The public checkpoints as they are known without having them."""

import pytest
import torch

from harness.core.config import read_toml
from harness.core.paths import CONFIGS
from harness.weights import public

NETWORKS = public._table().networks


LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(NETWORKS) if NETWORKS[name].millions > 500]
SMALL = [name for name in sorted(NETWORKS) if NETWORKS[name].millions <= 500]


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_each_network_has_the_published_number_of_parameters(name):
    """As model cards and papers round them, where they say a number."""
    with torch.device("meta"):
        network = public.empty(NETWORKS[name])
    counted = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert counted == pytest.approx(NETWORKS[name].millions, abs=0.06)
    said = {"unet-sd1": 860, "unet-sdxl": 2600, "flux-fill": 12000, "qwen-image": 20000, "t5-xxl": 4700}
    said |= {"clip-l": 123, "clip-big-g": 695, "controlnet-sd1": 361, "vae-4": 84}
    if name in said:
        assert counted == pytest.approx(said[name], rel=0.03)


def test_every_hub_id_that_a_generator_names_is_known():
    named = set()
    for path in (CONFIGS / "generators").glob("*.toml"):
        options = read_toml(path).get("options", {})
        named |= {options[key] for key in ("checkpoint", "controlnet") if key in options}
        named |= set(options.get("fallbacks", ()))
    assert named == set(public.generators())
