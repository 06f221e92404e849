"""``python3 -m firmware_export.fuzz --seconds 120``: build all fuzzers and run them, one after the other."""

import argparse
import sys
import tempfile
from pathlib import Path

from edgemoe.errors import EdgemoeError
from firmware_export.fuzz import FUZZERS, build_fuzzer, run_fuzzer, seed_inputs


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if no input made a fuzzer end, else 1."""
    parser = argparse.ArgumentParser(prog="python3 -m firmware_export.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="in all, shared by the fuzzers")
    parser.add_argument("--seed", type=int, default=1, help="of their random choices")
    parser.add_argument("--keep", type=Path, help="a folder for programs, inputs and findings; else a temporary one")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FUZZERS:
            seed_inputs(name, folder / name)
            try:
                program = build_fuzzer(name, folder)
                count = run_fuzzer(program, folder / name, max(1, options.seconds // len(FUZZERS)), options.seed)
            except EdgemoeError as error:
                print(error, file=sys.stderr)
                return 1
            print(f"em_fuzz_{name}: {count:,} inputs, none of them harmful")
    return 0


if __name__ == "__main__":
    sys.exit(main())
