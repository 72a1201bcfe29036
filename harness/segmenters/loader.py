"""The loader makes the batches of a training by step: it decodes frames, draws crops from each draw's own seed, and
works ahead in threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from harness.core.errors import HarnessError
from harness.data.augment import random_crop
from harness.data.base import Frame, known_ids
from harness.data.mix import Draw, Stream
from harness.segmenters.network import Sample
from harness.segmenters.options import Training

Batch = dict[str, Any]
"""Tensors, or lists of them, by name."""
Collate = Callable[[Sequence[Sample]], Batch]


class Loader:
    """Batches of a stream by step, prepared by threads ahead of time where `training.workers` says so."""

    def __init__(
        self,
        stream: Stream,
        training: Training,
        collate: Collate,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.stream, self.training, self.collate = stream, training, collate
        self.rank, self.ranks = rank, ranks
        self.cached: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.room = training.cache_mb * 2**20
        self.pool = ThreadPoolExecutor(training.workers) if training.workers else None
        self.ahead: dict[tuple[int, int], Future[list[Batch]]] = {}
        self.most: int | None = None
        """Images that go through the network together where memory is short; none: a whole part."""

    def draws(self, step: int, part: int) -> list[Draw]:
        """The draws of this process in a part of a step."""
        size = self.training.batch_size // self.training.accumulate
        first = step * self.training.batch_size + part * size
        return [self.stream.at(first + k) for k in range(self.rank, size, self.ranks)]

    def batch(self, step: int, part: int) -> Batch:
        """Return the collated part, as long as nothing has cut it."""
        (whole,) = self.batches(step, part)
        return whole

    def batches(self, step: int, part: int) -> list[Batch]:
        """Return a collated part, in pieces of `most` images; with threads, the next ones are put in work too."""
        if self.pool is None:
            return self._make(step, part)
        wanted = step * self.training.accumulate + part
        for number in range(wanted, wanted + 2 * self.training.workers):
            key = divmod(number, self.training.accumulate)
            if key not in self.ahead:
                self.ahead[key] = self.pool.submit(self._make, *key)
        return self.ahead.pop((step, part)).result()

    def cut(self, most: int) -> None:
        """Make pieces of so many images from now on."""
        self.most = most
        self.ahead.clear()

    def close(self) -> None:
        """Stop the threads."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, step: int, part: int) -> list[Batch]:
        samples = [self._sample(draw) for draw in self.draws(step, part)]
        most = self.most or len(samples)
        return [self.collate(samples[first : first + most]) for first in range(0, len(samples), most)]

    def _sample(self, draw: Draw) -> Sample:
        image, ids = self._decoded(draw.frame)
        crop = random_crop(
            image,
            ids,
            size=self.training.crop,
            short_sides=self.training.short_sides,
            flip=self.training.flip,
            colour=self.training.colour_jitter,
            void=self.stream.labels.void,
            seed=draw.seed,
        )
        return Sample(name=draw.frame.name, image=crop.image, ids=crop.ids, seed=draw.seed)

    def _decoded(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        found = self.cached.get(frame.name)
        if found is None:
            found = frame.read_image(), known_ids(frame, self.stream.labels)
            if found[0].shape[:2] != found[1].shape:
                raise HarnessError(
                    f"{frame.image}: {found[0].shape[:2]} pixels, but its labels have {found[1].shape}",
                    hint=f"the labels are {frame.instance_ids}",
                )
            size = sum(part.nbytes for part in found)
            if self.room >= size:
                self.room -= size
                self.cached[frame.name] = found
        return found
