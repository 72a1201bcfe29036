"""This module initialises the weights of OneFormer and Mask2Former as their authors do.

transformers draws most of them from N(0, 0.02), the queries of OneFormer included: all queries then start alike, and a
network trained from scratch stays blind for hundreds of steps (it does not even fit one batch). Published weights are
not touched.
"""

import math

import torch
from torch import nn
from transformers import Mask2FormerForUniversalSegmentation, OneFormerForUniversalSegmentation


@torch.no_grad()
def as_the_authors(model: OneFormerForUniversalSegmentation | Mask2FormerForUniversalSegmentation) -> None:
    """Draw anew what transformers draws too small."""
    decoder, transformer = model.model.pixel_level_module.decoder, model.model.transformer_module
    nn.init.normal_(decoder.level_embed)
    for projection in decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
    for layer in decoder.encoder.layers:
        for linear in (layer.fc1, layer.fc2):
            nn.init.xavier_uniform_(linear.weight)
    pyramid = [block[0] for name, block in decoder.named_children() if name.startswith(("adapter_", "layer_"))]
    for convolution in (*pyramid, decoder.mask_projection):
        nn.init.kaiming_uniform_(convolution.weight, a=1)
    for module in transformer.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
    if isinstance(model, Mask2FormerForUniversalSegmentation):
        _default_linear(model.class_predictor)
        return
    queries = model.model.transformer_module.decoder
    for part in (queries.class_embed, queries.mask_embed, model.model.task_encoder):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                _default_linear(module)
    if model.model.text_mapper is not None and model.model.text_mapper.prompt_ctx is not None:
        nn.init.normal_(model.model.text_mapper.prompt_ctx.weight)


def _default_linear(linear: nn.Linear) -> None:
    """Return what torch draws for a linear layer that nobody initialises."""
    nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    bound = 1 / math.sqrt(linear.in_features)
    nn.init.uniform_(linear.bias, -bound, bound)
