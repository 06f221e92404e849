"""Run experiments: ``python -m edgemoe.benchmark.experiments --writers W --generic E --out J [--only NAME ...]``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from edgemoe.benchmark.experiments.harness import compare
from edgemoe.benchmark.experiments.registry import EXPERIMENTS
from edgemoe.benchmark.experiments.samples import load_bench
from edgemoe.benchmark.experiments.table import with_table
from edgemoe.device.global_expert import load_global_expert
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic


def _earlier(path: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of a record that is there already, if it is of the same setting; others would not compare."""
    if not Path(path).is_file():
        return {}
    try:
        record = json.loads(read_bounded(path, 1 << 20))
        same = all(record[key] == value for key, value in setting.items())
        return dict(record["experiments"]) if same else {}
    except (ValueError, KeyError, TypeError) as error:
        raise EdgemoeError(f"{path}: not a record of experiments ({error!r})") from error


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m edgemoe.benchmark.experiments", description=__doc__)
    parser.add_argument("--writers", required=True, help="samples with writer ids")
    parser.add_argument("--generic", required=True, help="samples of people in general")
    parser.add_argument("--out", required=True, help="the JSON record to write; rows of other experiments in it stay")
    parser.add_argument("--table", help="a Markdown document whose table of experiments is made anew")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the experiments to run; all, if not given")
    parser.add_argument("--ge", default="lenet5-balanced", help="a shipped name or a bundle")
    parser.add_argument("--shots", type=int, default=5, help="samples of each character to learn from")
    parser.add_argument("--draws", type=int, default=1, help="times that the samples are drawn anew")
    options = parser.parse_args()
    try:
        names = options.only or list(EXPERIMENTS)
        unknown = sorted(set(names) - set(EXPERIMENTS))
        if unknown:
            raise EdgemoeError(f"--only: no experiment is called {unknown[0]!r}")
        bench = load_bench(
            load_global_expert(options.ge), options.writers, options.generic, options.shots, options.draws
        )
        setting = {
            "data": {"writers": options.writers, "generic": options.generic},
            "global_expert": bench.ge.fingerprint.hex(),
            "global_expert_bytes": len(bench.ge.bundle.int8),
            "tested": len({user.name for user in bench.users}),
            "teachers": len(bench.teachers),
            "generic_samples": len(bench.generic),
            "shots": options.shots,
            "draws": options.draws,
        }
        found = compare(bench, track(names, "experiments", console=Console(stderr=True)))
        rows = {**_earlier(options.out, setting), **found}
        record = {**setting, "experiments": {name: rows[name] for name in EXPERIMENTS if name in rows}}
        write_atomic(options.out, (json.dumps(record, indent=1) + "\n").encode())
        if options.table:
            text = read_bounded(options.table, 1 << 20).decode()
            write_atomic(options.table, with_table(text, record).encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


if __name__ == "__main__":
    main()
