"""What one fit costs: time and memory, alone in a process of its own."""

import contextlib
import re
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from edgemoe.benchmark.method import Characters, Method
from edgemoe.benchmark.network import one_thread
from edgemoe.device.global_expert import GlobalExpert

__all__ = ["measure_cost"]

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")  # writing 5 sets the peak to what is resident now (Linux, proc(5))


def measure_cost(method: Method, ge: GlobalExpert, support: Characters, seed: int) -> dict[str, Any]:
    """Fit twice in a fresh process, on one thread: the first fit for its memory, the second for its time.

    Before the first fit the process has imported what the method needs, the global expert has read one image and torch
    has trained a network of two weights, so that the libraries have set themselves up; the method has fitted nothing.
    The peak is what the first fit then adds to the resident memory at most (VmHWM, reset through ``clear_refs``, less
    VmRSS just before): neither the samples nor the libraries are in it.

    Returns
    -------
    dict
        ``train_seconds`` (float), the processor's time, which is that on an idle core, and ``train_peak_bytes`` (int,
        or None where there is no /proc).
    """
    quiet = signal.signal, (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word; the parent has one
    with ProcessPoolExecutor(1, get_context("spawn"), *quiet) as process:
        return process.submit(_fit_twice, method, ge, support, seed).result()


def _fit_twice(method: Method, ge: GlobalExpert, support: Characters, seed: int) -> dict[str, Any]:
    with one_thread(), threadpool_limits(1):
        _warm_up(ge, support)
        with contextlib.suppress(OSError):
            RESET.write_text("5")
        before = _memory("VmRSS")
        method(ge, support, seed)
        peak = _memory("VmHWM")
        started = time.process_time()
        method(ge, support, seed)
        seconds = time.process_time() - started
    extra = None if before is None or peak is None else max(peak - before, 0)
    return {"train_seconds": round(seconds, 4), "train_peak_bytes": extra}


def _warm_up(ge: GlobalExpert, support: Characters) -> None:
    """Load what the fits of all methods need, without fitting one."""
    ge.taps(support.images[:1])
    _ = ge.standardizer, ge.generic, ge.held_out
    network = nn.Sequential(nn.Conv2d(1, 1, 28), nn.ReLU(), nn.Flatten(), nn.Linear(1, 2))
    optimizer = torch.optim.Adam(network.parameters())
    image = torch.from_numpy(support.images[:1, None].astype(np.float32))
    loss = nn.functional.cross_entropy(network(image), torch.tensor([0]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _memory(field: str) -> int | None:
    """Return a figure of /proc/self/status in bytes."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.M)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
