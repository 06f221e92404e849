"""The global expert on the device: a frozen network, run by onnxruntime."""

import os
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgemoe.device.bundle import TAPS, Bundle, read_bundle
from edgemoe.device.retention import RetentionSet, Taps
from edgemoe.device.standardize import Standardizer
from edgemoe.errors import EdgemoeError

__all__ = ["GlobalExpert", "as_images", "load_global_expert", "shipped_experts", "softmax"]

BATCH = 100  # images an inference call: onnxruntime keeps 50 KB for each


def as_images(images: npt.ArrayLike, source: str = "images") -> npt.NDArray[np.uint8]:
    """Return images as uint8 ``(n, 28, 28)``; one image ``(28, 28)`` becomes a set of one.

    Raises
    ------
    EdgemoeError
        If shape or dtype is another; nothing is scaled or cast silently.
    """
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise EdgemoeError(f"{source}: expected shape (n, 28, 28), got rows of different lengths") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (28, 28):
        raise EdgemoeError(f"{source}: expected shape (n, 28, 28), got {array.shape}")
    if array.dtype != np.uint8:
        raise EdgemoeError(f"{source}: expected uint8 with ink 255 on 0, got {array.dtype}")
    return array


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probabilities of ``(n, C)`` logits, row by row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return result


class GlobalExpert:
    """A frozen expert and the taps that local expert and gate read.

    Parameters
    ----------
    bundle : Bundle
    form : {"int8", "float32"}
        Which of the bundle's two graphs runs. Profiles are made for the int8 one.

    Attributes
    ----------
    classes : str
        One character a class, in the order of the logits.
    fingerprint : bytes
        32 bytes that tell this expert from any other.
    metadata : dict
    retention : RetentionSet
    """

    def __init__(self, bundle: Bundle, form: str = "int8") -> None:
        if form not in ("int8", "float32"):
            raise EdgemoeError(f"form {form!r}: a bundle holds int8 and float32")
        self.bundle = bundle
        self.form = form
        self.metadata: dict[str, Any] = bundle.metadata
        self.classes: str = bundle.metadata["classes"]
        self.name: str = bundle.metadata["name"]
        self.fingerprint = bytes.fromhex(bundle.metadata["fingerprint"])
        self.retention: RetentionSet = bundle.retention

    @property
    def graph(self) -> bytes:
        """The ONNX graph that runs."""
        return self.bundle.int8 if self.form == "int8" else self.bundle.float32

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the network is too small for threads to pay, and a board has other work
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for each failure
            raise EdgemoeError(f"{self.name}: onnxruntime cannot load its graph ({error})") from error
        names = {output.name for output in session.get_outputs()}
        if not names.issuperset(TAPS):
            raise EdgemoeError(f"{self.name}: its graph lacks the outputs {sorted(set(TAPS) - names)}")
        return session

    def taps(self, images: npt.ArrayLike) -> Taps:
        """Run the expert on uint8 images ``(n, 28, 28)``."""
        array = as_images(images)
        parts = []
        for start in range(0, max(len(array), 1), BATCH):
            batch = array[start : start + BATCH, None].astype(np.float32)
            parts.append(self._session.run(TAPS, {"image": batch / np.float32(255)}))
        return Taps(*(np.concatenate(tap) for tap in zip(*parts, strict=True)))

    @cached_property
    def standardizer(self) -> Standardizer:
        """What gate and local expert read of the taps."""
        channels, rows, columns = self.metadata["feature_map"]
        return Standardizer((channels, rows, columns), self.bundle.statistics)

    @cached_property
    def generic(self) -> Taps:
        """The retention set's first part: what the gate's log-odds are measured against."""
        return self.retention.taps(self.retention.training)

    @cached_property
    def held_out(self) -> tuple[Taps, npt.NDArray[np.int64]]:
        """The retention set's held-out part, and its class indices: what the mixture is tried on."""
        rows = self.retention.held_out
        return self.retention.taps(rows), self.retention.labels[rows].astype(np.int64)

    def predict_proba(self, images: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return probabilities ``(n, C)`` float32 in the order of `classes`."""
        return softmax(self.taps(images).logits)

    def predict(self, images: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Return labels ``(n,)``."""
        return self.label(self.taps(images).logits)

    def label(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.str_]:
        """Return the character with the highest score in each row."""
        names = np.array(list(self.classes))
        labels: npt.NDArray[np.str_] = names[scores.argmax(axis=1)]
        return labels

    def __getstate__(self) -> dict[str, object]:
        # onnxruntime's session cannot travel; it is made anew where the expert is used.
        return {name: value for name, value in vars(self).items() if name != "_session"}

    def __deepcopy__(self, memo: dict[int, object]) -> "GlobalExpert":
        return self  # frozen: estimators that are cloned share it

    def __repr__(self) -> str:
        return f"<GlobalExpert {self.name!r}, {len(self.classes)} classes, {self.form}, {self.fingerprint.hex()[:8]}>"


def shipped_experts() -> Sequence[str]:
    """Return the names of the experts inside the package."""
    folder = resources.files("edgemoe") / "models"
    return sorted(entry.name.removesuffix(".bundle") for entry in folder.iterdir() if entry.name.endswith(".bundle"))


def load_global_expert(name: str | os.PathLike[str] = "lenet5-balanced", form: str = "int8") -> GlobalExpert:
    """Load a global expert by the name it ships under, or from a bundle's path.

    Raises
    ------
    EdgemoeError
        If there is no such expert, its file is damaged, or it is a plain ONNX file, of which `edgemoe.adopt_onnx` makes
        an expert.

    Examples
    --------
    >>> len(load_global_expert("lenet5-balanced").classes)
    47
    """
    if str(name) in shipped_experts():
        with resources.as_file(resources.files("edgemoe") / "models" / f"{name}.bundle") as path:
            return GlobalExpert(read_bundle(path), form)
    if str(name).lower().endswith(".onnx"):
        raise EdgemoeError(
            f"{name}: a plain ONNX file; edgemoe.adopt_onnx or edgemoe export bundle makes a bundle of it"
        )
    if not Path(name).is_file():
        raise EdgemoeError(f"global expert {str(name)!r}: neither a file nor one of {', '.join(shipped_experts())}")
    return GlobalExpert(read_bundle(name), form)
