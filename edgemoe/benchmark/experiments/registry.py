"""The experiments, each a name, what is tried, and a fit to compare with the product's own compact or full parts."""

from dataclasses import dataclass

from edgemoe.benchmark.experiments.gates import discriminant, logistic, product_gate
from edgemoe.benchmark.experiments.joint import alternating, calibrated, evidence, tempered, trusting
from edgemoe.benchmark.experiments.local_experts import first_guesses, linear, low_rank, normal, product_local, ridge
from edgemoe.benchmark.experiments.parts import Fit, GateFit, LocalFit, with_parts
from edgemoe.benchmark.experiments.priors import (
    average_gate,
    average_weights,
    class_spread,
    input_spread,
    pooled_weights,
)
from edgemoe.device.personalizer import SIZES

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
COMPACT, FULL = SIZES["compact"], SIZES["full"]
LOCAL, GATE = product_local(COMPACT.local_bits), product_gate(COMPACT.gate_bits)


def _local(name: str, tried: str, fit: LocalFit, size: str = "compact") -> None:
    """Enter a local expert, beside the product's gate."""
    EXPERIMENTS[name] = Experiment(tried, with_parts(fit, product_gate(SIZES[size].gate_bits)), size)


def _gate(name: str, tried: str, fit: GateFit, size: str = "compact") -> None:
    """Enter a gate, beside the product's local expert."""
    EXPERIMENTS[name] = Experiment(tried, with_parts(product_local(SIZES[size].local_bits), fit), size)


def _both(name: str, tried: str, fit: Fit, size: str = "compact", blends: str = "probabilities") -> None:
    EXPERIMENTS[name] = Experiment(tried, fit, size, blends)


_both("compact", "the product", with_parts(LOCAL, GATE))
_both("full", "the product", with_parts(product_local(FULL.local_bits), product_gate(FULL.gate_bits)), "full")

for view, words in {
    "logits": "its logits",
    "hidden": "its last hidden layer (float)",
    "apart": "quarters that share no row or column",
    "channels": "each channel's mean",
    "windows": "3 x 3 windows",
    "features": "all convolution features",
    "quarters+logits": "quarters and logits",
    "quarters+hidden": "quarters and last hidden layer",
}.items():
    _local(f"local-reads-{view}", f"local expert reads {words}, 2 bits", linear(view))
    _local(f"full-local-reads-{view}", f"local expert reads {words}, 8 bits", linear(view, 8), "full")
for decay in (0.3, 0.6, 2.0, 3.0):
    _local(f"local-decay-{decay}", f"local expert's ridge penalty {decay}", linear(decay=decay))
    _local(f"full-local-decay-{decay}", f"local expert's ridge penalty {decay}", linear(bits=8, decay=decay), "full")
for bits in (2, 3, 4, 8):
    _local(
        f"local-{bits}-bits-plain", f"local expert in {bits} bits, rounded plainly", linear(bits=bits, straight=False)
    )
    if bits > 2:
        _local(f"local-{bits}-bits", f"local expert in {bits} bits, rounded by the loss", linear(bits=bits))
for rank, bits in ((4, 4), (8, 4), (16, 4), (8, 8), (16, 3)):
    _local(f"rank-{rank}-{bits}-bits", f"local expert of rank {rank}, retrained, {bits} bits", low_rank(rank, bits))
_local("ridge", "local expert by ridge regression on what the probabilities lack, 8 bits", ridge(8, 3.0, 8.0))
_local(
    "normal", "classes as normal distributions of the retention set's covariance, 8 bits", normal(8, False, 10.0, 0.05)
)
_local("normal-taught", "the same, other writers' covariance shipped", normal(8, True, 5.0, 0.02))
for size, bits in (("", 2), ("full-", 8)):
    which = "full" if size else "compact"
    for name, words, prior in (
        ("average", "start from other writers' average weights (Reptile), 2 bits shipped", average_weights(2)),
        ("pooled", "start from a correction fitted to all other writers, 2 bits shipped", pooled_weights(2)),
        ("pooled-4", "the same, 4 bits shipped", pooled_weights(4)),
        ("pooled-rank-4", "the same of rank 4, 4 bits shipped", pooled_weights(4, rank=4)),
        ("inputs", "other writers' spread of weights, a byte an input", input_spread),
        ("classes", "other writers' spread of weights, a byte a class", class_spread),
    ):
        _local(f"{size}prior-{name}", words, linear(bits=bits, prior=prior), which)
    for copies in (2, 4):
        words = f"local expert learns {copies} distorted copies of each sample too"
        _local(f"{size}copies-{copies}", words, linear(bits=bits, copies=copies), which)
_local("copies-8", "local expert learns 8 distorted copies of each sample too", linear(copies=8))
for strength in (0.5, 1.5):
    words = f"4 copies, {strength} times as distorted"
    _local(f"copies-4-distorted-{strength}", words, linear(copies=4, strength=strength))
    _local(f"full-copies-4-distorted-{strength}", words, linear(bits=8, copies=4, strength=strength), "full")
