"""Axial attention: the lean form is the naive one in outputs, gradients and statistics, cut into pieces or not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.segmenters.deeplab_backbones import attention_core
from harness.segmenters.deeplab_backbones.attention_core import AttentionLine
from harness.segmenters.deeplab_backbones.axial_attention import AxialAttention, AxialAttention2d
from harness.segmenters.deeplab_backbones.layers import norm_layer

NORM = norm_layer(eps=1e-3, momentum=0.1)


def attention(span=None, *, inputs=6, key=8, value=12, heads=2, distances=255):
    torch.manual_seed(0)
    layer = AxialAttention(inputs, key=key, value=value, heads=heads, span=span, distances=distances, norm=NORM)
    for norm in (layer.similarity_norm, layer.content_norm, layer.position_norm):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -1, 1)
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return layer


def naive(layer, x):
    """The equations of the paper, term by term: six maps, three batch norms on those that see each other."""
    batch, _, height, width = x.shape
    heads = layer.heads
    lines = layer.qkv(x).permute(0, 2, 1, 3).flatten(0, 1)
    q, k, v = (part.unflatten(1, (heads, -1)).transpose(2, 3) for part in lines.split(layer.sizes, 1))
    place = torch.arange(width)
    distance = place[None] - place[:, None]
    tables = (layer.query_position.weight, layer.key_position.weight, layer.value_position.weight)
    middle = len(tables[0]) // 2
    rq, rk, rv = (table[(distance + middle).clamp(0, 2 * middle)] for table in tables)
    maps = torch.stack(
        [
            torch.einsum("nhld,nhmd->nhlm", q, k),
            torch.einsum("nhld,lmd->nhlm", q, rq),
            torch.einsum("nhmd,lmd->nhlm", k, rk),
        ]
    )
    seen = torch.ones_like(distance, dtype=torch.bool)
    if layer.span is not None:
        seen = distance.abs() <= layer.span // 2
    values = maps[..., seen].permute(1, 0, 2, 3).flatten(1, 2)  # [N, 3 heads, pairs]
    normed = nn.functional.batch_norm(
        values,
        layer.similarity_norm.running_mean,
        layer.similarity_norm.running_var,
        layer.similarity_norm.weight,
        layer.similarity_norm.bias,
        layer.training,
        layer.similarity_norm.momentum,
        layer.similarity_norm.eps,
    )
    logits = torch.full_like(maps[0], -torch.inf)
    logits[..., seen] = normed.unflatten(1, (3, heads)).sum(1)
    weights = logits.softmax(-1)
    found = (torch.einsum("nhlm,nhmd->nhld", weights, v), torch.einsum("nhlm,lmd->nhld", weights, rv))
    content, places = (
        part.unflatten(0, (batch, height)).permute(0, 2, 4, 1, 3).reshape(batch, -1, height, width) for part in found
    )
    return layer.content_norm(content) + layer.position_norm(places)


def outcome(layer, run, x, seed):
    """Outputs, gradients of the input and of the parameters, and running statistics after one pass."""
    x = x.clone().requires_grad_()
    y = run(layer, x)
    torch.manual_seed(seed)
    (y * torch.randn(y.shape)).sum().backward()
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in layer.named_parameters()}
    buffers = {n: b for n, b in layer.named_buffers() if b.is_floating_point()}
    return {"output": y.detach(), "input gradient": x.grad, **gradients, **buffers}


def differences(first, second):
    """Largest difference of each part, relative to its largest value."""
    return {
        name: float((first[name] - second[name]).abs().max() / second[name].abs().max().clamp(min=1e-3))
        for name in second
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("span", [None, 5, 9, 65])
@pytest.mark.parametrize("width", [2, 4, 7, 19])
def test_the_lean_form_is_the_naive_one(width, span, training):
    torch.manual_seed(1)
    x = torch.randn(2, 6, 3, width)
    lean = outcome(attention(span).train(training), lambda layer, x: layer(x), x, 2)
    plain = outcome(attention(span).train(training), naive, x, 2)
    found = differences(lean, plain)
    found.pop("similarity_norm.bias")  # it has no effect: its gradient is zero in theory, noise in the naive form
    assert max(found.values()) < 1e-5, found


def test_what_a_head_adds_to_all_its_similarities_has_no_effect():
    x = torch.randn(2, 6, 3, 9)
    layer = attention().eval()
    before = layer(x)
    with torch.no_grad():
        layer.similarity_norm.bias += 3
        layer.similarity_norm.running_mean -= 2
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("span", [None, 7])
def test_pieces_give_what_the_whole_gives(monkeypatch, span):
    x = torch.randn(3, 6, 5, 11)
    whole = outcome(attention(span).train(), lambda layer, x: layer(x), x, 0)
    monkeypatch.setattr(attention_core, "LARGEST_MAP", 1000)
    pieces = outcome(attention(span).train(), lambda layer, x: layer(x), x, 0)
    assert max(differences(pieces, whole).values()) < 1e-5


def test_pieces_are_not_kept_for_the_backward_pass(monkeypatch):
    x = torch.randn(1, 6, 4, 256, requires_grad=True)

    def kept():
        """Floats of distinct storages that autograd holds after a forward pass."""
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            layer(x)
        return sum(storages.values())

    layer = attention().train()
    whole = kept()
    monkeypatch.setattr(attention_core, "LARGEST_MAP", 2**14)
    assert whole > 4 * 2 * 256 * 256  # the weights alone: lines x heads x queries x keys
    assert kept() < 0.1 * whole


def test_a_span_sees_its_neighbours_and_no_others():
    x = torch.randn(1, 6, 1, 20)
    layer = attention(5).eval()
    changed = x.clone()
    changed[..., 10] += 1
    moved = (layer(changed) - layer(x)).abs().amax((0, 1, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


def test_a_span_that_covers_the_row_is_global_attention():
    x = torch.randn(2, 6, 3, 12)
    assert torch.equal(attention(23).train()(x), attention(None).train()(x))
    assert not torch.equal(attention(21).train()(x), attention(None).train()(x))


def test_distances_beyond_the_table_share_its_last_rows():
    x = torch.randn(1, 6, 2, 9)
    few = attention(distances=4).eval()
    many = attention(distances=20).eval()
    with torch.no_grad():
        for name in ("query_position", "key_position", "value_position"):
            rows = (torch.arange(39) - 19).clamp(-3, 3) + 3
            getattr(many, name).weight.copy_(getattr(few, name).weight[rows])
    many.load_state_dict(few.state_dict() | {n: v for n, v in many.state_dict().items() if "position." in n})
    assert torch.allclose(few(x), many(x), atol=1e-6)


def test_a_stride_keeps_every_other_row_and_column():
    torch.manual_seed(0)
    options = {"key": 8, "value": 12, "heads": 2, "span": None, "distances": 255, "norm": NORM}
    strided, plain = (AxialAttention2d(6, stride=stride, **options).eval() for stride in (2, 1))
    plain.load_state_dict(strided.state_dict())
    x = torch.randn(1, 6, 9, 7)
    # The width attends after rows are dropped, and a row does not see the others then.
    assert torch.allclose(strided(x), plain(x)[:, :, ::2, ::2], atol=1e-5)


def test_height_and_width_are_the_same_attention_on_the_transposed_map():
    torch.manual_seed(0)
    layer = AxialAttention2d(12, stride=1, key=8, value=12, heads=2, span=None, distances=9, norm=NORM).eval()
    x = torch.randn(1, 12, 5, 6)
    assert torch.allclose(layer(x), layer.width(layer.height(x.mT).mT), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 40), half=st.integers(1, 20))
def test_a_line_counts_and_shows_the_pairs_in_reach(length, half):
    line = AttentionLine.of(length, 2 * half + 1)
    expected = np.abs(np.subtract.outer(np.arange(length), np.arange(length))) <= half
    assert line.pairs == expected.sum()
    hidden = line.hidden(torch.device("cpu"))
    if hidden is None:
        assert expected.all()
        return
    numbers = torch.arange(1, length + 1, dtype=torch.float32)[None, None, :, None]
    keys = line.keys_of(numbers)[0, 0, :, :, 0].long().tolist()
    queries = line.queries_of(numbers)[0, 0, :, :, 0].long().tolist()
    seen = {
        (query - 1, key - 1)
        for row, own, mask in zip(queries, keys, (~hidden).tolist(), strict=True)
        for query, shown in zip(row, mask, strict=True)
        for key, visible in zip(own, shown, strict=True)
        if visible and query
    }
    assert seen == set(zip(*np.nonzero(expected), strict=True))
