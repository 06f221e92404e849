"""`edgemoe data`: what data is there, where it came from, and how to get the rest."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from edgemoe.cli.options import Json
from edgemoe.cli.output import emit, table

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")


@app.callback()
def data(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--data", help="Folder of data; by default the environment's EDGEMOE_DATA.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what data is there, where it came from, and how to get the rest.

    Example: edgemoe data --data ~/handwriting
    """
    if context.invoked_subcommand is not None:
        return
    from edgemoe.data.catalog import list_data

    records = list_data(folder)

    def show(console: Console) -> None:
        rows = (
            (
                record.name,
                "yes" if record.present else "no",
                *("" if n is None else f"{n:,}" for n in (record.samples, record.classes, record.writers)),
            )
            for record in records
        )
        console.print(table("Handwriting", ("set", "there", "samples", "classes", "writers"), rows))
        for record in records:
            console.print(f"\n{record.name}", style="bold", markup=False)
            lines = {"path": record.path, "source": record.source, "licence": record.licence, "note": record.note}
            for name, text in lines.items():
                if text:
                    console.print(f"  {name}: {text}", markup=False, soft_wrap=True)
        console.print("\nedgemoe data download fetches the official EMNIST archive (0.5 GB).")

    emit({"sets": [asdict(record) for record in records]}, as_json, show)


@app.command()
def download(
    to: Annotated[
        Path | None, typer.Option(help="The file to write; by default where the emnist package keeps its own.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where to fetch it; by default NIST's own address.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The digest that the archive must have.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch the official EMNIST archive, 0.5 GB; a broken download goes on where it stopped.

    Example: edgemoe data download
    """
    from edgemoe.data.download import EMNIST_URL, download_emnist

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("EMNIST", *columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("download", total=None)
        path = download_emnist(
            url or EMNIST_URL, to, lambda done, total: bar.update(task, completed=done, total=total), sha256
        )
    emit({"path": str(path), "bytes": path.stat().st_size}, as_json, lambda console: console.print(str(path)))
