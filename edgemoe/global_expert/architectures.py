"""The networks that are trained here, by the name that a checkpoint has for them."""

from collections.abc import Callable, Sequence

from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.checkpoint import Checkpoint
from edgemoe.global_expert.layers import weighted_layers
from edgemoe.global_expert.lenet5 import fold_normalization, lenet5
from edgemoe.global_expert.vgg import vgg

__all__ = ["ARCHITECTURES", "architecture_of", "build_network"]

ARCHITECTURES: dict[str, Callable[[Sequence[int], int, float], nn.Sequential]] = {"lenet5": lenet5, "vgg": vgg}
"""Each builds a network of a shape, a number of classes and a dropout."""


def architecture_of(model: nn.Sequential) -> str:
    """Return the name in `ARCHITECTURES` of a network that was built by one of them: a LeNet-5 has two convolutions."""
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in weighted_layers(model).values())
    return "lenet5" if convolutions == 2 else "vgg"


def build_network(checkpoint: Checkpoint, dropout: float = 0.0) -> nn.Sequential:
    """Rebuild the network that a checkpoint holds, with normalization or with it folded in.

    Raises
    ------
    EdgemoeError
        If its architecture is unknown, or its tensors are not those of its shape.
    """
    if checkpoint.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise EdgemoeError(f"the checkpoint's architecture is {checkpoint.architecture!r}, which is none of {known}")
    model = ARCHITECTURES[checkpoint.architecture](checkpoint.shape, len(checkpoint.classes), dropout)
    state = {k.removeprefix("model."): v for k, v in checkpoint.tensors.items() if k.startswith("model.")}
    if not any(name.startswith("norm") for name in state):
        model = fold_normalization(model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise EdgemoeError(f"the checkpoint's tensors do not fit its shape {checkpoint.shape}: {error}") from error
    return model
