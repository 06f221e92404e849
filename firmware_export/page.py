"""Writes docs/firmware.md from the records in docs/figures: ``python3 -m firmware_export.page``."""

import json
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from edgemoe.errors import EdgemoeError
from edgemoe.files import read_bounded, write_atomic
from firmware_export.targets import TARGETS

__all__ = ["page"]

Record = dict[str, Any]

# Measured side by side for issue 5, on the same network as `network` of the record, GCC 12.2, mps2-an386: executed
# instructions a MAC at -O2 and -O3, flash and RAM with stack in KB. Of AIfES and the loop beside it: instructions a
# sample and epoch of a dense layer's training, and KB.
TOOLS = {
    "onnx2c, float32": (11.96, 5.51, 260.9, 41.0),
    "AIfES, float32": (34.36, 28.69, 277.0, 45.0),
    "NNoM, int8": (11.88, 11.89, 72.4, 10.8),
    "CMSIS-NN, int8": (5.18, 5.12, 79.3, 9.4),
    "TinyMaix, int8, fastest": (3.88, 3.82, 79.0, 10.1),
    "TinyMaix, int8, smallest": (5.14, 5.12, 70.6, 7.8),
}
TRAINERS = {
    "AIfES, batches of 20": ("166,278", "66"),
    "AIfES, one by one": ("462,154", "66"),
    "a plain C loop": ("48,493", "17"),
}

TEXT = """# Firmware

Written by `python3 -m firmware_export.page`; every figure is from the records named below it. For the one who puts
edgemoe on a board.

`edgemoe export firmware --target cortex-m4 --profile me.moe --out firmware` writes the global expert, what trains and
judges a local expert, and a profile as C99: one header, a few C files, `const` weights, one arena that the caller
provides. No allocation, no `stdio`, no libm, no variables of its own. Around them stand a CMake project, an Arduino
library, a Zephyr module, a PlatformIO manifest, an example that checks itself, and a README for the one who flashes.
`edgemoe firmware verify --target cortex-m4` builds it, runs it on an emulated board and compares it with the Python
side: features and logits bit by bit, labels, confidence, and the profile that was trained there.

## Targets

`{expert}`, {shots} samples of each class learnt on the device, GCC with `-O2`. Instructions are executed ones, counted
under QEMU's `-icount`; cycles are more, by how much depends on your part's flash and caches. A KB is 1,000 bytes.

{targets}

- *Recognition alone*: flash of a program that recognizes and loads a profile, and its RAM with stack. *All*: one that
  calls every function, with the retention set, and what training takes.
- *Local expert and gate*: what they add to an inference of the global expert.
- *Personalization*: {samples} inferences, training, and the acceptance test.
- A soft-float core (M3) trains in more instructions; inference is integers everywhere.
- On every target no image's features, logits or label differed; the profile trained there predicted the same as
  Python's on {agreement} of the images.
- Hosts (x86-64, aarch64) are verified alike; nothing is counted there.

## Beside other tools

One LeNet-5 of {macs} MACs and 64,851 parameters (`{model}`), {compiler}, mps2-an386 (Cortex-M4F): instructions a MAC,
flash, RAM with stack, and for ours with input and results. Theirs were measured side by side for issue 5 of this
project, not here. Ours are the mean over {images} images; an empty pixel of the first layer costs less, and without any
such pixel it is {dense} (`-O2`, `-O3`).

{tools}

Training one dense layer of {inputs} inputs and {outputs} outputs, per sample and epoch:

{trainers}

Ours holds the weights in float32 ({weights} KB), four samples at a time, and the stack.

## How training fits

`em_observe` runs the network on a labelled image and keeps its codes, {sample} bytes a sample, which may lie in flash.
`em_train` then never runs the network again. Gate, local expert, rounding and the acceptance test follow one another in
the same arena; the local expert's float32 weights are the largest thing there. On the Cortex-M4F arena and stack take
{ram} KB. Statistics of generic features for the gate are `const`, and so is the retention set.

What does not fit a common part with the target's core is refused at export, with the numbers:

{parts}

## What the retention set costs

It is what the acceptance test tries a mixture on, so that nobody is worse off, and most of the flash. Features have 4
bits, logits 8. Personalized for {writers} writers with {kept_shots} samples a class, on {generic} generic samples:

{retention}

Fewer samples cannot show with confidence that the loss is within its budget, and the mixture is declined; coarser codes
raise the threshold, and users lose accuracy. By default the export takes what fits into three tenths of the part's
flash, and at least 1,000 samples (`--retained`).

## What palettes cost

Dense weights are 4-bit codes into 16 values a layer: {palette_bytes} bytes of weights less for `lenet5-balanced`. After
pruning and retraining its accuracy on the validation images was {before}, and {after} with palettes, trained on for
{epochs} epochs (`docs/figures/lenet5-balanced.json`). `--palette-epochs 0` of `edgemoe train-global` leaves them out;
kernels for bytes and for codes are chosen at export, layer by layer.

## To add a board or a kernel

Both have a short recipe in [CONTRIBUTING.md](../CONTRIBUTING.md#to-add).

## Records

[firmware.json](figures/firmware.json), made by `{command}` ({compiler}; {emulator});
[firmware-retention.json](figures/firmware-retention.json), made by `python3 -m firmware_export.retention_study`.
"""


