"""From a float32 graph to what a bundle holds: the int8 form, the retention set and the statistics."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.device.bundle import Bundle
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.retention import RetentionSet
from edgemoe.device.statistics import measure_statistics
from edgemoe.global_expert.quantize import quantize
from edgemoe.global_expert.retain import record_retention, tap_grids

__all__ = ["CALIBRATION", "RETAINED", "record_bundle"]

CALIBRATION = 2048  # images from which the quantizer takes the activations' ranges
RETAINED = 2500  # generic samples in the retention set; 1,000 serve a device as well (docs/firmware.md)

Images = npt.NDArray[np.uint8]


def record_bundle(
    metadata: dict[str, Any],
    float32: bytes,
    calibration: Images,
    retained: Images,
    labels: npt.NDArray[np.int64],
    measured: Images,
) -> Bundle:
    """Quantize a global expert and record what its users' devices need of generic samples.

    Parameters
    ----------
    metadata : dict
        With ``name``, ``classes`` and ``feature_map``; the fingerprint is added when the bundle is written.
    float32 : bytes
        An ONNX graph as `assemble` makes it.
    calibration : ndarray of uint8, shape (n, 28, 28)
        From which the activations' ranges are measured (`quantize`).
    retained : ndarray of uint8, shape (m, 28, 28)
        The retention set's samples, drawn at random.
    labels : ndarray of int64, shape (m,)
        Their class indices.
    measured : ndarray of uint8, shape (k, 28, 28)
        From which the features' statistics are measured.
    """
    feature_map = metadata["feature_map"]
    int8 = quantize(float32, calibration)
    grids = tap_grids(int8)
    empty = {tap: np.zeros((0, 1), np.uint8) for tap in grids}
    blank = RetentionSet(empty, dict.fromkeys(grids, 1.0), dict.fromkeys(grids, 0), np.zeros(0, np.uint8))
    nothing = measure_statistics(np.zeros((1, int(np.prod(feature_map))), np.float32), feature_map)
    draft = Bundle({**metadata, "fingerprint": ""}, float32, int8, blank, nothing)
    expert = GlobalExpert(draft)
    retention = record_retention(expert.taps(retained), labels, grids)
    statistics = measure_statistics(expert.taps(measured).features, feature_map)
    return replace(draft, metadata=metadata, retention=retention, statistics=statistics)
