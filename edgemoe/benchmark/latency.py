"""What the mixture's answer takes in time beside the global expert's, in one process and the same onnxruntime.

python -m edgemoe.benchmark.latency --out docs/figures/latency.json
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgemoe.device.global_expert import load_global_expert
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.personalizer import Personalizer
from edgemoe.errors import EdgemoeError
from edgemoe.export.routed_graph import routed_graph
from edgemoe.files import write_atomic
from edgemoe.simulator import simulated_samples

__all__ = ["compare", "interleave", "main", "measure_latency"]

BATCHES = {1: 3000, 100: 200}  # images a call, and blocks of calls
SPAN = 5e-4  # seconds that a block's calls take together, at least: many ticks of the clock, few of the scheduler
RESAMPLES = 1000  # of the bootstrap over blocks (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)


def interleave(
    calls: dict[str, Callable[[], object]], blocks: int, seed: int = 0
) -> dict[str, npt.NDArray[np.float64]]:
    """Time calls in turn, block after block, so that what else the machine does falls on all alike.

    The order is drawn anew for each block, and each call is made untimed before it is timed: what ran before has left
    its data in the processor's caches.

    Returns
    -------
    dict of ndarray, shape (blocks,)
        Seconds of one call.
    """
    names = list(calls)
    repeats = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, round(SPAN / max(time.perf_counter() - start, 1e-9)))
    seconds = {name: np.empty(blocks) for name in names}
    rng = np.random.default_rng(seed)
    for block in range(blocks):
        for name in rng.permutation(names):
            call, times = calls[name], repeats[name]
            call()
            start = time.perf_counter()
            for _ in range(times):
                call()
            seconds[name][block] = (time.perf_counter() - start) / times
    return seconds


def compare(
    seconds: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], seed: int = 0
) -> dict[str, float | list[float]]:
    """Return the median of the blocks' ratios of two calls that were timed in the same blocks, with a 95 % interval."""
    ratios = seconds / reference
    rng = np.random.default_rng(seed)
    draws = np.median(ratios[rng.integers(0, len(ratios), (RESAMPLES, len(ratios)))], axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"ratio": round(float(np.median(ratios)), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}


def measure_latency(moe: MixtureOfExperts, batches: dict[int, int], seed: int = 0) -> dict[str, Any]:
    """Time a mixture and its global expert.

    Parameters
    ----------
    moe : MixtureOfExperts
    batches : dict of int to int
        Images a call, and how many blocks of calls to time.
    seed : int
        Of the simulated characters that are read.

    Returns
    -------
    dict
        For each batch size and each subject, nanoseconds an image and the ratio to each reference. ``global logits``
        is the global expert's graph with its answer alone as output, ``global taps`` the graph as shipped, ``routed``
        the routed graph with both outputs, ``routed answer`` the same asked for its probabilities alone;
        ``global predict`` and ``mixture predict`` are the package's own calls, from uint8 images to characters.
    """
    shipped = _session(moe.ge.graph)
    bare = _session(_answer_only(moe.ge.graph))
    routed = _session(routed_graph(moe))
    pool, _ = simulated_samples(seed, -(-max(batches) // len(moe.ge.classes)), moe.ge.classes, sample_seed=1)
    found: dict[str, Any] = {}
    for batch, blocks in batches.items():
        images = pool[:batch]
        feed = {"image": images[:, None].astype(np.float32) / np.float32(255)}
        calls: dict[str, Callable[[], object]] = {
            "global logits": partial(bare.run, None, feed),
            "global taps": partial(shipped.run, None, feed),
            "routed": partial(routed.run, None, feed),
            "routed answer": partial(routed.run, ["probabilities"], feed),
            "global predict": partial(moe.ge.predict, images),
            "mixture predict": partial(moe.predict, images),
        }
        times = interleave(calls, blocks)
        references = {
            "global logits": ("routed", "routed answer", "global taps"),
            "global taps": ("routed", "routed answer"),
            "global predict": ("mixture predict",),
        }
        found[str(batch)] = {
            "blocks": blocks,
            "ns_per_image": {name: round(float(np.median(values)) / batch * 1e9) for name, values in times.items()},
            "ratios": {
                f"{name} / {reference}": compare(times[name], times[reference])
                for reference, names in references.items()
                for name in names
            },
        }
    return found


def _session(graph: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # as GlobalExpert
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _answer_only(graph: bytes) -> bytes:
    """Return a global expert's graph without the tap that only gate and local expert read."""
    import onnx

    model = onnx.load_from_string(graph)
    outputs = [output for output in model.graph.output if output.name == "logits"]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    content: bytes = model.SerializeToString()
    return content


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Time the mixture beside its global expert.")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--ge", default="lenet5-balanced", help="a shipped name or a bundle")
    parser.add_argument("--profile", help="a profile; by default one of each size, of a simulated writer")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated writer")
    options = parser.parse_args()
    try:
        ge = load_global_expert(options.ge)
        if options.profile:
            subjects = {options.profile: MixtureOfExperts.load(options.profile, ge)}
        else:
            samples = simulated_samples(options.seed, 5, ge.classes)
            subjects = {size: Personalizer(ge, size).fit(*samples) for size in ("compact", "full")}
        found = {
            "command": f"python -m edgemoe.benchmark.latency --ge {options.ge}"
            + (f" --profile {options.profile}" if options.profile else "")
            + f" --seed {options.seed} --out {options.out}",
            "machine": _machine(),
            "onnxruntime": onnxruntime.__version__,
            "threads": 1,
            "profiles": {name: measure_latency(moe, BATCHES, options.seed) for name, moe in subjects.items()},
        }
        write_atomic(options.out, (json.dumps(found, indent=1) + "\n").encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


def _machine() -> str:
    """Return the processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    except OSError:
        names = set()
    return f"{platform.machine()}, {', '.join(sorted(names)) or platform.processor() or 'processor not known'}"


if __name__ == "__main__":
    main()