def page(docs: Path) -> str:
    """Return the page of the records in a folder of documents.

    Raises
    ------
    EdgemoeError
        If a record is missing or lacks a field.
    """
    record, kept, trained = (_read(docs, name) for name in ("firmware", "firmware-retention", "lenet5-balanced"))
    try:
        return TEXT.format(**_targets(record), **_compared(record), **_retained(kept), **_palettes(trained))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EdgemoeError(f"{docs}: a record of the firmware lacks {error}") from error


def _read(docs: Path, name: str) -> Record:
    path = docs / "figures" / f"{name}.json"
    try:
        record: Record = json.loads(read_bounded(path, 1 << 24))
    except ValueError as error:
        raise EdgemoeError(f"{path}: not a record of the firmware ({error})") from error
    return record


def _kilo(count: float) -> str:
    return f"{count / 1000:.1f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _targets(record: Record) -> dict[str, object]:
    counted = [one for one in record["targets"] if one["flash_bytes"] is not None]
    rows = [
        (
            one["target"],
            f"{one['instructions_per_inference'] / 1e6:.2f} M",
            f"{one['overhead']:.2%}",
            f"{one['instructions_train'] / 1e6:,.0f} M",
            f"{_kilo(one['recognition_flash_bytes'])} / {_kilo(one['recognition_ram_bytes'])}",
            f"{_kilo(one['flash_bytes'])} / {_kilo(one['ram_bytes'])}",
            f"{one['stack_bytes']:,}",
            f"{one['retained']:,}",
        )
        for one in counted
    ]
    head = (
        *("target", "instructions an inference", "of them local expert and gate", "personalization"),
        *("recognition alone: flash / RAM, KB", "all: flash / RAM, KB", "stack, bytes", "samples retained"),
    )
    parts = [
        (target.name, target.budget.part, _kilo(target.budget.flash), _kilo(target.budget.ram))
        for target in TARGETS.values()
        if target.budget is not None
    ]
    (m4,) = (one for one in counted if one["target"] == "cortex-m4")
    return {
        "expert": record["expert"],
        "shots": record["shots"],
        "samples": record["taught"],
        "sample": record["sample_bytes"],
        "targets": _table(head, rows),
        "agreement": f"{min(one['trained_agreement'] for one in record['targets']):.1%}",
        "ram": _kilo(m4["ram_bytes"]),
        "parts": _table(("target", "part", "flash, KB", "RAM, KB"), parts),
    }


def _compared(record: Record) -> dict[str, object]:
    small, fast = record["network"]
    tools = [(name, f"{a:.2f} / {b:.2f}", f"{flash:.1f}", f"{ram:.1f}") for name, (a, b, flash, ram) in TOOLS.items()]
    speed = f"**{small['instructions_per_mac']:.2f} / {fast['instructions_per_mac']:.2f}**"
    tools.append(("**ours, int8**", speed, f"**{_kilo(small['flash_bytes'])}**", f"**{_kilo(small['ram_bytes'])}**"))
    dense = record["dense"][0]
    trainers = [(name, *figures) for name, figures in TRAINERS.items()]
    trainers.append(("**ours, batches of 4**", f"**{dense['instructions']:,}**", f"**{_kilo(dense['ram_bytes'])}**"))
    return {
        "macs": f"{small['macs']:,}",
        "model": record["model"],
        "images": record["images"],
        "dense": f"{small['dense_instructions_per_mac']:.2f} and {fast['dense_instructions_per_mac']:.2f}",
        "tools": _table(("", "instructions a MAC, -O2 / -O3", "flash, KB (-O2)", "RAM, KB"), tools),
        "inputs": dense["inputs"],
        "outputs": dense["outputs"],
        "trainers": _table(("", "instructions", "RAM, KB"), trainers),
        "weights": _kilo(dense["weight_bytes"]),
        "compiler": record["compiler"],
        "emulator": record["emulator"],
        "command": record["command"],
    }


def _retained(record: Record) -> dict[str, object]:
    rows = [
        (
            f"{form['samples']:,}",
            f"{form['feature_bits']} / {form['logit_bits']}",
            _kilo(form["bytes"]),
            f"{form['user_mixture']:.1%}",
            f"{round(100 * form['generic_loss'], 2) + 0.0:.2f}",
            f"{form['accepted']:.0%}",
        )
        for form in record["forms"]
    ]
    alone = f"users' accuracy (alone: {record['forms'][0]['user_global']:.1%})"
    head = ("samples", "bits: feature / logit", "KB", alone, "generic loss, points", "accepted")
    return {
        "writers": record["writers"],
        "kept_shots": record["shots"],
        "generic": f"{record['generic']:,}",
        "retention": _table(head, rows),
    }


def _palettes(record: Record) -> dict[str, object]:
    _, channels, *dense = map(int, record["settings"]["pruned"].split("-"))
    widths = [25 * channels, *dense, 47]  # a map of 5 x 5, and the outputs
    weights = sum(a * b for a, b in pairwise(widths))
    pruning = record["pruning"]
    return {
        "palette_bytes": f"{weights // 2:,}",
        "before": f"{pruning['log'][-1]['validation']:.2%}",
        "after": f"{pruning['palette_log'][-1]['validation']:.2%}",
        "epochs": pruning["palettes"]["recipe"]["plain"],
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    write_atomic(folder / "firmware.md", page(folder).encode())
