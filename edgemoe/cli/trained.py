"""What is to be pruned: a trained expert as train-global left it, or somebody's ONNX graph."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgemoe.classes import CLASS_SETS
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Trained", "load_trained"]


@dataclass(frozen=True)
class Trained:
    """An unpruned expert, and what is known of how it was made.

    Attributes
    ----------
    network : Sequential
    classes : str
    record : dict
        Recipe and log of its training, if it is a checkpoint.
    resumable : bool
        Whether a checkpoint can hold what is pruned from it: a LeNet-5 with normalization.
    """

    network: "nn.Sequential"
    classes: str
    record: dict[str, Any]
    resumable: bool


def load_trained(path: Path) -> Trained:
    """Read what is to be pruned: a checkpoint, or the ONNX graph (``.onnx``) of a float sequential CNN.

    An ONNX graph reads images ``(n, 1, 28, 28)`` in [0, 1]; its classes are those of the set with as many.

    Raises
    ------
    EdgemoeError
        If the file is neither.
    """
    from edgemoe.benchmark.network import network_of
    from edgemoe.global_expert.architectures import build_network
    from edgemoe.global_expert.checkpoint import load_checkpoint
    from edgemoe.pruning.cost import layout_of

    if path.suffix != ".onnx":
        kept = load_checkpoint(path)
        return Trained(build_network(kept).eval(), kept.classes, kept.record, True)
    content = read_bounded(path, 1 << 28)
    try:
        network = network_of(content, str(path))
    except IndexError as error:  # a graph without an input
        raise EdgemoeError(f"{path}: not the ONNX graph of a sequential CNN") from error
    outputs = layout_of(network).classes
    sets = {len(classes): classes for classes in CLASS_SETS.values()}
    if outputs not in sets:
        known = ", ".join(f"{name} {len(classes)}" for name, classes in CLASS_SETS.items())
        raise EdgemoeError(f"{path}: {outputs} outputs, and no class set has as many ({known})")
    return Trained(network, sets[outputs], {}, False)
