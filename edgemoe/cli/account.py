"""`edgemoe account`: what global expert, local expert and gate cost."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgemoe import GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.parts import header_bytes, profile_parts
from edgemoe.accounting.report import overhead, print_report
from edgemoe.cli.inputs import find_expert, user_samples
from edgemoe.cli.options import Expert, Json, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit
from edgemoe.device.profile import Profile

__all__ = ["account", "cost_report"]


def account(
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="The profile to count; without it, one fitted to --samples."),
    ] = None,
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Count parameters, bytes, MACs, memory traffic and energy of each part, and the overhead.

    Example: edgemoe account --profile me.moe
    """
    expert = find_expert(ge, profile=profile, samples=samples, writer=writer)
    if profile is None:
        found = user_samples(samples, writer, expert, seed, 5, sample_seed=0)
        kept, source = Personalizer(expert, seed=seed).fit(found.images, found.labels).profile, found.source
    else:
        kept, source = MixtureOfExperts.load(profile, expert).profile, str(profile)
    report = cost_report(expert, kept)
    report["profile"]["source"] = source

    def show(console: Console) -> None:
        print_report(report, console)
        whole, header = report["profile"]["bytes"], report["profile"]["header_bytes"]
        console.print(
            f"The profile ({source}) has {whole:,} bytes, {header} of them header and checksum; "
            "the overhead in bytes counts them all.",
            markup=False,
        )

    emit(report, as_json, show)


def cost_report(expert: GlobalExpert, profile: Profile) -> dict[str, Any]:
    """Return the record of `overhead` for an expert's int8 graph and a profile, every byte of the profile counted."""
    report = overhead(count_graph(parse_onnx(expert.bundle.int8, expert.name)), *profile_parts(profile))
    size = len(profile.to_bytes())
    report["profile"] = {"bytes": size, "header_bytes": header_bytes(profile)}
    report["overhead"]["bytes"] = size / report["global"]["bytes"]
    return report
