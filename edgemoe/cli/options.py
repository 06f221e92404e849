"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Expert", "Json", "ProfileFile", "SamplesPath", "Seed", "WriterId"]

Expert = Annotated[
    str, typer.Option("--ge", help="Global expert: the name of a shipped one, a bundle's path, or a float ONNX file.")
]
ProfileFile = Annotated[Path, typer.Option("--profile", help="The profile that edgemoe personalize wrote.")]
SamplesPath = Annotated[
    str | None,
    typer.Option(
        "--samples",
        help="An .npz of pen strokes or of images, a folder of photos, or emnist.zip:SET:SPLIT. "
        "Without it, a simulated writer's.",
    ),
]
WriterId = Annotated[
    str | None, typer.Option("--writer", help="Of a file by several writers, take this one's samples.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Picks the simulated writer and everything that is drawn.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; notes go to stderr.")]
