"""Tiny checkpoints of generators in the layouts of published ones: files as older versions of the libraries wrote them,
and the names that a hub id has for a variant.

`older` is what masterful/gligen-1-4-inpainting-text-box and the mirrors of Stable Diffusion 2 look like.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

_VAE = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
"""The attention of the autoencoder in diffusers since 0.17 and before."""
_CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")


def older(folder: Path) -> list[str]:
    """Rewrite all networks and tokenizers below `folder`: pickles, old names, no tokenizer.json; what was renamed."""
    renamed = []
    for path in sorted(folder.rglob("*.safetensors")):
        kind = json.loads((path.parent / "config.json").read_text())
        kind = kind.get("_class_name") or kind["architectures"][0]
        state = {}
        for name, value in load_file(path).items():
            before = name
            if kind == "AutoencoderKL" and ".attentions." in name:
                for new, old in _VAE.items():
                    before = before.replace(new, old)
            if kind in _CLIP and not name.startswith(("text_model.", "text_projection")):
                before = f"text_model.{name}"
            state[before] = value
            renamed += [before] if before != name else []
        if kind in _CLIP:
            positions = next(v for n, v in state.items() if n.endswith("position_embedding.weight")).shape[0]
            state["text_model.embeddings.position_ids"] = torch.arange(positions)[None]
        stem = "diffusion_pytorch_model" if path.name.startswith("diffusion") else "pytorch_model"
        torch.save(state, path.with_name(f"{stem}.bin"))
        path.unlink()
    for path in folder.rglob("tokenizer.json"):
        if (path.parent / "merges.txt").is_file():
            path.unlink()
    return renamed


def as_variant(folder: Path, variant: str | None) -> None:
    """Give the files of weights the names of a variant: model.fp16.safetensors, pytorch_model.fp16.bin."""
    for path in [*folder.rglob("*.safetensors"), *folder.rglob("*.bin")] if variant else []:
        path.rename(path.with_name(f"{path.stem}.{variant}{path.suffix}"))
