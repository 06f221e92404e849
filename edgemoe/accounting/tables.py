"""Prints an account's record. Energies of the ratio model appear as shares of the global expert, never as joules."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_report"]

_SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)  # routing rates
_PARTS = {"global": "global expert", "local": "local expert", "gate": "gate"}


def print_report(report: dict[str, Any], console: Console) -> None:
    """Print a record of `report.overhead` or `record.account_record` as tables, with what the figures leave out."""
    _counts(report, console)
    if report["overhead"]:
        names = {"bytes": "bytes", "macs": "macs", "energy": "energy", "energy_stored": "energy if read from storage"}
        shares = [f"{names[key]} {value:.2%}" for key, value in report["overhead"].items() if value is not None]
        console.print(f"Local expert and gate on top of the global expert: {', '.join(shares)}.")
        console.print(_routing(report))
    if report.get("session"):
        _session(report["session"], console)
    if report.get("training"):
        _training(report["training"], console)
    if report.get("boards"):
        console.print(_boards(report["boards"], report["executed_on"]))
        console.print(_payoffs(report["boards"]))
        _battery(report["boards"], console)
    if report.get("truth"):
        _truth(report["truth"], console)
    factor = report.get("board_factor")
    times = f" Measured boards spend {factor[0]:,.0f} to {factor[1]:,.0f} times as much for each MAC." if factor else ""
    levels = report["levels"]
    console.print(
        f"Shares of energy after {report['model']}, for ratios only: weights in {levels['weights']}, "
        f"activations and profile in {levels['activations']}.{times}"
    )
    for entry in report["unknown"]:
        text = f"Not counted: {entry['name']} ({entry['op']}): {entry['reason']}."
        console.print(escape(text), style="bold red")


def _table(title: str, columns: Iterable[str], left: int = 1) -> Table:
    made = Table(title=title)
    for index, heading in enumerate(columns):
        made.add_column(heading, justify="left" if index < left else "right")
    return made


def _counts(report: dict[str, Any], console: Console) -> None:
    columns = ["parameters", "bytes", "macs", "weight_bytes_read", "bytes_read", "bytes_written"]
    headings = ["parameters", "bytes", "MACs", "weights read", "activ. read", "written", "energy"]
    whole = report["global"]
    layers = [(f"{layer['name']} ({layer['op']})", layer) for layer in report["layers"]]
    parts = [(title, report[name]) for name, title in _PARTS.items() if report[name]]
    for title, first, rows in (
        ("Layers of the global expert, one inference", "layer", layers),
        ("Parts, one inference", "part", parts),
    ):
        made = _table(title, [first, *headings])
        for name, row in rows:
            share = row["energy_nj"] / whole["energy_nj"] if whole["energy_nj"] else None
            made.add_row(escape(name), *[f"{row[c]:,}" for c in columns], _share(share))
        console.print(made)
    console.print(
        f"The global expert's file has {whole['file_bytes']:,} bytes; "
        f"its activations take {whole['peak_activation_bytes']:,} bytes at most."
    )


def _routing(report: dict[str, Any]) -> Table:
    modes = report.get("modes") or {"shared": report["routing"]}
    known = {name: {round(row["rate"], 6): row for row in rows} for name, rows in modes.items() if rows}
    headings = [f"{name}: {what}" for name in known for what in ("MACs", "energy")]
    made = _table("Expected cost against routing rate", ["routed", *headings], left=0)
    energy = report["global"]["energy_nj"]
    for rate in _SHOWN:
        cells = []
        for rows in known.values():
            row = rows[rate]
            cells += [f"{row['macs']:,.0f}", _share(row["energy_nj"] / energy if energy else None)]
        made.add_row(f"{rate:.0%}", *cells)
    return made


def _session(session: dict[str, Any], console: Console) -> None:
    console.print(
        f"Routed: {session['user']:.1%} of the user's inputs and {session['generic']:.1%} of other people's; within a "
        f"session {session['session_user']:.1%} and {session['session_generic']:.1%} "
        f"({session['samples']['user']} and {session['samples']['generic']} samples that neither was trained on)."
    )


def _training(training: dict[str, Any], console: Console) -> None:
    made = _table(f"Training on {training['samples']:,} samples", ["step", "MACs", "bits"])
    for step in training["steps"]:
        made.add_row(step["name"], f"{step['macs']:,}", f"{step['bits']}")
    console.print(made)
    console.print(
        f"{training['macs']:,} MACs, by the ratio model's energy {_number(training['inferences'])} inferences of the "
        f"global expert; {training['flash_bytes']:,} bytes are written to flash."
    )


def _boards(boards: list[dict[str, Any]], target: str) -> Table:
    headings = ["board", "core", "global uJ", "least to most", "mixture adds", "ms", "training mJ", "as inferences"]
    made = _table(f"On boards, one inference and a training (by instructions of a {target})", headings, left=2)
    for board in boards:
        whole = board["global"]
        reach = "unknown" if whole["low_uj"] is None else f"{whole['low_uj']:,.0f} to {whole['high_uj']:,.0f}"
        spent = board["training"]["compute_uj"]
        made.add_row(
            escape(board["name"]),
            escape(board["core"]),
            _number(whole["uj"]),
            reach,
            _share(board["overhead"]),
            _number(board["mixture"]["milliseconds"], 1),
            _number(None if spent is None else spent / 1000),
            _number(board["training"]["inferences"]),
        )
    return made


def _payoffs(boards: list[dict[str, Any]]) -> Table:
    made = _table("Training on the device, in energy against", ["board", "against", "radio", "training there"], left=4)
    for board in boards:
        for row in board["payoff"]:
            made.add_row(escape(board["name"]), row["against"], escape(row["radio"] or ""), row["says"])
    return made


def _battery(boards: list[dict[str, Any]], console: Console) -> None:
    cells = [cell["cell"] for cell in boards[0]["battery"]]
    headings = [f"{cell}: {what}" for cell in cells for what in ("inferences", "1,000 a day")]
    made = _table("What a battery holds, for the mixture alone", ["board", *headings])
    for board in boards:
        shown = []
        for cell in board["battery"]:
            share = next(row["share"] for row in cell["per_day"] if row["inferences"] == 1000)
            shown += [_number(cell["inferences"]), "unknown" if share is None else f"{share:.4%} of it"]
        made.add_row(escape(board["name"]), *shown)
    console.print(made)
    idle = ", ".join(board["name"] for board in boards if board["battery"][0]["idle_share"] is None)
    if idle:
        console.print(f"What a board takes while it waits is unknown of {idle}, and in no figure.", markup=False)
    flash = ", ".join(board["name"] for board in boards if board["training"]["flash_uj"] is None)
    if flash:
        console.print(f"What writing flash takes is unknown of {flash}, and in no figure.", markup=False)


def _truth(truth: dict[str, Any], console: Console) -> None:
    made = _table(f"Counts and executed instructions ({truth['target']})", _TRUTH)
    for layer in truth["layers"]:
        numbers = [f"{layer[key]:,.0f}" for key in ("macs", "bytes", "instructions", "fitted")]
        made.add_row(escape(layer["name"]), *numbers, f"{layer['residual']:+.1%}")
    console.print(made)
    extra = truth["overhead"]
    counted = "unknown" if extra["macs"] is None else f"{extra['macs']:.2%}"
    console.print(
        f"{truth['per_mac']:.2f} instructions for each MAC, {truth['per_byte']:.2f} for each byte of weights and "
        f"{truth['per_layer']:,.0f} for each layer, largest residual {truth['worst']:+.1%}; correlation with MACs "
        f"{truth['correlation']:.4f}, largest residual by MACs alone {truth['worst_by_macs']:+.1%}. Local expert and "
        f"gate add {counted} of MACs and {extra['instructions']:.2%} of instructions. A training of "
        f"{truth['samples']:,} samples executes {truth['training']['instructions']:,}."
    )


_TRUTH = ["layer", "MACs", "bytes moved", "instructions", "fitted", "off"]


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2%}"


def _number(value: float | None, digits: int = 0) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"
