"""A generator's weights are shipped with the harness, in a local folder, or on the hub; this module finds them.

    embedded:NAME      harness/weights/tiny/NAME, trained here
    a path             a folder in diffusers' layout (unet/, vae/, text_encoder/, tokenizer/, scheduler/)
    owner/name         a hub id; read from the local cache or fetched

Torch-free: the planner asks for fingerprints. Loading is in harness/generators/diffusion.py.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from harness.core.config import read_json
from harness.core.errors import HarnessError, NotBuiltError, near
from harness.core.files import hash_into
from harness.weights import TINY
from harness.weights.integrity import check_folder

EMBEDDED = "embedded:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint that is there (`folder`), or one that the hub library is to find (`hub_id`)."""

    name: str
    folder: Path | None = None
    hub_id: str | None = None
    revision: str | None = None

    def component(self, part: str) -> Path | None:
        """Folder of a component; parts that checkpoints share stand beside them. None where there is none."""
        if self.folder is None:
            return None
        for folder in (self.folder / part, self.folder.parent / part):
            if folder.is_dir():
                return folder
        return None


@dataclass(frozen=True, kw_only=True)
class Need:
    """A checkpoint that a part reads: the first of `names` that can be had."""

    names: tuple[str, ...]
    revision: str | None = None
    bring: str = ""
    """What brings it, where that can't be told by its name."""

    @property
    def found(self) -> Path | None:
        """Return where it is on this machine, complete or not: a folder or file, or the snapshot in the hub's cache."""
        return next((place for name in self.names if (place := _place(name, self.revision))), None)

    @property
    def remedy(self) -> str:
        """Return how to get it."""
        if self.bring:
            return self.bring
        from harness.weights import public

        known = [public.backbones()[name].bring for name in self.names if name in public.backbones()]
        if any(known):
            return f"where there is a network: {next(filter(None, known))}"
        name = next((name for name in self.names if _is_hub_id(name)), None)
        if name is None:
            return f"put it at {self.names[0]} (docs/paper-profile.md), or let the part name another place"
        return f"where there is a network: hf download {name}"


def _place(name: str, revision: str | None) -> Path | None:
    if name.startswith(EMBEDDED):
        return TINY / name.removeprefix(EMBEDDED)
    path = Path(name).expanduser()
    if path.exists():
        return path
    return _snapshot(name, revision) if _is_hub_id(name) else None


def _is_hub_id(name: str) -> bool:
    return not name.startswith((".", "/", "~", EMBEDDED)) and name.count("/") == 1


def _snapshot(hub_id: str, revision: str | None) -> Path | None:
    """Return the snapshot of a hub id in the local cache, without asking the hub."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ModuleNotFoundError:
        return None
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def local(name: str) -> Path | None:
    """Return the folder or file that `name` (embedded:NAME, a path) means; None for what isn't here, a hub id say.

    HarnessError for an unknown embedded name.
    """
    if not name.startswith(EMBEDDED):
        path = Path(name).expanduser()
        return path if path.exists() else None
    bare = name.removeprefix(EMBEDDED)
    known = sorted(path.parent.name for path in TINY.glob("*/config.json"))
    if bare not in known:
        raise NotBuiltError(f"no embedded checkpoint is called {bare!r}", hint=near(bare, known))
    return TINY / bare


def find(checkpoint: str, revision: str | None = None) -> Source:
    """Return the source that `checkpoint` names; HarnessError for an unknown embedded name or a missing folder."""
    if checkpoint.startswith(EMBEDDED):
        name = checkpoint.removeprefix(EMBEDDED)
        known = sorted(path.parent.name for path in TINY.glob("*/unet"))
        if name not in known:
            raise NotBuiltError(f"no embedded checkpoint is called {name!r}", hint=near(name, known))
        return Source(name=checkpoint, folder=TINY / name)
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        return Source(name=checkpoint, folder=path.resolve())
    if not _is_hub_id(checkpoint):
        raise HarnessError(
            f"checkpoint {checkpoint!r}: no such folder",
            hint="give embedded:NAME, a folder in diffusers' layout, or a hub id owner/name",
        )
    return Source(name=checkpoint, hub_id=checkpoint, revision=revision)


def check_layout(source: Source, parts: tuple[str, ...], channels: tuple[int, ...]) -> None:
    """Raise HarnessError unless the folder of `source` holds `parts` and a UNet of one of the input `channels`."""
    folders = {part: source.component(part) for part in ("unet", *parts)}
    missing = [part for part in parts if folders[part] is None]
    unet = folders["unet"]
    if missing or unet is None:
        raise HarnessError(
            f"checkpoint {source.name!r} has no {' and no '.join(missing or ['unet'])} in {source.folder}",
            hint=f"a folder in diffusers' layout holds {', '.join(parts)}",
        )
    for folder in folders.values():
        if folder is not None:
            check_folder(folder)
    config = unet / "config.json"
    content = read_json(config, "configuration of a UNet")
    check_channels(source.name, content.get("in_channels") if isinstance(content, dict) else None, channels)


def check_channels(name: str, found: int | None, channels: tuple[int, ...]) -> None:
    """Raise HarnessError unless `found`, the input channels of a UNet, is among `channels`."""
    if found not in channels:
        kinds = {4: "a text-to-image model", 8: "an image-editing model", 9: "an inpainting model"}
        wanted = " or ".join(f"{count} ({kinds.get(count, 'unknown')})" for count in channels)
        kind = kinds.get(found or 0, "unknown")
        raise HarnessError(f"checkpoint {name!r}: its UNet takes {found} channels ({kind}), expected {wanted}")


def fingerprint(checkpoint: str, parts: tuple[str, ...], revision: str | None = None) -> str:
    """Return what a content key says of a checkpoint: a hash of its files, or name and revision of a hub id.

    Files up to 64 MB are hashed whole, of larger ones the size, both ends and 256 blocks evenly between: a network
    that was trained on differs everywhere, and a plan must answer within a second.
    """
    source = find(checkpoint, revision)
    if source.folder is None:
        return f"hub:{source.hub_id}@{revision or 'main'}"
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        folder = source.component(part)
        if folder is None:
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in (".md", ".png") and path.name != "training.json":
                digest.update(f"{part}/{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
                hash_into(digest, path)
    return f"files:{digest.hexdigest()}"


def of_files(path: Path) -> str:
    """Return what a content key says of a local file, or of all files of a folder: a hash as in `fingerprint`."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and file.suffix not in (".md", ".png") and file.name != "training.json":
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
            hash_into(digest, file)
    return f"files:{digest.hexdigest()}"
