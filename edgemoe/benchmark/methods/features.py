"""The frozen features that a baseline may read; which one it does was chosen like its other constants."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgemoe.benchmark.method import Characters
from edgemoe.device.global_expert import GlobalExpert

__all__ = ["FEATURES", "read"]

Array = npt.NDArray[np.float32]

FEATURES: dict[str, Callable[[GlobalExpert, Characters], Array]] = {
    "hidden": lambda ge, characters: characters.hidden,
    "pooled": lambda ge, characters: ge.standardizer.local_inputs(characters.taps),
    "convolution": lambda ge, characters: ge.standardizer.gate_inputs(characters.taps),
}
"""The last hidden layer, the pooled convolution features and all of them.

Pooling is not counted as MACs, in the baseline's favour.
"""


def read(ge: GlobalExpert, characters: Characters, features: str, unit: bool = False) -> Array:
    """Return the features called `features`, ``(n, F)``; with `unit`, each row is brought to length 1."""
    values = FEATURES[features](ge, characters)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9) if unit else values
