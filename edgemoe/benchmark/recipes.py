"""Takes from the benchmark's record and its methods the table that `edgemoe account --against` ships."""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any

from edgemoe.accounting.recipes import summary
from edgemoe.benchmark.methods import METHODS
from edgemoe.benchmark.methods.finetune import MINIBATCH
from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic

__all__ = ["shipped_table"]

TAKEN = {"last-layer": ["steps"], "lora": ["rank", "epochs"], "full-finetune": ["epochs"], "knn-per": ["features"]}


def shipped_table(path: str) -> dict[str, Any]:
    """Return the table's content, from a benchmark's record and the methods' defaults."""
    record = json.loads(read_bounded(path, 20 * 2**20))
    parameters: dict[str, dict[str, Any]] = {}
    for name, taken in TAKEN.items():
        defaults = inspect.signature(METHODS[name]).parameters
        parameters[name] = {key: defaults[key].default for key in taken}
        if "epochs" in taken:
            parameters[name]["minibatch"] = MINIBATCH
    return {**summary(record, path), "parameters": parameters}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make the table of methods that the package ships.")
    parser.add_argument("record", help="the benchmark's results.json")
    parser.add_argument("--out", required=True, help="edgemoe/accounting/methods.json")
    options = parser.parse_args()
    try:
        write_atomic(Path(options.out), (json.dumps(shipped_table(options.record), indent=1) + "\n").encode())
    except EdgemoeError as error:
        sys.exit(f"edgemoe: {error}")


if __name__ == "__main__":
    main()
