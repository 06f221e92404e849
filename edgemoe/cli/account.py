"""`edgemoe account`: what global expert, local expert and gate cost."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from edgemoe import GlobalExpert, MixtureOfExperts, Personalizer
from edgemoe.accounting.against import against, print_against
from edgemoe.accounting.boards import Board, load_board, shipped_boards
from edgemoe.accounting.citations import cited_constants
from edgemoe.accounting.page import html_page
from edgemoe.accounting.radio import Radio, load_radio, shipped_radios
from edgemoe.accounting.recipes import read_recipes
from edgemoe.accounting.record import account_record
from edgemoe.accounting.tables import print_report
from edgemoe.accounting.truth import load_executed
from edgemoe.accounting.unpruned import unpruned_record
from edgemoe.accounting.zoo import zoo_record
from edgemoe.cli.inputs import find_expert, user_samples
from edgemoe.cli.options import Expert, Json, SamplesPath, Seed, WriterId
from edgemoe.cli.output import emit
from edgemoe.device.profile import Profile
from edgemoe.files import write_atomic

__all__ = ["account", "cost_report"]


def account(
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="The profile to count; without it, one fitted to --samples."),
    ] = None,
    ge: Expert = "lenet5-balanced",
    samples: SamplesPath = None,
    writer: WriterId = None,
    board: Annotated[
        list[str] | None,
        typer.Option(help="A board's profile: a file, or a shipped one's name. Several may be given; default: all."),
    ] = None,
    radio: Annotated[
        list[Path] | None, typer.Option(help="A radio's profile, to compare with a server; default: those shipped.")
    ] = None,
    executed: Annotated[
        Path | None,
        typer.Option(help="Executed instructions, from python3 -m firmware_export.executed; default: a Cortex-M4's."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--against", help="Set fine-tuning, LoRA and kNN-Per beside it, at measured accuracies.")
    ] = False,
    benchmark: Annotated[
        Path | None,
        typer.Option("--benchmark", help="Take --against's accuracies from this results.json of edgemoe benchmark."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write all of it, and the shipped experts, as one page of HTML.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Count parameters, bytes, MACs, memory traffic and energy of each part, the overhead, and what training costs.

    Ratios come from energies of single operations, joules from measured boards: they are kept apart.

    Example: edgemoe account --profile me.moe --board nucleo-u575zi-q --html costs.html
    """
    recipes = read_recipes(benchmark) if compare or benchmark or html else None
    boards = [load_board(name) for name in board] if board else shipped_boards()
    radios = [load_radio(path) for path in radio] if radio else shipped_radios()
    counts = load_executed(executed)
    expert = find_expert(ge, profile=profile, samples=samples, writer=writer)
    session = None
    if profile is None:
        found = user_samples(samples, writer, expert, seed, 5, sample_seed=0)
        moe: MixtureOfExperts = Personalizer(expert, seed=seed).fit(found.images, found.labels)
        source = found.source
        if samples is None:
            session = _routed(moe, expert, seed)
    else:
        moe, source = MixtureOfExperts.load(profile, expert), str(profile)
    report = account_record(expert, moe.profile, boards, radios, session, counts)
    report["profile"]["source"] = source
    report["expert"] = {"name": expert.name, "fingerprint": expert.fingerprint.hex()}
    report["unpruned"] = unpruned_record(expert, report)
    if recipes:
        report["against"] = against(expert, moe.profile, recipes)
    if html:
        report["zoo"] = zoo_record()
        report["constants"] = cited_constants(path for path in [*(board or ()), *(radio or ())] if Path(path).is_file())
        write_atomic(html, html_page(report).encode())

    def show(console: Console) -> None:
        print_report(report, console)
        whole, header = report["profile"]["bytes"], report["profile"]["header_bytes"]
        console.print(
            f"The profile ({source}) has {whole:,} bytes, {header} of them header and checksum; "
            "the overhead in bytes counts them all.",
            markup=False,
        )
        if recipes:
            print_against(report["against"], console)
        if html:
            console.print(f"Wrote {html}.", markup=False)

    emit(report, as_json, show)


def cost_report(
    expert: GlobalExpert, profile: Profile, boards: list[Board] | None = None, radios: list[Radio] | None = None
) -> dict[str, Any]:
    """Return the record of an expert's int8 graph and a profile, every byte of the profile counted."""
    return account_record(expert, profile, boards or (), radios or ())


def _routed(moe: MixtureOfExperts, expert: GlobalExpert, seed: int) -> dict[str, Any]:
    """Return which shares of new samples of the simulated writer, and of held-out generic ones, the local expert is run
    on: each by itself, and in a session of one person's inputs."""
    from edgemoe.simulator import simulated_samples

    own, _ = simulated_samples(seed, 2, expert.classes, sample_seed=1)
    user, (generic, _) = expert.taps(own), expert.held_out
    weights = {
        "user": moe.explain_taps(user).gate,
        "generic": moe.explain_taps(generic).gate,
        "session_user": moe.session().weigh(user),
        "session_generic": moe.session().weigh(generic),
    }
    shares: dict[str, Any] = {name: float((gate > 0).mean()) for name, gate in weights.items()}
    return shares | {"samples": {"user": len(user), "generic": len(generic)}}
