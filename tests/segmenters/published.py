"""Tiny checkpoints in the layouts of published ones: names of tensors as older and newer versions of transformers write
them, safetensors or .bin, folders and complete caches of the hub.

`oneformer` is shi-labs/oneformer_cityscapes_swin_large without its size, `mask2former` is
facebook/mask2former-swin-large-cityscapes-instance and -panoptic, `classifier` is a Swin of microsoft, a ConvNeXt of
facebook, a ResNet of microsoft, `timm` a ResNet of timm.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 2], "window_size": 4}
CONVNEXT = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1], "layer_type": "bottleneck"}
FAMILIES = {"swin": SWIN, "convnext": CONVNEXT, "resnet": RESNET}
SIZES = {
    "hidden_dim": 64,
    "encoder_layers": 1,
    "decoder_layers": 3,
    "num_attention_heads": 2,
    "encoder_feedforward_dim": 64,
    "dim_feedforward": 64,
}
_OLD = [
    (r"attention\.q_proj", "attention.self.query"),
    (r"attention\.k_proj", "attention.self.key"),
    (r"attention\.v_proj", "attention.self.value"),
    (r"attention\.o_proj", "attention.output.dense"),
    (r"attention\.relative_position_bias\.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
]
"""Swin's names in transformers 5 and before."""


def oneformer(
    folder: Path,
    *,
    names: str = "new",
    file: str = "safetensors",
    text: bool = False,
    family: str = "swin",
    classes: int = 19,
) -> nn.Module:
    """A whole OneFormer, for Cityscapes' classes by default; published ones have no text branch."""
    from transformers import CONFIG_MAPPING, OneFormerConfig, OneFormerForUniversalSegmentation

    backbone = CONFIG_MAPPING[family](**FAMILIES[family], out_features=STAGES)
    more = {"conv_dim": 64, "mask_dim": 64, "query_dec_layers": 1, "text_encoder_width": 64, "text_encoder_n_ctx": 2}
    config = OneFormerConfig(
        backbone_config=backbone, num_queries=12, is_training=text, text_encoder_num_layers=1, **SIZES, **more
    )
    return _whole(folder, OneFormerForUniversalSegmentation, config, classes, names, file)


def mask2former(folder: Path, *, classes: int, names: str = "new", file: str = "safetensors") -> nn.Module:
    """A whole Mask2Former with Swin: 8 classes for instances, 19 for panoptic segmentation; 200 queries."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    backbone = SwinConfig(**SWIN, out_features=STAGES)
    config = Mask2FormerConfig(
        backbone_config=backbone, num_queries=200, feature_size=64, mask_feature_size=64, **SIZES
    )
    return _whole(folder, Mask2FormerForUniversalSegmentation, config, classes, names, file)


def classifier(folder: Path, family: str, *, names: str = "new", file: str = "safetensors") -> nn.Module:
    """An ImageNet classifier: the backbone has no norms of its four maps, and a head that nobody reads."""
    import transformers

    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family], num_labels=10)
    model = transformers.AutoModelForImageClassification.from_config(config)
    _drawn(model)
    state = model.state_dict()
    if names == "old" and family == "swin":
        state = _older(state)
    _write(folder, _plain(model.config.to_dict()), state, file)
    return model


def timm(folder: Path, *, file: str = "safetensors") -> nn.Module:
    """timm's ResNet-18: names of torchvision, and a config.json that knows no model type."""
    import torchvision

    torch.manual_seed(2)
    model = torchvision.models.resnet18(num_classes=10).eval()
    _drawn(model)
    _write(folder, {"architecture": "resnet18", "num_classes": 10, "pretrained_cfg": {}}, model.state_dict(), file)
    return model


def cached(folder: Path, home: Path, hub_id: str) -> None:
    """The files of `folder` as the hub library keeps them under HF_HOME."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    folder.rename(repository / "snapshots" / commit)


def copied(folder: Path) -> Path:
    """A copy of `folder` beside it."""
    copy = folder.with_name(f"{folder.name}-copy-{len(list(folder.parent.iterdir()))}")
    return Path(shutil.copytree(folder, copy))


def _whole(folder: Path, kind: Any, config: Any, classes: int, names: str, file: str) -> nn.Module:
    config.num_labels = classes
    torch.manual_seed(0)
    model = kind(config)
    _drawn(model)
    state = model.state_dict()
    if names == "old":
        state = {name.replace("encoder.swin.", "encoder."): value for name, value in _older(state).items()}
        state = {name: value for name, value in state.items() if "pixel_level_module.encoder.layernorm" not in name}
    _write(folder, _plain(model.config.to_dict()), state, file)
    return model.eval()


def _drawn(model: nn.Module) -> None:
    """Let no two tensors be alike by their first values: ones and zeros would hide what was not read."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
            if "class_embed.weight" in name or "class_predictor.weight" in name:
                value.mul_(20)
        for name, value in model.named_buffers():
            if "running" in name:
                value.add_(torch.rand_like(value))


def _older(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of Swin's tensors in versions of transformers before 5, with the index that they stored."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        older = name
        if "encoder.layers." in name and ".blocks." in name:
            for pattern, text in _OLD:
                older = re.sub(pattern, text, older)
            if older.endswith("relative_position_bias_table"):
                found[older.replace("bias_table", "index")] = torch.zeros(16, 16, dtype=torch.int64)
        found[older] = value
    return found


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def _write(folder: Path, config: dict[str, Any], state: dict[str, Tensor], file: str) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, default=str))
    whole = {name: value.detach().clone().contiguous() for name, value in state.items()}
    if file == "bin":
        torch.save(whole, folder / "pytorch_model.bin")
    else:
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
