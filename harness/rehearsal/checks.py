"""These checks examine packages, data, checkpoint headers and disk before anything runs."""

from collections.abc import Iterator
from importlib import metadata
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError

from harness.core.errors import HarnessError
from harness.core.store import Store
from harness.data.base import Dataset, Frame, known_ids
from harness.data.labels import LabelSet
from harness.planning import demands
from harness.rehearsal import stand_ins
from harness.rehearsal.findings import Finding, State
from harness.rehearsal.parts import NetworkSteps, PlanParts, generator_of
from harness.weights import public
from harness.weights.checkpoints import Need

BROKEN = (
    HarnessError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, EOFError, UnpicklingError,
    SafetensorError,
)  # fmt: skip
"""What libraries raise for a checkpoint that is not what it should be."""


def packages() -> Iterator[Finding]:
    """Check the packages of the extra `run`: installed, and of the version that this package asks for."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(text) for text in metadata.requires("harness") or ()]
    except metadata.PackageNotFoundError:
        said = "harness runs without being installed: what it asks for is not known"
        yield Finding(about="packages", name="run", state="unknown", said=said)
        return
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": "run"})]
    wrong = []
    for one in wanted:
        try:
            found = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(f"{one.name} {found} is installed, expected {one.specifier}")
    if wrong:
        remedy = "pip install --constraint constraints.txt --editable '.[run]'"
        yield Finding(about="packages", name="run", state="missing", said="; ".join(wrong), remedy=remedy)
    else:
        yield Finding(about="packages", name="run", state="fine", said=f"{len(wanted)} as the package asks for")


def data(dataset: Dataset) -> Iterator[Finding]:
    """Check both splits: frames, cities, one frame of each city decoded."""
    for split in ("train", "val"):
        try:
            frames = dataset.frames(split)
            cities = {frame.city: frame for frame in frames}
            sizes = {_decoded(frame, dataset.labels) for frame in cities.values()}
        except HarnessError as error:
            remedy = error.hint or "unpack the archives again"
            yield Finding(about="data", name=split, state="broken", said=error.message, remedy=remedy)
            continue
        told = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        said = f"{len(frames)} frames of {len(cities)} cities, {told}; one of each city decoded"
        yield Finding(about="data", name=split, state="fine", said=said)
    if lacking := dataset.shortfall():
        said = f"not the whole of {dataset.part.label}: {lacking}; rows of it are not comparable with printed ones"
        yield Finding(about="data", name="benchmark", state="unknown", said=said)


def _decoded(frame: Frame, labels: LabelSet) -> tuple[int, int]:
    """Return the size of a frame; HarnessError when image or labels can't be read, differ, or hold ids of no label."""
    image, ids = frame.read_image(), known_ids(frame, labels)
    if image.shape[:2] != ids.shape:
        raise HarnessError(f"{frame.instance_ids}: {ids.shape} pixels, but its image has {image.shape[:2]}")
    return ids.shape[0], ids.shape[1]


def checkpoints(parts: PlanParts, labels: LabelSet, *, stand_in: bool) -> "Iterator[tuple[Finding, Any]]":
    """Build each generator and network at full size on the meta device, from headers of its checkpoints or, where these
    are missing, from what is published of them; with what was built, None where nothing was."""
    from harness.weights.tensors import headers_only

    for name, step in parts.generators.items():
        part = generator_of(step).generator
        missing = [need for need in part.needs if need.found is None]
        if missing:
            yield _missing("generator", name, missing, stand_in), None
            yield _published(name, part.needs), None
        elif part.needs:
            with headers_only():
                yield _built("generator", name, part.needs, lambda part=part: part.build("meta"))
    for name, network in parts.networks.items():
        needs = network.part.needs(network.spec.backbone)
        missing = [need for need in needs if need.found is None]
        if missing:
            yield _missing("segmenter", name, missing, stand_in), None
        with headers_only():
            yield _built("segmenter", name, needs, lambda network=network: _on_meta(network, labels))


def _on_meta(network: NetworkSteps, labels: LabelSet) -> Any:
    """Return the network without memory: with the headers of its checkpoint, or at its published sizes."""
    import torch

    part, backbone = network.part, network.part.chosen(network.spec.backbone)
    if any(need.found is None for need in part.needs(network.spec.backbone)):
        backbone = stand_ins.backbone(backbone)
    with torch.device("meta"):
        return part.kind.build(backbone, part.model, labels)


