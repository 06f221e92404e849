"""Trained networks and the state of a training run, as plain arrays: no pickle."""

import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from edgemoe.errors import EdgemoeError
from edgemoe.files import bound_unpacked, read_bounded, write_atomic

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

LIMIT = 1 << 28  # bytes: far above any LeNet-5 with its optimizer's state


@dataclass
class Checkpoint:
    """A network's shape and tensors, and where its training stands.

    Attributes
    ----------
    shape : list of int
        Widths, as in `lenet5` or `vgg`.
    classes : str
        One character a class, in the order of the logits.
    epoch : int
        Epochs done.
    tensors : dict of str to Tensor
        The network's state under ``model.``, the optimizer's under ``optimizer.``.
    record : dict
        What made it, as JSON: seeds, data, figures.
    architecture : str
        A name in `edgemoe.global_expert.architectures`.
    """

    shape: list[int]
    classes: str
    epoch: int = 0
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    architecture: str = "lenet5"


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    header = {**{k: v for k, v in vars(checkpoint).items() if k != "tensors"}, "names": sorted(checkpoint.tensors)}
    arrays = {name: tensor.detach().numpy() for name, tensor in checkpoint.tensors.items()}
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    EdgemoeError
        If the file is not a whole checkpoint.
    """
    content = read_bounded(path, LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            bound_unpacked(archive, LIMIT, os.fspath(path), "checkpoint")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header.pop("names") != sorted(arrays):
            raise EdgemoeError(f"{os.fspath(path)}: not a whole edgemoe checkpoint (tensors are missing)")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Checkpoint(tensors=tensors, **header)
    except EdgemoeError:
        raise
    except Exception as error:  # zipfile, numpy and json each raise their own
        raise EdgemoeError(f"{os.fspath(path)}: not a whole edgemoe checkpoint ({error})") from error
