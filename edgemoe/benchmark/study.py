"""A study in a folder: every method on every task, then the results and their pictures."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgemoe import __version__
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.benchmark.cost import measure_cost
from edgemoe.benchmark.method import Method
from edgemoe.benchmark.plots import scatter
from edgemoe.benchmark.report import markdown
from edgemoe.benchmark.results import summarize
from edgemoe.benchmark.rows import Rows
from edgemoe.benchmark.runner import run_tasks
from edgemoe.benchmark.tasks import Data, draw_sets, list_tasks
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic

__all__ = ["Plan", "run_study"]


@dataclass(frozen=True)
class Plan:
    """What is measured, apart from the number of shots.

    Attributes
    ----------
    methods : dict of str to Method
    sequential : collection of str
        Those that remember their inputs.
    draws : int
        Times that a writer's samples are drawn anew.
    limit : int or None
        So many writers, the first.
    seed : int
    jobs : int
        Processes.
    command : str
        What the results say made them.
    """

    methods: Mapping[str, Method]
    sequential: Collection[str]
    draws: int
    limit: int | None
    seed: int
    jobs: int
    command: str


def run_study(
    ge: GlobalExpert, data: Data, plan: Plan, shots: int, out: Path, fresh: bool, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Run a study, or go on where it was stopped, and write its results.

    ``rows.jsonl`` grows as it is measured; at the end ``results.json``, ``results.md`` and ``scatter.png`` are written.
    More draws or writers may be asked for later: what is there is kept. Anything else must be as it was.

    Parameters
    ----------
    out : Path
        The folder; made if need be.
    fresh : bool
        Drop what the folder holds of an earlier run.
    progress : callable
        Told the number of steps done, and of all.

    Returns
    -------
    dict
        The content of ``results.json``.

    Raises
    ------
    EdgemoeError
        If the folder cannot be written or holds another study.
    """
    settings = {
        "version": __version__,
        "global expert": ge.fingerprint.hex()[:16],
        **{name: f"{data.names[name]} ({data.digests[name]})" for name in data.names},
        "shots": shots,
        "seed": plan.seed,
        "methods": ", ".join(plan.methods),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgemoeError(f"{out}: cannot be made ({error.strerror})") from error
    rows = Rows(out / "rows.jsonl", settings, fresh)
    tasks = list_tasks(data, plan.draws, plan.limit, plan.seed)
    steps = len(tasks) + len(plan.methods)
    done = len(rows.costs) + sum((data.people[task.writer], task.draw) in rows.tasks for task in tasks)
    progress(done, steps)

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, steps)

    support = draw_sets(data, tasks[0], shots).support
    for name, method in plan.methods.items():  # first, while no other process of the study is at work
        if name not in rows.costs:
            rows.add_cost(name, measure_cost(method, ge, support, tasks[0].seed))
            step()
    found = run_tasks(ge, data, tasks, shots, plan.methods, plan.sequential, rows, plan.jobs, step)
    methods, stream = summarize(found, rows.costs)
    results = {
        "version": __version__,
        "command": plan.command,
        "data": data.names,
        "generic": len(data.generic),
        "shots": shots,
        "writers": len({task.writer for task in tasks}),
        "draws": plan.draws,
        "skipped": list(data.skipped),
        "seed": plan.seed,
        "global_expert": {
            "name": ge.name,
            "fingerprint": ge.fingerprint.hex(),
            "bytes": len(ge.graph),
            "macs": count_graph(parse_onnx(ge.graph, ge.name)).total().macs,
            "stream": stream,
        },
        "methods": methods,
    }
    write_atomic(out / "results.json", (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    write_atomic(out / "results.md", markdown(results).encode())
    write_atomic(out / "scatter.png", scatter(results))
    return results
