"""What a pruned expert of any shape would cost on the device, without building it.

Closed forms for sequential CNNs, with the conventions of `edgemoe.accounting.graph`, of the int8 graph that
`edgemoe.global_expert.export` writes: normalization folded into the layer before it, ReLU fused, and the features
and logits handed out as float32. The tests hold each against the accounting of exported graphs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from edgemoe.errors import EdgemoeError
from edgemoe.global_expert.layers import weighted_layers

__all__ = ["ExpertCost", "Layout", "layout_of"]

SIDE = 28  # of the input image, which comes as float32
FLOAT = 4  # bytes
SCALES = 8  # bytes of the two float32 scales, the weights' and the bias', that a unit has, or a layer with a palette
ZERO = 1  # byte of the zero point beside the scale of dense weights; all others are 0 and not stored
PALETTE = 16  # bytes of its values; a code takes half a byte
ACTIVATION = 5  # bytes of an activation's float32 scale and uint8 zero point

# Bytes of an ONNX file beside what the expert computes with: nodes, names and dimensions. Measured on exported graphs;
# they differ by at most 60 bytes, because protobuf writes small numbers in fewer bytes.
FILE, FILE_CONVOLUTION, FILE_DENSE, FILE_POOL = 485, 366, 308, 185
FILE_PALETTE = 206  # more of a dense layer


@dataclass(frozen=True)
class ExpertCost:
    """What one expert costs as int8.

    Attributes
    ----------
    parameters : int
        Weights and biases.
    macs : int
        Multiply-accumulates of one inference.
    flash : int
        Bytes of weights, biases, scales and zero points: what `edgemoe account` counts.
    ram : int
        Bytes of the activations alive at once, at most: layers run in order, none writes over its input, and pooling
        is a layer of its own. The float32 image is the first of them and the float32 features the last.
    file : int
        Bytes of the ONNX file, within 2 %.
    """

    parameters: int
    macs: int
    flash: int
    ram: int
    file: int


@dataclass(frozen=True)
class Layout:
    """What pruning leaves as it is in a sequential CNN.

    Attributes
    ----------
    widths : tuple of int
        Channels and hidden units of the whole network.
    classes : int
    steps : tuple of (int, int)
        For each convolution, pooling and dense layer the weights that join an input channel to an output channel (0
        for a pooling), and the pixels of its output map. A dense layer is a convolution as large as its input's map.
    convolutions : int
        How many of the weighted layers are convolutions.
    flattened : int
        Steps before the features are flattened.
    palettes : bool
        Whether dense layers of an even number of inputs keep 4-bit codes into a palette.
    """

    widths: tuple[int, ...]
    classes: int
    steps: tuple[tuple[int, int], ...]
    convolutions: int
    flattened: int
    palettes: bool = False

    @cached_property
    def whole(self) -> ExpertCost:
        """What the whole network costs."""
        return self.cost(self.widths)

    @property
    def steps_of_width(self) -> tuple[int, ...]:
        """Return what each layer's width is to be a multiple of: 2 where that gives the dense layer behind palettes."""
        kernels = [kernel for kernel, _ in self.steps if kernel]
        dense = range(self.convolutions, len(kernels))
        return tuple(
            2 if self.palettes and k + 1 in dense and kernels[k + 1] % 2 else 1 for k in range(len(kernels) - 1)
        )

    def nearest_width(self, layer: int, width: int) -> int:
        """Return the largest multiple of a layer's step up to a width, and at least one step or the whole layer."""
        step = self.steps_of_width[layer]
        return max(min(step, self.widths[layer]), width - width % step)

    def cost(self, shape: Sequence[int]) -> ExpertCost:
        """Return what the network costs with other widths, one for each hidden layer."""
        units = iter((*shape, self.classes))
        channels, size = 1, SIDE**2
        features = size if not self.flattened else 0
        peak = (FLOAT + 1) * size  # the image, and its codes
        weights = macs = flash = file = layer = 0
        for index, (kernel, area) in enumerate(self.steps, start=1):
            if kernel:
                inputs, channels = channels * kernel, next(units)
                dense, count = layer >= self.convolutions, inputs * channels
                shared = self.palettes and dense and inputs % 2 == 0
                weights += count
                macs += count * area
                flash += FLOAT * channels + (count // 2 + PALETTE if shared else count)
                flash += (SCALES + ZERO * dense) * (1 if shared else channels)
                file += (FILE_DENSE if dense else FILE_CONVOLUTION) + FILE_PALETTE * shared
                layer += 1
            before, size = size, channels * area
            peak = max(peak, FLOAT * features + before + size)
            if index == self.flattened:
                features = size
                peak = max(peak, (FLOAT + 1) * size)
        peak = max(peak, FLOAT * features + (FLOAT + 1) * size)
        flash += ACTIVATION * (layer + 1)
        file += flash + FILE + FILE_POOL * (len(self.steps) - layer)
        return ExpertCost(weights + sum(shape) + self.classes, macs, flash, peak, file)


def layout_of(model: nn.Sequential, palettes: bool = False) -> Layout:
    """Read the layout of a sequential CNN for images ``(n, 1, 28, 28)``, to be exported with palettes or without.

    Raises
    ------
    EdgemoeError
        If a layer is of a kind that the export has no form for, or is grouped; it names the layer.
    """
    steps: list[tuple[int, int]] = []
    x, channels, flattened, convolutions = torch.zeros(1, 1, SIDE, SIDE), 1, 0, 0
    for name, module in model.named_children():
        if isinstance(module, nn.ReLU | nn.Dropout | nn.BatchNorm1d | nn.BatchNorm2d):
            continue  # the same shape, and nothing is stored or computed for it
        try:
            with torch.inference_mode():
                x = module(x)
        except RuntimeError as error:
            raise EdgemoeError(f"layer {name!r} does not fit what it reads: {error}") from error
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            convolutions, channels = convolutions + 1, module.out_channels
            steps.append((module.weight[0, 0].numel(), x[0, 0].numel()))
        elif isinstance(module, nn.MaxPool2d):
            steps.append((0, x[0, 0].numel()))
        elif isinstance(module, nn.Flatten):
            flattened = len(steps)
        elif isinstance(module, nn.Linear):
            steps.append((module.in_features // channels, 1))
            channels = module.out_features
        else:
            raise EdgemoeError(f"layer {name!r}: {type(module).__name__} is not of a plain sequential CNN")
    widths = [len(layer.weight) for layer in weighted_layers(model).values()]
    if not widths:
        raise EdgemoeError("the network has no layer with weights")
    return Layout(tuple(widths[:-1]), widths[-1], tuple(steps), convolutions, flattened, palettes)
