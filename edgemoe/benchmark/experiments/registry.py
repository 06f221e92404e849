"""The experiments, each a name, what is tried, and a fit to compare with the product's own compact or full parts."""

from dataclasses import dataclass

from edgemoe.benchmark.experiments.gates import discriminant, logistic, product_gate
from edgemoe.benchmark.experiments.joint import calibrated, trusting
from edgemoe.benchmark.experiments.local_experts import Linear, first_guesses, low_rank, normal, product_local, ridge
from edgemoe.benchmark.experiments.parts import Fit, GateFit, LocalFit, with_parts
from edgemoe.benchmark.experiments.priors import average_weights, pooled_weights
from edgemoe.device.training import SIZES

__all__ = ["EXPERIMENTS", "Experiment"]


@dataclass(frozen=True)
class Experiment:
    """One trial.

    Attributes
    ----------
    tried : str
        In one line.
    fit : callable
        Takes the bench and a user's samples, and returns a `Mixture`.
    size : str
        The product's size that it is compared with.
    blends : str
        What is mixed by the gate's weight: "probabilities", as in the product, or "logits".
    """

    tried: str
    fit: Fit
    size: str
    blends: str = "probabilities"


EXPERIMENTS: dict[str, Experiment] = {}
LOCAL, GATE = product_local(SIZES["compact"].local_bits), product_gate(SIZES["compact"].gate_bits)


def _local(name: str, tried: str, fit: LocalFit) -> None:
    """Enter a local expert, beside the product's gate."""
    size = "full" if name.startswith("full") else "compact"
    EXPERIMENTS[name] = Experiment(tried, with_parts(fit, product_gate(SIZES[size].gate_bits)), size)


def _gate(name: str, tried: str, fit: GateFit) -> None:
    """Enter a gate, beside the product's local expert in its compact form."""
    _both(name, tried, with_parts(LOCAL, fit))


def _both(name: str, tried: str, fit: Fit, blends: str = "probabilities") -> None:
    EXPERIMENTS[name] = Experiment(tried, fit, "compact", blends)


_local("compact", "the product", LOCAL)
_local("full", "the product", product_local(SIZES["full"].local_bits))

_local("no-copies", "local expert learns no distorted copies", Linear(copies=0))
_local("full-no-copies", "local expert learns no distorted copies", Linear(bits=8, copies=0))
_gate("gate-logistic", "logistic gate against the retention set, 3 bits", logistic())
_gate("gate-rounded-plainly", "logistic gate rounded plainly, not by the loss", logistic(settled=False))
_both("neither", "no copies, logistic gate rounded plainly", with_parts(Linear(copies=0), logistic(settled=False)))
for copies in (2, 8):
    _local(f"copies-{copies}", f"{copies} distorted copies of each sample, not 4", Linear(copies=copies))
for strength in (0.5, 1.5):
    _local(f"distorted-{strength}", f"copies {strength} times as distorted", Linear(strength=strength))
_local("full-distorted-1.5", "copies 1.5 times as distorted", Linear(bits=8, strength=1.5))
for weight in (0.1, 0.3):
    words = f"generic samples in the local expert's loss too, weight {weight}"
    _local(f"retention-{weight}", words, Linear(retention=weight))
_local(
    "full-retention-0.1", "generic samples in the local expert's loss too, weight 0.1", Linear(bits=8, retention=0.1)
)

for view, words in {
    "logits": "the logits",
    "hidden": "the last hidden layer (float)",
    "channels": "each channel's mean",
    "apart": "quarters that share no row or column",
    "windows": "3 x 3 windows",
    "quarters+logits": "quarters and logits",
}.items():
    _local(f"local-reads-{view}", f"local expert reads {words}", Linear(view))
for view, bits, words in (
    ("logits", 8, "the logits"),
    ("hidden", 8, "the last hidden layer (float)"),
    ("windows", 4, "3 x 3 windows"),
    ("features", 2, "all convolution features"),
):
    _local(f"full-local-reads-{view}", f"local expert reads {words}, {bits} bits", Linear(view, bits))
