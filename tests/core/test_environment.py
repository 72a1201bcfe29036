"""Sums come out the same whatever instructions a processor has, as far as one machine can show that."""

import os
import subprocess
import sys

import pytest

from harness.core import environment

SUMS = """
from harness.core.environment import pin_arithmetic
pin_arithmetic()
import hashlib, torch
torch.manual_seed(0)
torch.set_num_threads(1)
nn = torch.nn
layers = nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.GroupNorm(4, 32), nn.GELU(),
    nn.Conv2d(32, 32, 7, padding=3, groups=32), nn.Flatten(2), nn.Linear(288, 96), nn.Softmax(-1))
optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2, fused=True)
for step in range(3):
    loss = (layers(torch.randn(4, 3, 48, 96)).log() ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(b"".join(p.detach().numpy().tobytes()
    for p in layers.parameters())).hexdigest())
"""


def test_what_the_user_set_stays(monkeypatch):
    for name in environment.ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    environment.pin_arithmetic()
    assert os.environ["MKL_CBWR"] == "AVX2" and os.environ["ATEN_CPU_CAPABILITY"] == "avx2"
    assert environment.processor()


@pytest.mark.slow
def test_a_training_has_equal_bits_under_other_instructions():
    """MKL as on processors of 2008 and as on this one; what torch itself picks is pinned."""
    if " avx" not in environment.processor():
        pytest.skip("this processor has no AVX2")
    found = set()
    for instructions in ("SSE4_2", "AVX2", ""):
        variables = {name: value for name, value in os.environ.items() if name not in environment.ARITHMETIC}
        if instructions:
            variables["MKL_ENABLE_INSTRUCTIONS"] = instructions
        done = subprocess.run([sys.executable, "-c", SUMS], env=variables, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1 and found.pop().startswith("AVX2 ")
