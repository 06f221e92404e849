"""MACs of adapting a network to a user, by each method's recipe, in closed form.

A layer's backward pass is two products as large as its forward one: the gradient of its weights, and that of its input,
which the first layer does not need (Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 6.5). Distorting
images, activation functions and the optimizer's own arithmetic have no MACs here, in favour of those that need them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import OnnxModel
from edgemoe.errors import EdgemoeError

__all__ = ["Weighted", "adapting_macs", "kept_bytes", "weighted_layers"]

TRAINED_BITS = 32  # float32, in which all of them train
POWER_ROUNDS = 20  # of the power iteration that finds a step's length; `edgemoe.device.eigenvalue.largest_eigenvalue`


@dataclass(frozen=True)
class Weighted:
    """A convolution or a dense layer: MACs of one image, and its weight as a matrix of one row a channel or unit."""

    macs: int
    rows: int
    columns: int
    biases: int

    def factors(self, rank: int) -> int:
        """The rank of a low-rank update of at most `rank`."""
        return min(rank, self.rows, self.columns)


def weighted_layers(model: OnnxModel) -> list[Weighted]:
    """Return the layers of a float graph that have weights, in order.

    Raises
    ------
    EdgemoeError
        If a layer cannot be counted: what training it costs is then unknown, and not zero.
    """
    cost = count_graph(model)
    if cost.unknown:
        missed = cost.unknown[0]
        raise EdgemoeError(f"{model.source}: {missed.name}: {missed.reason}; what it costs to train is unknown")
    nodes = {node.name or node.outputs[0]: node for node in model.nodes}
    layers = []
    for layer in cost.layers:
        node = nodes[layer.name]
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        if node.inputs[1] not in model.initializers:
            raise EdgemoeError(
                f"{model.source}: {layer.name}: its weight is no stored one; what it costs to train is unknown"
            )
        shape, weights = model.initializers[node.inputs[1]].dims, model.initializers[node.inputs[1]].elements
        rows = shape[0] if node.op_type == "Conv" or node.attributes.get("transB") else shape[-1]
        layers.append(Weighted(layer.macs, rows, weights // rows, layer.parameters - weights))
    return layers


def kept_bytes(method: str, recipe: Mapping[str, Any], layers: list[Weighted], samples: int, features: int) -> int:
    """Return the bytes that a method other than ours keeps of its user: one a weight or feature, and one a label.

    Parameters
    ----------
    method : {"full-finetune", "lora", "last-layer", "knn-per"}
    recipe : mapping
        See `Recipes`.
    layers : list of Weighted
    samples : int
        That the user gave.
    features : int
        Of a stored sample.
    """
    match method:
        case "full-finetune":
            return sum(layer.rows * layer.columns + layer.biases for layer in layers)
        case "lora":
            return sum(layer.factors(recipe["rank"]) * (layer.rows + layer.columns) for layer in layers)
        case "last-layer":
            return layers[-1].rows * (layers[-1].columns + 1)
        case _:
            return samples * (features + 1)


def adapting_macs(
    method: str, recipe: Mapping[str, Any], layers: list[Weighted], samples: int, inference: Mapping[int, int]
) -> dict[int, int]:
    """Return the MACs of adapting to a user's samples once, by the width of their operands in bits.

    - Full fine-tuning: each epoch shows each sample once, forward and backward.
    - LoRA: the same, for the whole weight's gradient is made on the way to its factors'; and in each step the product
      of a layer's factors, and two as large for their gradients; and the product once more, to keep the weights.
    - Last layer: each sample is read once by the int8 global expert; then steps of logistic regression on the features,
      a product forward and one backward each, and a scalar product of the gradient that says whether to start afresh.
    - kNN-Per: each sample is read once.

    Parameters
    ----------
    inference : mapping of int to int
        MACs of one inference of the global expert by width.
    others
        As in `kept_bytes`.
    """
    read = {bits: samples * count for bits, count in inference.items()}
    match method:
        case "full-finetune" | "lora":
            forward = sum(layer.macs for layer in layers)
            macs = samples * recipe["epochs"] * (3 * forward - layers[0].macs)
            if method == "lora":
                steps = recipe["epochs"] * -(-samples // recipe["minibatch"])
                product = sum(layer.rows * layer.columns * layer.factors(recipe["rank"]) for layer in layers)
                macs += (3 * steps + 1) * product
            return {TRAINED_BITS: macs}
        case "last-layer":
            classes, inputs = layers[-1].rows, layers[-1].columns + 1
            step = (2 * samples + 1) * classes * inputs
            length = (2 * POWER_ROUNDS + 1) * samples * inputs
            return dict(Counter(read) + Counter({TRAINED_BITS: recipe["steps"] * step + length}))
        case _:
            return read
