"""The methods that the benchmark compares, by name.

`bytes` is what a device keeps of its user: our profile as it is written, and for every other method one byte a weight
or feature, as if int8 lost it no accuracy. `macs` come on top of the global expert's inference.
"""

from functools import partial

from edgemoe.benchmark.method import Method
from edgemoe.benchmark.methods.finetune import fit_bias_only, fit_full_finetune, fit_lora
from edgemoe.benchmark.methods.heads import fit_last_layer, fit_linear_probe, fit_pfl_moe
from edgemoe.benchmark.methods.mixture import fit_local, fit_mixture
from edgemoe.benchmark.methods.nearest import fit_knn_per, fit_nearest_mean
from edgemoe.benchmark.methods.routing import fit_global, fit_oracle, fit_threshold

__all__ = ["METHODS", "SEQUENTIAL"]

METHODS: dict[str, Method] = {
    "global": fit_global,
    "threshold-router": fit_threshold,
    "nearest-mean": fit_nearest_mean,
    "knn-per": fit_knn_per,
    "pfl-moe": fit_pfl_moe,
    "linear-probe": fit_linear_probe,
    "last-layer": fit_last_layer,
    "bias-only": fit_bias_only,
    "lora": fit_lora,
    "full-finetune": fit_full_finetune,
    "local": fit_local,
    "mixture": partial(fit_mixture, size="compact", stream=False),
    "mixture-full": partial(fit_mixture, size="full", stream=False),
    "mixture-session": partial(fit_mixture, size="compact", stream=True),
    "mixture-session-full": partial(fit_mixture, size="full", stream=True),
    "oracle-router": fit_oracle,
}

SEQUENTIAL = frozenset({"mixture-session", "mixture-session-full"})
"""Those that remember: `predict` reads its characters as one session's inputs, in order."""
