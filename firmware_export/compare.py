"""Measures the firmware for docs/firmware.md: ``python3 -m firmware_export.compare --help``.

On one network, given as a float32 ONNX file, what its inference takes at -O2 and -O3; what one dense layer's training
takes; and, for the shipped expert, what `edgemoe firmware verify` finds on every target.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe.data import load_samples
from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.local_expert import EPOCHS
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic
from edgemoe.global_expert.adopt import adopt_onnx
from edgemoe.simulator import simulated_samples
from firmware_export.emit_network import emit_network
from firmware_export.emulator import run
from firmware_export.layers import Network
from firmware_export.memory import library_memory
from firmware_export.network import read_network
from firmware_export.package import HARNESS, LIBRARY
from firmware_export.page import page
from firmware_export.reference import run_network
from firmware_export.targets import TARGETS, Target
from firmware_export.toolchain import build
from firmware_export.verify import Vectors, image_array, verify

__all__ = ["measure_dense", "measure_network", "measure_targets"]

BOARD = "cortex-m4"
CALIBRATION = 2000  # samples that the network is quantized with
IMAGES = 100  # others, that it recognizes
SHOTS = 5
INPUTS, OUTPUTS, TAUGHT = 84, 47, 200  # of the dense layer; samples of noise

# Sizes that stand in edgemoe_model.h of an expert, where only a part of it is measured.
REST = {
    "SPARE": 1,
    "SAMPLES_MOST": TAUGHT,
    "RETAINED": 2,
    "RETAINED_TRAINING": 1,
    "RETAINED_STEP": "1u",
    "FEATURE_SCALE": "74.0f",
    "POOLED_SCALE": "74.0f",
    "PRECISION_STEP": "1.0f",
}


def measure_network(
    network: Network, target: Target, images: npt.NDArray[np.uint8], optimize: str = "-O2"
) -> dict[str, Any]:
    """Run the network alone on a board.

    Parameters
    ----------
    network : Network
    target : Target
        One with a board.
    images : ndarray of uint8, shape (n, 28, 28)
    optimize : str

    Returns
    -------
    dict
        ``optimize``, ``macs``, ``instructions`` (mean over the images), ``instructions_per_mac``,
        ``dense_instructions_per_mac`` (of the first image with every pixel at least 1, so that none is skipped),
        ``flash_bytes``, ``ram_bytes`` (with stack) and ``stack_bytes``.

    Raises
    ------
    EdgemoeError
        If a tool is missing, or an answer is not the integer reference's.
    """
    shown = np.concatenate([images, np.maximum(images[:1], 1)])
    codes = [
        zlib.crc32(a) ^ zlib.crc32(b)
        for a, b in zip(*map(np.ascontiguousarray, run_network(network, shown)), strict=True)
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        macros, source = emit_network(network)
        _write_model(folder, macros, {"POOLED": 4 * network.feature_map[0], "QUARTER": 1})
        (folder / "em_network.c").write_text(source)
        (folder / "vectors.h").write_text(
            f"#define EM_VECTOR_IMAGES {len(shown)}\n{image_array('em_vector_image', shown)}"
            f"static const uint32_t em_vector_codes[] = {{{','.join(f'{code}u' for code in codes)}}};\n"
        )
        includes, network_c = [folder, LIBRARY], folder / "em_network.c"
        counting = [HARNESS / "network.c", network_c, LIBRARY / "em_pack.c"]
        numbers = run(target, build(target, counting, includes, folder / "counting", None, optimize)).numbers
        alone = build(target, [HARNESS / "network_alone.c", network_c], includes, folder / "alone", None, optimize)
        memory = library_memory(target, alone, optimize)
    if numbers["wrong"]:
        raise EdgemoeError(f"{target.name}, {optimize}: {numbers['wrong']} answers are not the integer reference's")
    mean = (numbers["all"] - numbers["last"]) / len(images)
    return {
        "optimize": optimize,
        "macs": network.macs,
        "instructions": round(mean),
        "instructions_per_mac": mean / network.macs,
        "dense_instructions_per_mac": numbers["last"] / network.macs,
        "flash_bytes": memory.flash,
        "ram_bytes": memory.ram + numbers["stack"],
        "stack_bytes": numbers["stack"],
    }


def measure_dense(target: Target, optimize: str = "-O2") -> dict[str, Any]:
    """Train one dense layer on a board with the local expert's trainer.

    Returns
    -------
    dict
        ``optimize``, ``inputs``, ``outputs``, ``samples``, ``epochs``, ``instructions`` (a sample and epoch),
        ``ram_bytes`` (weights, batch and stack), ``weight_bytes``, ``stack_bytes`` and ``learnt`` (the share of the
        samples that it knows then).
    """
    sizes = {
        "CLASSES": OUTPUTS,
        "CHANNELS": INPUTS // 4,
        "MAP_ROWS": 2,
        "MAP_COLUMNS": 2,
        "FEATURES": INPUTS,
        "POOLED": INPUTS,
        "QUARTER": 1,
        "NETWORK_SCRATCH": 8,
        "LOGIT_ZERO": 0,
        "LOGIT_STEP": "0.05f",
        "FEATURE_STEP": "0.01f",
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_model(folder, "", sizes)
        sources = [HARNESS / "dense.c", *sorted(LIBRARY.glob("*.c"))]
        numbers = run(target, build(target, sources, [folder, LIBRARY], folder / "dense", None, optimize)).numbers
    return {
        "optimize": optimize,
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "samples": TAUGHT,
        "epochs": EPOCHS,
        "instructions": round(numbers["all"] / TAUGHT / EPOCHS),
        "ram_bytes": numbers["weights"] + numbers["batch"] + numbers["stack"],
        "weight_bytes": numbers["weights"],
        "stack_bytes": numbers["stack"],
        "learnt": numbers["learnt"] / TAUGHT,
    }


def measure_targets(name: str, shown: int = IMAGES) -> dict[str, Any]:
    """Verify a shipped expert on every target, with a simulated writer's characters.

    Returns
    -------
    dict
        ``taught`` (samples learnt from), ``sample_bytes`` (of each, while training needs it) and ``targets`` (what
        `verify` found on each).
    """
    expert = load_global_expert(name)
    samples, labels = simulated_samples(0, SHOTS, expert.classes)
    images = simulated_samples(0, SHOTS, expert.classes, sample_seed=1)[0]
    chosen = np.random.default_rng(0).permutation(len(images))[:shown]
    vectors = Vectors(images[chosen], samples, labels.tolist())
    network = read_network(expert.graph)
    return {
        "taught": len(samples),
        "sample_bytes": 1 + network.features + network.classes,
        "targets": [verify(expert, target, vectors) for target in TARGETS.values()],
    }


def _write_model(folder: Path, macros: str, sizes: dict[str, object]) -> None:
    lines = [f"#define EM_{name} {value}\n" for name, value in (REST | sizes).items()]
    (folder / "edgemoe_model.h").write_text(macros + "".join(lines))


def _version(*command: str) -> str:
    """The first word of what a program prints that begins with a digit: its version."""
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(word for word in printed.split() if word[0].isdigit())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write ``figures/firmware.json`` and ``firmware.md`` into the folder of the documents."""
    parser = argparse.ArgumentParser(prog="python3 -m firmware_export.compare", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a float32 ONNX file of a sequential CNN")
    parser.add_argument("--samples", required=True, help="what it is quantized with, and recognizes")
    parser.add_argument("--expert", default="lenet5-balanced", help="a shipped expert")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="the folder of the documents")
    options = parser.parse_args(arguments)
    try:
        images, labels, _ = load_samples(options.samples)
        network = read_network(adopt_onnx(options.model, images[:CALIBRATION], labels[:CALIBRATION]).graph)
        board, shown = TARGETS[BOARD], images[CALIBRATION : CALIBRATION + IMAGES]
        record = {
            "command": f"python3 -m firmware_export.compare --model {options.model} --samples {options.samples}",
            "compiler": f"GCC {_version(f'{board.prefix}gcc', '-dumpfullversion')}",
            "emulator": f"QEMU {_version(*board.runner, '--version')}",
            "model": options.model.name,
            "images": len(shown),
            "network": [measure_network(network, board, shown, optimize) for optimize in ("-O2", "-O3")],
            "dense": [measure_dense(board, optimize) for optimize in ("-O2", "-O3")],
            "expert": options.expert,
            "shots": SHOTS,
            **measure_targets(options.expert),
        }
        write_atomic(options.out / "figures" / "firmware.json", (json.dumps(record, indent=1) + "\n").encode())
        write_atomic(options.out / "firmware.md", page(options.out).encode())
    except EdgemoeError as error:
        print(f"edgemoe: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
