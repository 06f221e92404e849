"""Methods that train a last layer on frozen features. They keep one byte a weight, as if int8 lost no accuracy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgemoe.benchmark.descent import descend
from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.methods.features import read
from edgemoe.benchmark.network import float_network, one_thread
from edgemoe.device.eigenvalue import largest_eigenvalue
from edgemoe.device.gate import sigmoid
from edgemoe.device.global_expert import GlobalExpert, softmax
from edgemoe.device.local_expert import with_bias

__all__ = ["fit_last_layer", "fit_linear_probe", "fit_pfl_moe"]

Array = npt.NDArray[np.float32]


def fit_softmax(inputs: Array, targets: npt.NDArray[np.int64], start: Array, decay: float, steps: int) -> Array:
    """Multinomial logistic regression from given weights, and drawn back to them.

    Minimizes ``sum(-log softmax(inputs @ weights.T)[target]) + decay / 2 * sum((weights - start)**2)`` (L2-SP: Li,
    Grandvalet, Davoine, "Explicit inductive bias for transfer learning with convolutional networks", ICML 2018).

    Parameters
    ----------
    inputs : ndarray of float32, shape (n, F + 1)
        With the bias's constant.
    targets : ndarray of int64, shape (n,)
    start : ndarray of float32, shape (C, F + 1)
    decay : float
    steps : int
        Of accelerated gradient descent.
    """
    rows = np.arange(len(targets))

    def gradient(weights: Array) -> Array:
        residual = softmax(inputs @ weights.T)
        residual[rows, targets] -= 1
        return residual.T @ inputs + np.float32(decay) * (weights - start)

    bound = 0.5 * largest_eigenvalue(inputs, np.ones(len(inputs), np.float32)) + decay  # Boehning 1992
    return descend(gradient, start, bound, steps)


def shipped_head(ge: GlobalExpert) -> Array:
    """Return the global expert's last layer, ``(C, H + 1)``, its biases in the last column."""
    output = float_network(ge)[-1]
    assert isinstance(output, nn.Linear)
    joined = torch.cat([output.weight, output.bias[:, None]], dim=1)
    return joined.detach().numpy()


@dataclass(frozen=True)
class Head:
    """A last layer on frozen features: weights ``(K, F + 1)`` for the K classes ``(K,)`` that it can answer."""

    ge: GlobalExpert
    features: str
    weights: Array
    classes: npt.NDArray[np.int64]
    macs: int

    @property
    def bytes(self) -> int:
        """Every weight, and the classes where they are not all."""
        return self.weights.size + (len(self.classes) if len(self.classes) < len(self.ge.classes) else 0)

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        scores = with_bias(read(self.ge, characters, self.features)) @ self.weights.T
        answers: npt.NDArray[np.int64] = self.classes[scores.argmax(axis=1)]
        return answers


def fit_linear_probe(
    ge: GlobalExpert, user: Characters, seed: int, *, features: str = "hidden", decay: float = 0.01, steps: int = 50
) -> Head:
    """Train a fresh softmax layer on frozen features, to answer in place of the global expert.

    Alain and Bengio, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644 (2016). A
    class without samples has no weights and is never answered. The global expert's later layers run all the same, so
    that every weight is one MAC on top. The parameters were chosen on writers_small.npz by edgemoe.benchmark.tune.
    """
    inputs = with_bias(read(ge, user, features))
    classes, targets = np.unique(user.labels, return_inverse=True)
    weights = fit_softmax(inputs, targets, np.zeros((len(classes), inputs.shape[1]), np.float32), decay, steps)
    return Head(ge, features, weights, classes, macs=weights.size - len(weights))


def fit_last_layer(ge: GlobalExpert, user: Characters, seed: int, *, decay: float = 1.0, steps: int = 300) -> Head:
    """Fine-tune the global expert's last layer from its shipped weights; it replaces them, at no further MACs.

    The parameters were chosen on writers_small.npz by edgemoe.benchmark.tune.
    """
    weights = fit_softmax(with_bias(user.hidden), user.labels, shipped_head(ge), decay, steps)
    return Head(ge, "hidden", weights, np.arange(len(weights)), macs=0)


@dataclass(frozen=True)
class PersonalHead:
    """A personal last layer ``(C, H + 1)`` beside the global expert, and a gate ``(F + 1,)``."""

    ge: GlobalExpert
    features: str
    head: Array
    gate: Array

    @property
    def bytes(self) -> int:
        """Every weight of head and gate."""
        return self.head.size + self.gate.size

    @property
    def macs(self) -> int:
        """Every weight of head and gate but the biases."""
        return self.bytes - len(self.head) - 1

    def predict(self, characters: Characters) -> npt.NDArray[np.int64]:
        """Return class indices ``(n,)``."""
        personal = softmax(with_bias(characters.hidden) @ self.head.T)
        weight = sigmoid(with_bias(read(self.ge, characters, self.features)) @ self.gate)[:, None]
        mixture = (1 - weight) * softmax(characters.taps.logits) + weight * personal
        answers: npt.NDArray[np.int64] = mixture.argmax(axis=1)
        return answers


def fit_pfl_moe(
    ge: GlobalExpert,
    user: Characters,
    seed: int,
    *,
    features: str = "pooled",
    rate: float = 0.001,
    steps: int = 200,
    decay: float = 1.0,
) -> PersonalHead:
    """Train a personal last layer and a sigmoid gate on the user's data alone, beside the frozen global expert.

    Guo, Mei, Zhang, Yi, Yang, Cheng, "PFL-MoE: Personalized federated learning based on mixture of experts", arXiv
    2012.15589 (2020), the form whose gate reads features: the personal part starts as the global one, and both parts
    learn by the mixture's cross-entropy (here with Adam on all samples at once, and `decay` towards the start). The
    parameters were chosen on writers_small.npz by edgemoe.benchmark.tune.
    """
    hidden, inputs = (torch.from_numpy(with_bias(a)) for a in (user.hidden, read(ge, user, features)))
    frozen = torch.from_numpy(softmax(user.taps.logits))
    start, targets = torch.from_numpy(shipped_head(ge)), torch.from_numpy(user.labels)
    head, gate = start.clone().requires_grad_(), torch.zeros(inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([head, gate], lr=rate)
    with one_thread():
        for _ in range(steps):
            weight = torch.sigmoid(inputs @ gate)[:, None]
            mixture = (1 - weight) * frozen + weight * (hidden @ head.T).softmax(dim=1)
            away = ((head - start) ** 2).sum() + (gate**2).sum()
            loss = F.nll_loss(mixture.clamp(min=1e-9).log(), targets) + decay / 2 * away / len(targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return PersonalHead(ge, features, head.detach().numpy(), gate.detach().numpy())
