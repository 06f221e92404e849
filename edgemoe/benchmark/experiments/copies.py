"""Distorted copies of a user's images: the product's own, and others for comparison."""

import zlib

import numpy as np

from edgemoe.benchmark.experiments.samples import Sample
from edgemoe.device.distort import COPIES, _transformed

__all__ = ["copies_of"]


def copies_of(sample: Sample, count: int = COPIES, strength: float = 1.0) -> Sample:
    """Return `count` copies of each image, those of the first one first, `strength` times as distorted as usual."""
    if (count, strength) == (COPIES, 1.0):
        return sample.once("copies", lambda: Sample(sample.ge, sample.own.copies, np.repeat(sample.labels, COPIES)))
    if not count:
        return sample[np.arange(0)]
    assert sample.images is not None
    draws = [np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, 1, (count, 6)) for image in sample.images]
    amounts = strength * np.array(draws, np.float32).reshape(-1, 6)
    images = _transformed(np.repeat(sample.images, count, axis=0), *amounts.T)
    return Sample(sample.ge, sample.ge.taps(images), np.repeat(sample.labels, count))
