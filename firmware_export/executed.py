"""Counts what an expert's firmware executes, for `edgemoe account` to set its own counts against.

The instructions of each layer, of an inference of global expert and mixture, and of a training, on an emulated board:

    python3 -m firmware_export.executed --out edgemoe/accounting/executed_cortex-m4.json
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgemoe import GlobalExpert, Personalizer, load_global_expert
from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.training_cost import shape_of, training_cost
from edgemoe.cli.inputs import user_samples
from edgemoe.data import draw_shots
from edgemoe.errors import EdgemoeError
from edgemoe.files import write_atomic
from firmware_export.emit_network import emit_network
from firmware_export.emulator import run
from firmware_export.expert import IntegerExpert
from firmware_export.network import read_network
from firmware_export.package import HARNESS, LIBRARY
from firmware_export.targets import Target, target_named
from firmware_export.toolchain import build
from firmware_export.verify import Vectors, verify

__all__ = ["executed", "layer_instructions", "vectors_for"]

SHOTS = 5  # of each class, in the training
RECOGNIZED = 20  # images, of which an inference's instructions are the mean


def layer_instructions(ge: GlobalExpert, target: Target, images: npt.NDArray[np.uint8]) -> dict[str, int]:
    """Return the mean instructions of each layer of the network for images ``(n, 28, 28)``, by the layer's name.

    What a layer's step does besides (padding the image for the first one, pooling, handing out features and logits) is
    in its count. The first layer takes fewer for an image with empty rows, which its kernel leaves out.
    """
    network = read_network(ge.graph)
    header, text = emit_network(network)
    ends = "\n    }\n"  # of a step: nothing else in the function is indented so
    head, body = text.split(
        "void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch)\n{"
    )
    steps = body.count(ends)
    traced = head + "void em_step_done(void);\n" + "void em_network(const uint8_t *image, uint8_t *features, "
    traced += "uint8_t *logits, void *scratch)\n{" + body.replace(ends, f"{ends}    em_step_done();\n")
    rows = ["{" + ",".join(map(str, image.ravel().tolist())) + "}" for image in images]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "em_network.c").write_text(traced)
        (folder / "vectors.h").write_text(
            f"#include <stdint.h>\n{header}#define EM_STEPS {steps}\n"
            f"#define EM_VECTOR_IMAGES {len(rows)}u\n"
            f"static const uint8_t em_vector_image[][{images[0].size}] = {{{','.join(rows)}}};\n"
        )
        sources = [HARNESS / "layers.c", folder / "em_network.c"]
        program = build(target, sources, [LIBRARY, folder], folder / "layers.elf", {"EM_NETWORK_ONLY": 1})
        done = run(target, program)
    counts = done.all("step")
    names = [layer.name for layer in (*network.convolutions, *network.dense)]
    if done.code != 0 or len(counts) != steps or not 0 <= steps - len(names) <= 1:
        raise EdgemoeError(f"{target.name}: the network ended with code {done.code} after {len(counts)} of its steps")
    counts[: steps - len(names) + 1] = [
        sum(counts[: steps - len(names) + 1])
    ]  # the image is padded in a step of its own
    return {name: round(count / len(rows)) for name, count in zip(names, counts, strict=True)}


def vectors_for(ge: GlobalExpert) -> Vectors:
    """Return what the record is of: a simulated writer's samples to learn from, and others to recognize."""
    found = user_samples(None, None, ge, 0, 2 * SHOTS, sample_seed=0)
    chosen, rest = draw_shots(found.labels, SHOTS, 0)
    shown = np.random.default_rng(0).permutation(rest)[:RECOGNIZED]
    return Vectors(found.images[shown], found.images[chosen], found.labels[chosen].tolist())


def executed(ge: GlobalExpert, target: Target) -> dict[str, Any]:
    """Return the record that `edgemoe.accounting.truth.load_executed` reads."""
    vectors = vectors_for(ge)
    result = verify(ge, target, vectors)
    mixture = result["instructions_per_inference"]
    expert = IntegerExpert(ge, result["retained"])
    trained = Personalizer(expert, copies=0).fit(vectors.samples, vectors.labels).profile
    network = read_network(ge.graph)
    steps = training_cost(PartCost(), shape_of(expert, trained, len(vectors.labels)))
    return {
        "target": target.name,
        "expert": ge.name,
        "fingerprint": ge.fingerprint.hex(),
        "command": "python3 -m firmware_export.executed",
        "layers": layer_instructions(ge, target, vectors.images),
        "instructions": {
            "global": round(mixture / (1 + result["overhead"])),
            "mixture": mixture,
            "training": result["instructions_train"],
        },
        "macs": network.macs,
        "update_macs": sum(step.macs for step in steps),
        "samples": len(vectors.labels),
        "retained": result["retained"],
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ge", default="lenet5-balanced")
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    record = executed(load_global_expert(options.ge), target_named(options.target))
    write_atomic(options.out, (json.dumps(record, indent=2) + "\n").encode())


if __name__ == "__main__":
    _main()
