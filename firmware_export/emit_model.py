"""Writes edgemoe_model.h and em_model.c: the sizes of a global expert, what its statistics say, its retention set."""

from collections.abc import Iterable

import numpy as np

from firmware_export.emit_network import emit_network
from firmware_export.expert import IntegerExpert
from firmware_export.retention import pack_retention

__all__ = ["SAMPLES_MOST", "emit_model", "room_for_symbols"]

ROWS_AT_ONCE = 4  # of the local expert, that the library computes
SAMPLES_MOST = 500  # of the user's that are learnt from at once: the arena holds a number for each
WIDTH = 118  # columns of a line of numbers


def room_for_symbols(classes: int, symbols: int = 0) -> int:
    """Return how many spare symbols there is room for: those of a profile, and at least what fills up the rows."""
    return max(-classes % ROWS_AT_ONCE, symbols)


def emit_model(expert: IntegerExpert, spare: int, samples_most: int = SAMPLES_MOST) -> dict[str, str]:
    """Return edgemoe_model.h, em_model.c and em_network.c by name.

    Parameters
    ----------
    expert : IntegerExpert
        With the retention set that the device keeps.
    spare : int
        Spare symbols that there is room for.
    samples_most : int
        Of the user's, that are learnt from at once.
    """
    network, retained = expert.network, pack_retention(expert.retention, expert.network)
    macros, layers = emit_network(network)
    channels, rows, columns = network.feature_map
    scale, step = expert.standardizer, network.feature_step
    statistics = scale.statistics
    sizes = {
        "EM_SPARE": (spare, "spare symbols that there is room for"),
        "EM_POOLED": (4 * channels, "quarters of the channels' maps, which the local expert reads"),
        "EM_QUARTER": ((rows + 1) // 2 * ((columns + 1) // 2), "features in a quarter"),
        "EM_SAMPLES_MOST": (samples_most, "of the user's, that em_train learns from"),
        "EM_RETAINED": (retained.count, "samples of the retention set"),
        "EM_RETAINED_TRAINING": (retained.training, "of them, that the gate's log-odds are measured against"),
        "EM_FEATURE_SCALE": (_real(scale.feature_scale / step), "standard deviation of the features, in their steps"),
        "EM_POOLED_SCALE": (_real(scale.pooled_scale / step), "the same of their means over quarters"),
        "EM_PRECISION_STEP": (_real(statistics.step), "of the inverse covariance's entries, normalized"),
        **retained.macros(),
    }
    header = (
        f"/* Generated: the sizes of {expert.name} ({expert.fingerprint.hex()[:16]}). */\n"
        "#ifndef EDGEMOE_MODEL_H\n#define EDGEMOE_MODEL_H\n\n"
        + macros
        + "".join(f"#define {name} {value} /* {note} */\n" for name, (value, note) in sizes.items())
        + "\n#endif\n"
    )
    arrays = [
        _array("uint8_t", "em_fingerprint", list(expert.fingerprint[:16])),
        _array("uint32_t", "em_codepoints", [ord(name) for name in expert.classes]),
        _array("float", "em_feature_mean", map(_real, scale.feature_mean / np.float32(step))),
        _array("float", "em_pooled_mean", map(_real, scale.pooled_mean / np.float32(step))),
        _array("float", "em_precision_roots", map(_real, statistics.roots * np.float32(step))),
        _array("int8_t", "em_precision", statistics.codes.tolist()),
        *(_array("uint8_t", name, values.tolist()) for name, values in retained.arrays().items()),
    ]
    source = f'/* Generated: what {expert.name} knows about generic features. */\n#include "em_internal.h"\n\n'
    return {"edgemoe_model.h": header, "em_model.c": source + "\n".join(arrays), "em_network.c": layers}


def _real(value: float | np.floating) -> str:
    return f"{np.float32(value):.9e}f"


def _array(kind: str, name: str, values: Iterable[object]) -> str:
    lines, line = [], "   "
    texts = [str(value) for value in values]
    for text in texts:
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    body = "\n".join([*lines, line])
    return f"const {kind} {name}[{len(texts)}] = {{\n{body}\n}};\n"