_local("copies-4-decay-0.5", "4 copies, ridge penalty 0.5", linear(copies=4, decay=0.5))
_local(
    "copies-4-retention",
    "4 copies, generic samples in the loss, weight 0.1",
    linear(copies=4, strength=1.25, retention=0.1),
)
_local(
    "full-windows-copies-4", "4 copies, 3 x 3 windows, 4 bits", linear("windows", 4, copies=4, strength=1.25), "full"
)
_local(
    "full-features-copies-4", "4 copies, all features, 2 bits", linear("features", 2, copies=4, strength=1.25), "full"
)
_local(
    "copies-4-retention-late",
    "the same, taken into account in rounding alone",
    linear(copies=4, strength=1.25, retention=0.1, late=True),
)
_both(
    "copies-4-gate",
    "4 copies; gate in 4 bits rounded by the loss",
    with_parts(linear(copies=4, strength=1.25), logistic(bits=4, straight=True)),
)
_both(
    "copies-4-retention-gate-3",
    "4 copies, generic samples in the loss; gate in 3 bits rounded by the loss",
    with_parts(linear(copies=4, strength=1.25, retention=0.1), logistic(bits=3, straight=True)),
)
_both(
    "copies-4-retention-gate",
    "4 copies, generic samples in the loss; gate in 4 bits rounded by the loss",
    with_parts(linear(copies=4, strength=1.25, retention=0.1), logistic(bits=4, straight=True)),
)
_local(
    "copies-4-retention-prior",
    "4 copies, generic samples in the loss, start from other writers' correction of rank 2, 4 bits shipped",
    linear(copies=4, strength=1.25, retention=0.1, prior=pooled_weights(4, rank=2)),
)
_local(
    "full-copies-4-retention-prior",
    "4 copies, generic samples in the loss, start from other writers' correction, 2 bits shipped",
    linear(bits=8, copies=4, strength=1.25, retention=0.1, prior=pooled_weights(2)),
    "full",
)
_both(
    "full-copies-4-retention",
    "4 copies, generic samples in the loss, 8 bits",
    with_parts(linear(bits=8, copies=4, strength=1.25, retention=0.1), product_gate(8)),
    "full",
)
_local(
    "full-retention-0.1",
    "generic samples in the local expert's loss, weight 0.1",
    linear(bits=8, retention=0.1),
    "full",
)
for weight in (0.1, 0.3, 1.0):
    _local(
        f"retention-{weight}", f"generic samples in the local expert's loss, weight {weight}", linear(retention=weight)
    )
_local("bags", "local expert averaged over 5 bootstrap samples", linear(bags=5))
_local("confused", "correct only classes confused among the user's samples", linear(confused=True))
_local("smoothing", "labels smoothed by 0.1", linear(smoothing=0.1))
for count in (4, 8, 16):
    _local(f"guesses-{count}", f"correct the global expert's first {count} guesses only", first_guesses(LOCAL, count))

for view, words in {
    "quarters": "the pooled quarters",
    "logits+confidence": "logits and confidence",
    "features+logits": "all features and logits",
    "features+probabilities": "all features and probabilities",
    "features+guess": "all features and which class is guessed",
    "features+confidence": "all features and confidence",
    "features+squares": "all features and squares of the pooled",
    "products": "products of channel means",
    "features+products": "all features and products of channel means",
}.items():
    _gate(f"gate-reads-{view}", f"gate reads {words}", logistic(view))
for bits in (2, 3, 4, 8):
    _gate(f"gate-{bits}-bits-straight", f"gate in {bits} bits, rounded by the loss", logistic(bits=bits, straight=True))
    if bits != 3:
        _gate(f"gate-{bits}-bits", f"gate in {bits} bits, rounded plainly", logistic(bits=bits))
for decay in (1.0, 3.0, 30.0, 100.0):
    _gate(f"gate-decay-{decay:g}", f"gate's ridge penalty {decay:g}", logistic(decay=decay))
for balance in (0.2, 0.8):
    _gate(
        f"gate-balance-{balance}", f"the user's samples weigh {balance} of the gate's loss", logistic(balance=balance)
    )
for stretch in (0.5, 1.5, 2.0, 20.0):
    _gate(f"gate-stretch-{stretch:g}", f"log-odds times {stretch:g}", logistic(stretch=stretch))
_gate("gate-discriminant", "linear discriminant with the retention set's covariance", discriminant())
_gate("gate-classes-balanced", "generic samples weighed class by class", logistic(class_balance=True))
_gate("gate-copies-2", "gate learns 2 distorted copies too", logistic(copies=2))
_gate("gate-start", "start from a gate of all other writers, 3 bits shipped", logistic(start=average_gate(3)))
_gate("gate-negatives", "750 samples of other pen writers added to the retention set", logistic(negatives=750))
for guess in ("local", "global"):
    _both(f"trust-{guess}", f"trust by the class that the {guess} expert says", trusting(LOCAL, GATE, guess))
_both("calibrated", "log-odds calibrated on held-out samples (Platt)", calibrated(LOCAL, GATE))
_both("tempered", "correction scaled by cross-validation", tempered(LOCAL, GATE))
for share in (0.25, 0.5):
    _both(f"evidence-{share}", f"log-odds raised by {share} of the correction's evidence", evidence(LOCAL, GATE, share))
for rounds in (1, 3):
    _both(
        f"alternating-{rounds}",
        f"both trained for the mixture's likelihood, {rounds} rounds",
        alternating(2, 3, rounds),
    )
_both("blend-logits", "logits mixed instead of probabilities", with_parts(LOCAL, GATE), blends="logits")
