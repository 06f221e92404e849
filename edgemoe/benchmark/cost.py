"""What one fit costs: time and memory, alone in a process of its own."""

import contextlib
import re
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from edgemoe.benchmark.method import Characters, Method
from edgemoe.benchmark.network import one_thread
from edgemoe.device.global_expert import GlobalExpert

__all__ = ["measure_cost"]

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")  # writing 5 sets the peak to what is resident now (Linux, proc(5))


def measure_cost(method: Method, ge: GlobalExpert, support: Characters, seed: int) -> dict[str, Any]:
    """Fit twice in a fresh process, on one thread: the first fit for its memory, the second for its time.

    Before the first fit the process has imported what the method needs and the global expert has read one image, but
    nothing was fitted. The peak is what the first fit then adds to the resident memory at most (VmHWM, reset through
    ``clear_refs``, less VmRSS just before): the samples themselves and the libraries are not in it, and what a library
    sets aside at its first use is.

    Returns
    -------
    dict
        ``train_seconds`` (float) and ``train_peak_bytes`` (int, or None where there is no /proc).
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_fit_twice, method, ge, support, seed).result()


def _fit_twice(method: Method, ge: GlobalExpert, support: Characters, seed: int) -> dict[str, Any]:
    with one_thread(), threadpool_limits(1):
        ge.taps(support.images[:1])
        _ = ge.standardizer, ge.generic, ge.held_out
        with contextlib.suppress(OSError):
            RESET.write_text("5")
        before = _memory("VmRSS")
        method(ge, support, seed)
        peak = _memory("VmHWM")
        started = time.perf_counter()
        method(ge, support, seed)
        seconds = time.perf_counter() - started
    extra = None if before is None or peak is None else max(peak - before, 0)
    return {"train_seconds": round(seconds, 4), "train_peak_bytes": extra}


def _memory(field: str) -> int | None:
    """Return a figure of /proc/self/status in bytes."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.M)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
