"""`edgemoe export firmware` and `edgemoe firmware verify`: the mixture as C, and the proof that it is the same."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from edgemoe import GlobalExpert, MixtureOfExperts
from edgemoe.cli.inputs import UserSamples, find_expert, user_samples
from edgemoe.cli.options import Expert, Json, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit, facts, note
from edgemoe.cli.personalize import ProfileSize
from edgemoe.data import draw_shots
from edgemoe.device.profile import Profile
from edgemoe.errors import EdgemoeError

__all__ = ["app", "export_firmware"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

SHOTS = 5  # of each class, to learn from; the others are recognized
RECOGNIZED = 100  # images at most: the emulated board runs 330 million instructions a second
EXAMPLES = 8  # images in the package's example

TargetName = Annotated[
    str, typer.Option(help="cortex-m3, cortex-m4, cortex-m7, cortex-m33, cortex-m55, host or aarch64.")
]
KeptProfile = Annotated[Path | None, typer.Option("--profile", help="The profile that edgemoe personalize wrote.")]
RetainedSamples = Annotated[
    int | None,
    typer.Option(min=1000, help="Retention samples in flash; by default what fits into three tenths of the part's."),
]


@app.callback()
def firmware() -> None:
    """The mixture on a microcontroller."""


def export_firmware(
    target: TargetName,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    ge: Expert = "lenet5-balanced",
    profile: KeptProfile = None,
    samples: SamplesPath = None,
    writer: WriterId = None,
    retained: RetainedSamples = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write global expert, trainer and a profile as a C99 package for a target.

    The folder holds the library, a CMake project, an Arduino library, a Zephyr module, a PlatformIO manifest, a README,
    and an example with test vectors (--samples, or a simulated writer's).

    Example: edgemoe export firmware --target cortex-m4 --profile me.moe --out firmware
    """
    _require_onnx("export firmware")
    from firmware_export.package import write_package
    from firmware_export.targets import target_named

    board, expert = target_named(target), find_expert(ge, profile=profile, samples=samples, writer=writer)
    kept = _kept(profile, expert)
    found = user_samples(samples, writer, expert, seed, 1, sample_seed=1)
    result = write_package(out, expert, board, found.images[:EXAMPLES], kept, retained)

    def show(console: Console) -> None:
        flash, ram, budget = result["flash"], result["ram"], result["budget"]
        rows = [("global expert", expert.name), ("target", target), ("retention samples", f"{result['retained']:,}")]
        if flash:
            rows += [
                ("flash", f"{flash['whole']:,} bytes; recognition alone {flash['recognize']:,}"),
                ("arena", f"{ram['whole']:,} bytes; recognition alone {ram['recognize']:,}"),
                ("a common part", f"{budget['part']}, {budget['flash']:,} bytes of flash, {budget['ram']:,} of RAM"),
            ]
        console.print(facts(f"Wrote {out}", rows))

    emit(result, as_json, show)


@app.command()
def verify(
    target: TargetName,
    ge: Expert = "lenet5-balanced",
    profile: KeptProfile = None,
    samples: SamplesPath = None,
    writer: WriterId = None,
    size: Annotated[ProfileSize, typer.Option(help="Of the profile that is trained.")] = ProfileSize.compact,
    retained: RetainedSamples = None,
    optimize: Annotated[str, typer.Option(help="The compiler's optimization: -O2, -O3, -Os.")] = "-O2",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Build the firmware, run it on the emulated board, and compare it with the Python side.

    Five samples of each class are learnt from on the board; of the others up to 100 are recognized. Features, logits
    and labels have to be the same, and the profile trained there has to predict what Python's does; else the exit code
    is 1.

    Example: edgemoe firmware verify --target cortex-m4
    """
    _require_onnx("firmware verify")
    from firmware_export.targets import target_named
    from firmware_export.verify import Vectors
    from firmware_export.verify import verify as compare

    board, expert = target_named(target), find_expert(ge, profile=profile, samples=samples, writer=writer)
    if optimize not in ("-O1", "-O2", "-O3", "-Os"):
        raise typer.BadParameter("expected -O1, -O2, -O3 or -Os", param_hint="--optimize")
    kept = _kept(profile, expert)
    vectors = Vectors(*_split(user_samples(samples, writer, expert, seed, 2 * SHOTS, sample_seed=0), seed))
    note(f"Building and running on {target}; a Cortex-M board is emulated, which takes about a minute.")
    result = compare(expert, board, vectors, kept, size.value, retained, optimize)
    emit(result, as_json, lambda console: _show(result, console))
    if not result["passed"]:
        raise EdgemoeError(f"{target}: the firmware and the Python side differ")


def _require_onnx(verb: str) -> None:
    """The network's layers are read from the expert's graph."""
    if importlib.util.find_spec("onnx") is None:
        raise EdgemoeError(f"{verb}: needs the package onnx (pip install 'edgemoe[export]')")


def _kept(path: Path | None, expert: GlobalExpert) -> Profile | None:
    return None if path is None else MixtureOfExperts.load(path, expert).profile


def _split(found: UserSamples, seed: int) -> tuple[Any, Any, Any]:
    """Images to recognize, and samples and labels to learn from."""
    chosen, rest = draw_shots(found.labels, SHOTS, seed)
    if not len(rest):
        raise EdgemoeError(
            f"{found.source}: no class has more than {SHOTS} samples, so that none are left to recognize"
        )
    shown = np.random.default_rng(seed).permutation(rest)[:RECOGNIZED]
    return found.images[shown], found.images[chosen], found.labels[chosen].tolist()


def _show(result: dict[str, Any], console: Console) -> None:
    def number(value: float | None, unit: str = "") -> str:
        return "not counted on a host" if value is None else f"{value:,}{unit}"

    overhead = result["overhead"]
    rows = [
        ("recognized", f"{result['samples']} images, {result['mismatches']} of them differ"),
        ("largest difference", f"{result['max_abs_difference']:.1e} (confidence, gate)"),
        ("trained profiles", f"predict the same on {result['trained_agreement']:.1%} of the images"),
        ("instructions an inference", number(result["instructions_per_inference"])),
        ("of local expert and gate", "not counted on a host" if overhead is None else f"{overhead:.2%}"),
        ("instructions to personalize", number(result["instructions_train"])),
        ("flash", number(result["flash_bytes"], " bytes")),
        ("RAM with stack", number(result["ram_bytes"], " bytes")),
        ("stack", number(result["stack_bytes"], " bytes")),
    ]
    console.print(facts(f"{result['target']}: {'PASS' if result['passed'] else 'FAIL'}", rows))