for decay in (0.5, 2.0):
    _local(f"local-decay-{decay:g}", f"local expert's ridge penalty {decay:g}", Linear(decay=decay))
    _local(f"full-local-decay-{decay:g}", f"local expert's ridge penalty {decay:g}", Linear(bits=8, decay=decay))

_local("local-2-bits-plain", "local expert in 2 bits, rounded plainly", Linear(settled=False))
for bits in (3, 4):
    _local(f"local-{bits}-bits", f"local expert in {bits} bits", Linear(bits=bits))
    _local(f"full-local-{bits}-bits", f"local expert in {bits} bits", Linear(bits=bits))
_local("full-local-2-bits", "local expert in 2 bits", Linear())
for rank, bits in ((4, 4), (8, 4), (16, 3), (16, 4)):
    _local(f"rank-{rank}-{bits}-bits", f"local expert of rank {rank}, retrained, {bits} bits", low_rank(rank, bits))

_local("ridge", "local expert by ridge regression on what the probabilities lack, 8 bits", ridge(8, 3.0, 8.0))
_local(
    "normal", "classes as normal distributions of the retention set's covariance, 8 bits", normal(8, False, 10.0, 0.05)
)
_local("normal-taught", "the same, other writers' covariance shipped", normal(8, True, 5.0, 0.02))
AVERAGE, POOLED, SMALL = average_weights(2), pooled_weights(2), pooled_weights(4, rank=2)
_local("prior-average", "start from other writers' average weights (Reptile), 2 bits shipped", Linear(prior=AVERAGE))
_local("prior-pooled", "start from a correction fitted to all other writers, 2 bits shipped", Linear(prior=POOLED))
_local("prior-pooled-rank-2", "the same of rank 2, 4 bits shipped", Linear(prior=SMALL))
_local("full-prior-average", "start from other writers' average weights, 2 bits shipped", Linear(bits=8, prior=AVERAGE))
_local("full-prior-pooled", "start from a correction fitted to all other writers, 2 bits", Linear(bits=8, prior=POOLED))
_local(
    "full-prior-pooled-retention",
    "the same, and generic samples in the loss, weight 0.1",
    Linear(bits=8, prior=POOLED, retention=0.1),
)
_local("confused", "correct only classes confused among the user's samples", Linear(confused=True))
_local("guesses-8", "correct the global expert's first 8 guesses only", first_guesses(LOCAL, 8))

for view, words in {
    "quarters": "the pooled quarters",
    "logits+confidence": "logits and confidence",
    "features+logits": "all features and logits",
    "features+guess": "all features and which class is guessed",
    "features+confidence": "all features and confidence",
    "features+products": "all features and products of channel means",
}.items():
    _gate(f"gate-reads-{view}", f"logistic gate reads {words}", logistic(view))
for bits in (2, 4, 8):
    _gate(f"gate-{bits}-bits", f"logistic gate in {bits} bits", logistic(bits=bits))
for decay in (3.0, 30.0):
    _gate(f"gate-decay-{decay:g}", f"logistic gate's ridge penalty {decay:g}", logistic(decay=decay))
for stretch in (0.5, 1.5, 20.0):
    _gate(f"gate-stretch-{stretch:g}", f"logistic gate's log-odds times {stretch:g}", logistic(stretch=stretch))
_gate("gate-discriminant", "discriminant with the retention set's covariance, not calibrated", discriminant())
_gate("gate-copies", "logistic gate learns the distorted copies too", logistic(copies=True))
_gate("gate-negatives", "logistic gate against 750 samples of other pen writers too", logistic(negatives=750))
_both("trust", "trust by the class that the local expert says", trusting(LOCAL, GATE))
_both("calibrated", "log-odds calibrated on held-out samples (Platt)", calibrated(LOCAL, GATE))
_both("blend-logits", "logits mixed instead of probabilities", with_parts(LOCAL, GATE), blends="logits")
