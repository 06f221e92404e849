"""`edgemoe export`: the mixture in other forms."""

from pathlib import Path
from typing import Annotated

import typer

from edgemoe import MixtureOfExperts, load_global_expert
from edgemoe.cli.options import Expert, Json, ProfileFile
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

    expert = load_global_expert(ge)
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
