"""The command line. One verb, one module; what is heavy is imported inside the verbs, so that help comes at once.

Exit codes: 0 done, 1 the job failed (one line on stderr says why), 2 the call was wrong, 130 interrupted. With
``--json`` stdout is one JSON document and nothing else; notes and progress go to stderr.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgemoe import __version__
from edgemoe.cli import (
    account,
    benchmark,
    data,
    demo,
    evaluate,
    experts,
    export,
    firmware,
    personalize,
    predict,
    prune,
    train_global,
)
from edgemoe.errors import EdgemoeError

__all__ = ["app", "main"]


class _Verbs(TyperGroup):
    """Turns bad input and Ctrl-C into one line and an exit code; any other exception is a bug, and is shown as one."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EdgemoeError as error:
            typer.echo("edgemoe: " + " ".join(str(error).split()), err=True)
            raise typer.Exit(1) from error
        except BrokenPipeError:  # the reader of stdout has seen enough
            raise
        except OSError as error:  # of stdout: every file is read and written with errors of its own
            typer.echo(f"edgemoe: the output cannot be written ({error.strerror or error})", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            typer.echo("edgemoe: interrupted; no file was left half-written", err=True)
            raise typer.Exit(130) from interrupt


app = typer.Typer(cls=_Verbs, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_show_locals=False)
app.command("demo")(demo.demo)
app.command("personalize")(personalize.personalize)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(benchmark.benchmark)
app.command("account")(account.account)
app.command("experts")(experts.experts)
app.command("train-global")(train_global.train_global)
app.command("prune")(prune.prune)
export.app.command("firmware")(firmware.export_firmware)
app.add_typer(export.app, name="export")
app.add_typer(firmware.app, name="firmware")
app.add_typer(data.app, name="data")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgemoe {__version__}")
        raise typer.Exit


@app.callback()
def _edgemoe(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Customize a frozen handwriting recognizer on an edge device with a small mixture of experts.

    Start with: edgemoe demo
    """


def main() -> None:
    """Run the console script."""
    app()
