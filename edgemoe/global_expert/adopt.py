"""Any float32 ONNX file of a sequential CNN as a global expert: quantized and recorded on the spot."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgemoe.classes import merge_labels
from edgemoe.device.bundle import read_bundle, write_bundle
from edgemoe.device.global_expert import GlobalExpert, as_images
from edgemoe.errors import EdgemoeError

if TYPE_CHECKING:
    from edgemoe.global_expert.sequential import SequentialNetwork

__all__ = ["LEAST", "adopt_onnx", "is_adopted"]

LEAST = 100  # generic samples: of fewer, the acceptance test could show next to nothing
CROWD, CROWD_SEED = 40, 1_000_000  # simulated writers where there are no samples; a seed that `--seed` hardly takes


def adopt_onnx(
    path: str | os.PathLike[str],
    images: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    *,
    more: npt.ArrayLike | None = None,
) -> GlobalExpert:
    """Make a global expert of a plain float32 ONNX file of a sequential CNN.

    It is quantized to int8 as a shipped expert is, and its retention set and its statistics of generic features are
    recorded from the samples. ``write_bundle(path, expert.bundle)`` keeps it. The same arguments give the same
    fingerprint; other samples give another expert, whose profiles are its own.

    Parameters
    ----------
    path : path-like
        Convolutions, ReLU and pooling, and behind them dense layers; it reads ``(n, 1, 28, 28)`` float32 in [0, 1], ink
        1 on 0. The number of its outputs tells the classes, in the order of `edgemoe.classes`: 10 digits, 26 letters,
        47 balanced, 62 byclass.
    images : ndarray of uint8, shape (n, 28, 28), optional
        Ink 255 on 0, at least 100, by many people and not by the user, on whom the network was not trained: they stand
        for everybody else when a mixture is tried. Without them 40 simulated writers write each class once, which is
        less than real handwriting can do.
    labels : sequence of str, length n, optional
        Theirs; merged onto the classes by the EMNIST rule.
    more : ndarray of uint8, shape (m, 28, 28), optional
        Further images for the ranges of the activations alone: the user's, say.

    Returns
    -------
    GlobalExpert
        Named after the file.

    Raises
    ------
    EdgemoeError
        If the package onnx is not installed, the file is no float32 ONNX of a sequential CNN, or the samples are
        unusable or too few.

    Examples
    --------
    >>> expert = adopt_onnx("lenet5.onnx", images, labels)  # doctest: +SKIP
    >>> write_bundle("lenet5.bundle", expert.bundle)  # doctest: +SKIP
    """
    network = _read(path)
    from edgemoe.global_expert.record import CALIBRATION, RETAINED, record_bundle

    generic, targets, origin = _generic(images, labels, network.classes)
    rng = np.random.default_rng(0)
    seen = generic if more is None else np.concatenate([generic, as_images(more, "more")])
    calibration = seen[rng.permutation(len(seen))[:CALIBRATION]]
    retained = rng.permutation(len(generic))[:RETAINED]
    metadata: dict[str, Any] = {
        "name": Path(path).stem,
        "classes": network.classes,
        "shape": list(network.widths),
        "feature_map": list(network.feature_map),
        "parameters": network.parameters,
        "data": {"retention": origin},
    }
    bundle = record_bundle(metadata, network.graph, calibration, generic[retained], targets[retained], generic)
    with tempfile.TemporaryDirectory() as folder:  # what is written is what is used: sealed, and rounded as in the file
        kept = Path(folder) / "adopted.bundle"
        write_bundle(kept, bundle)
        return GlobalExpert(read_bundle(kept))


def is_adopted(expert: GlobalExpert, path: str | os.PathLike[str]) -> bool:
    """Say whether an expert was made of an ONNX file; errors as in `adopt_onnx`."""
    return expert.bundle.float32 == _read(path).graph


def _read(path: str | os.PathLike[str]) -> "SequentialNetwork":
    try:
        from edgemoe.global_expert.sequential import read_sequential
    except ImportError as error:
        name = os.fspath(path)
        raise EdgemoeError(f"{name}: reading it needs the package onnx (pip install 'edgemoe[export]')") from error
    return read_sequential(path)


def _generic(
    images: npt.ArrayLike | None, labels: npt.ArrayLike | None, classes: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], str]:
    """Return images, class indices, and where they come from."""
    if (images is None) != (labels is None):
        raise EdgemoeError("images and labels: expected both or neither")
    if images is None or labels is None:
        from edgemoe.simulator import generic_samples

        array, names = generic_samples(CROWD_SEED, CROWD, classes)
        origin = f"{CROWD} simulated writers"
    else:
        array, names = as_images(images), merge_labels(np.atleast_1d(np.asarray(labels)), classes)
        origin = f"{len(array):,} samples that were given"
    if len(names) != len(array) or len(array) < LEAST:
        raise EdgemoeError(f"images: expected at least {LEAST}, with a label each, got {len(array)} and {len(names)}")
    return array, np.array([classes.index(name) for name in names], np.int64), origin
