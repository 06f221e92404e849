"""Runs every method on every task; what is done stays done."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from edgemoe.benchmark.method import Adapted, Method
from edgemoe.benchmark.network import one_thread
from edgemoe.benchmark.rows import Rows
from edgemoe.benchmark.streams import draw_stream, stream_figures
from edgemoe.benchmark.tasks import SOURCES, Data, Task, draw_sets
from edgemoe.device.global_expert import GlobalExpert

__all__ = ["measure_task", "run_tasks"]


def measure_task(
    ge: GlobalExpert,
    data: Data,
    task: Task,
    shots: int,
    methods: Mapping[str, Method],
    sequential: Collection[str],
) -> dict[str, Any]:
    """Fit every method on the same samples and ask it about the same others.

    A method in `sequential` remembers its inputs: it is asked about the task's stream, in order. Any other is asked
    about all samples of each source, and its figures on the stream follow from these answers.

    Returns
    -------
    dict
        ``writer``, ``draw``, ``learnt`` and ``tested`` (samples of the user), ``stream`` (the global expert's figures
        on the stream) and ``methods``. Of each method: for each source its accuracy and the global expert's on the same
        inputs (``user``, ``user_global``, ...), ``bytes``, ``macs``, ``seconds`` (of the processor, for the fit),
        ``answer_seconds`` (for all it was asked about), ``accepted`` (None if there is no acceptance test), ``stream``.
    """
    sets = draw_sets(data, task, shots)
    stream = draw_stream([len(samples) for samples in sets.asked], task.seed)
    inputs = stream.of(sets.asked)
    known = [samples.taps.logits.argmax(axis=1) == samples.labels for samples in sets.asked]
    known_stream = stream_figures(stream, stream.pick(known))
    found: dict[str, Any] = {}
    with one_thread(), threadpool_limits(1):
        for name, method in methods.items():
            started = time.process_time()
            adapted = method(ge, sets.support, task.seed)
            fitted = time.process_time()
            if name in sequential:
                figures = stream_figures(stream, adapted.predict(inputs) == inputs.labels)
                before, after = _accuracies(known_stream), _accuracies(figures)
            else:
                right = [adapted.predict(samples) == samples.labels for samples in sets.asked]
                figures = stream_figures(stream, stream.pick(right))
                before, after = _means(known), _means(right)
            answered = time.process_time()
            found[name] = {
                **after,
                **{f"{source}_global": value for source, value in before.items()},
                "bytes": int(adapted.bytes),
                "macs": int(adapted.macs),
                "seconds": round(fitted - started, 4),
                "answer_seconds": round(answered - fitted, 4),
                "accepted": _accepted(adapted),
                "stream": figures,
            }
    return {
        "writer": data.people[task.writer],
        "draw": task.draw,
        "learnt": len(sets.support),
        "tested": len(sets.asked[0]),
        "stream": known_stream,
        "methods": found,
    }


def run_tasks(
    ge: GlobalExpert,
    data: Data,
    tasks: Sequence[Task],
    shots: int,
    methods: Mapping[str, Method],
    sequential: Collection[str],
    rows: Rows,
    jobs: int,
    done: Callable[[], None],
) -> list[dict[str, Any]]:
    """Measure the tasks that `rows` has not, keep each as it is done, and return all in the tasks' order.

    Parameters
    ----------
    jobs : int
        Processes. They share the samples' memory; each computes on one thread.
    done : callable
        Called after each task that was measured.
    """
    todo = [task for task in tasks if (data.people[task.writer], task.draw) not in rows.tasks]
    calls = (delayed(measure_task)(ge, data, task, shots, methods, sequential) for task in todo)
    # Mapped into memory "c": a worker may write to its own copy, as torch wants to be able to.
    for row in Parallel(n_jobs=min(jobs, max(len(todo), 1)), return_as="generator_unordered", mmap_mode="c")(calls):
        rows.add_task(row)
        done()
    return [rows.tasks[data.people[task.writer], task.draw] for task in tasks]


def _accuracies(figures: dict[str, dict[str, float | None]]) -> dict[str, float | None]:
    return {source: figures[source]["accuracy"] for source in SOURCES}


def _means(flags: Sequence[npt.NDArray[np.bool_]]) -> dict[str, float | None]:
    return {source: float(values.mean()) for source, values in zip(SOURCES, flags, strict=True)}


def _accepted(adapted: Adapted) -> bool | None:
    """Return what the acceptance test said, where the recognizer keeps a profile."""
    profile = getattr(adapted, "profile", None)
    return None if profile is None else bool(profile.verdict.accepted)
