"""`edgemoe export`: the mixture in other forms."""

from pathlib import Path
from typing import Annotated

import typer

from edgemoe import MixtureOfExperts, adopt_onnx
from edgemoe.cli.inputs import find_expert
from edgemoe.cli.options import Expert, Json, ProfileFile, SamplesPath
from edgemoe.cli.output import emit, facts

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def export() -> None:
    """Write global expert and profile in other forms."""


@app.command()
def onnx(
    profile: ProfileFile,
    out: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    ge: Expert = "lenet5-balanced",
    as_json: Json = False,
) -> None:
    """Write global expert, local expert and gate as one routed ONNX graph, for any runtime.

    Example: edgemoe export onnx --profile me.moe --out me.onnx
    """
    from edgemoe.export.routed_graph import routed_graph
    from edgemoe.files import write_atomic

    expert = find_expert(ge, profile=profile)
    moe = MixtureOfExperts.load(profile, expert)
    content = routed_graph(moe)
    write_atomic(out, content)
    result = {
        "graph": str(out),
        "profile": str(profile),
        "expert": expert.name,
        "fingerprint": expert.fingerprint.hex(),
        "classes": "".join(moe.classes_),
        "accepted": moe.profile.verdict.accepted,
        "bytes": len(content),
        "global_bytes": len(expert.graph),
    }
    accepted = "both experts, weighed by the gate" if result["accepted"] else "the global expert alone: it was declined"
    rows = (
        ("input", "image (n, 1, 28, 28) float32, ink 1 on 0"),
        ("outputs", f"probabilities (n, {len(moe.classes_)}), gate (n,), float32"),
        ("who answers", accepted),
        ("size", f"{len(content):,} bytes; the global expert alone {len(expert.graph):,}"),
    )
    emit(result, as_json, lambda console: console.print(facts(f"Wrote {out}", rows)))


@app.command()
def bundle(
    ge: Annotated[Path, typer.Option("--ge", help="A float ONNX file of a sequential CNN.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle to write.")],
    samples: SamplesPath = None,
    as_json: Json = False,
) -> None:
    """Make a global expert of a plain float ONNX file: int8, with what its users' devices need of other people.

    Take samples by many people, on whom the network was not trained.

    Example: edgemoe export bundle --ge lenet5.onnx --samples emnist.zip:byclass-part:test --out lenet5.bundle
    """
    from edgemoe.data import load_samples
    from edgemoe.device.bundle import read_bundle, write_bundle

    images, labels, _ = (None, None, None) if samples is None else load_samples(samples)
    write_bundle(out, adopt_onnx(ge, images, labels).bundle)
    metadata = read_bundle(out).metadata
    result = {"bundle": str(out), "bytes": out.stat().st_size, **metadata}
    rows = (
        ("classes", f"{len(metadata['classes'])}: {metadata['classes']}"),
        ("parameters", f"{metadata['parameters']:,}"),
        ("other people", metadata["data"]["retention"]),
        ("size", f"{result['bytes']:,} bytes"),
    )
    emit(result, as_json, lambda console: console.print(facts(f"Wrote {out}", rows)))