def _missing(kind: str, name: str, missing: list[Need], stand_in: bool) -> Finding:
    said = f"{', '.join(need.names[0] for need in missing)}: not on this machine"
    remedy = "; ".join(need.remedy for need in missing)
    state: State = "stand-in" if stand_in else "missing"
    said += "; a random one stands in" if stand_in else ""
    return Finding(about="checkpoint", name=f"{kind} {name}", state=state, said=said, remedy=remedy)


def _built(kind: str, name: str, needs: tuple[Need, ...], build: Any) -> tuple[Finding, Any]:
    try:
        found = build()
    except BROKEN as error:
        message = error.message if isinstance(error, HarnessError) else str(error).splitlines()[0]
        remedy = "; ".join(need.remedy for need in needs) or getattr(error, "hint", "")
        return Finding(about="checkpoint", name=f"{kind} {name}", state="broken", said=message, remedy=remedy), None
    sizes = counted(found)
    whole = f"{sum(sizes.values()) / 1e6:,.1f} M parameters"
    told = (
        f"{whole}: " + ", ".join(f"{part} {count / 1e6:,.1f}" for part, count in sizes.items())
        if len(sizes) > 1
        else whole
    )
    return Finding(about="network", name=f"{kind} {name}", state="fine", said=told), found


def counted(found: Any) -> dict[str, int]:
    """Parameters of a network, or of the networks of a generator by component."""
    import torch

    if isinstance(found, torch.nn.Module):
        return {"": sum(parameter.numel() for parameter in found.parameters())}
    parts = found.parts.parts if hasattr(found, "parts") else found.pipeline.components
    networks = {name: part for name, part in parts.items() if isinstance(part, torch.nn.Module)}
    return {name: sum(parameter.numel() for parameter in network.parameters()) for name, network in networks.items()}


def _published(name: str, needs: tuple[Need, ...]) -> Finding:
    """Count the parameters of a generator whose checkpoint isn't there, built from what is published of it."""
    import torch

    known = [public.generators()[need.names[0]] for need in needs if need.names[0] in public.generators()]
    if len(known) < len(needs):
        said = "nothing is known of the sizes of its networks"
        return Finding(about="network", name=f"generator {name}", state="unknown", said=said)
    with torch.device("meta"):
        networks = {part: public.empty(one) for checkpoint in known for part, one in checkpoint.networks.items()}
    sizes = {part: sum(p.numel() for p in network.parameters()) for part, network in networks.items()}
    told = ", ".join(f"{part} {count / 1e6:,.1f}" for part, count in sizes.items())
    said = f"{sum(sizes.values()) / 1e6:,.1f} M parameters as published: {told}"
    return Finding(about="network", name=f"generator {name}", state="fine", said=said)


def disk(found: demands.Demands, store: Store) -> Finding:
    """Compare what the plan needs of the disk with what is free."""
    place, room = demands.free(store)
    said = demands.of_disk(found, place, room)
    if found.disk > room:
        remedy = "make room, or choose a folder on another disk with --store"
        return Finding(about="disk", name="store", state="broken", said=f"too little disk: {said}", remedy=remedy)
    return Finding(about="disk", name="store", state="fine", said=said)


def weights_of_assessments(parts: PlanParts, *, stand_in: bool) -> Iterator[Finding]:
    """Check that the weight files of the image metrics are there."""
    from harness.quality import weight_files
    from harness.stages.assess import AssessSpec

    specs: dict[str, Any] = {}
    for step in parts.assessments.values():
        assert isinstance(step.spec, AssessSpec)
        specs |= step.spec.networks
    for name, spec in specs.items():
        try:
            said = str(weight_files.locate(spec).path)
            yield Finding(about="checkpoint", name=f"metric {name}", state="fine", said=said)
        except HarnessError as error:
            state: State = "left out" if spec.optional else "stand-in" if stand_in else "missing"
            more = {"left out": "; the metric is optional", "stand-in": "; a small one stands in"}.get(state, "")
            said = error.message + more
            yield Finding(about="checkpoint", name=f"metric {name}", state=state, said=said, remedy=error.hint)
