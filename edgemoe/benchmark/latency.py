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

from edgemoe.device.global_expert import GlobalExpert, load_global_expert
from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.device.personalizer import Personalizer
from edgemoe.errors import EdgemoeError
from edgemoe.export.routed_graph import routed_graph
from edgemoe.files import write_atomic
from edgemoe.simulator import simulated_samples

__all__ = ["compare", "interleave", "main", "measure_latency"]

BATCHES = {1: 300, 100: 20}  # images a call, and blocks of calls for each set of sessions
SETS = 8  # onnxruntime places a session's weights anew each time, which alone moves a ratio by 3 %
SPAN = 5e-4  # seconds that a block's calls take together, at least: many ticks of the clock, few of the scheduler
PAIRS = (
    ("routed", "global logits"),
    ("routed answer", "global logits"),
    ("routed", "global taps"),
    ("routed answer", "global taps"),
    ("global taps", "global logits"),
    ("mixture predict", "global predict"),
)
RESAMPLES = (
    2000  # of the bootstrap over sets of sessions (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)
)


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
    """Compare two calls that were timed in the same blocks, both ``(sets, blocks)``.

    Returns
    -------
    dict
        ``ratio``, the mean over the sets of the median of their blocks' ratios, and its 95 % interval ``ci95`` over the
        sets.
    """
    ratios = np.median(seconds / reference, axis=1)
    rng = np.random.default_rng(seed)
    draws = ratios[rng.integers(0, len(ratios), (RESAMPLES, len(ratios)))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"ratio": round(float(ratios.mean()), 4), "ci95": [round(float(low), 4), round(float(high), 4)]}


def measure_latency(moe: MixtureOfExperts, batches: dict[int, int], sets: int, seed: int = 0) -> dict[str, Any]:
    """Time a mixture and its global expert.

    Parameters
    ----------
    moe : MixtureOfExperts
    batches : dict of int to int
        Images a call, and how many blocks of calls to time in each set of sessions.
    sets : int
        How many times all sessions are made anew.
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
    pool, _ = simulated_samples(seed, -(-max(batches) // len(moe.ge.classes)), moe.ge.classes, sample_seed=1)
    graphs = {"global logits": _answer_only(moe.ge.graph), "global taps": moe.ge.graph, "routed": routed_graph(moe)}
    rows: dict[int, list[dict[str, npt.NDArray[np.float64]]]] = {batch: [] for batch in batches}
    for index in range(sets):
        fresh = MixtureOfExperts(GlobalExpert(moe.ge.bundle, moe.ge.form), moe.profile)
        sessions = {name: _session(graph) for name, graph in graphs.items()}
        for batch, blocks in batches.items():
            images = pool[:batch]
            feed = {"image": images[:, None].astype(np.float32) / np.float32(255)}
            calls: dict[str, Callable[[], object]] = {
                **{name: partial(session.run, None, feed) for name, session in sessions.items()},
                "routed answer": partial(sessions["routed"].run, ["probabilities"], feed),
                "global predict": partial(fresh.ge.predict, images),
                "mixture predict": partial(fresh.predict, images),
            }
            rows[batch].append(interleave(calls, blocks, index))
    found: dict[str, Any] = {}
    for batch, timed in rows.items():
        times = {name: np.array([row[name] for row in timed]) for name in timed[0]}
        found[str(batch)] = {
            "ns_per_image": {name: round(float(np.median(values)) / batch * 1e9) for name, values in times.items()},
            "ratios": {f"{name} / {reference}": compare(times[name], times[reference]) for name, reference in PAIRS},
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
            "blocks": BATCHES,
            "sets": SETS,
            "profiles": {name: measure_latency(moe, BATCHES, SETS, options.seed) for name, moe in subjects.items()},
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
