"""Everything that is told of a global expert and a profile, in one record: `edgemoe.accounting.report` describes it."""

from collections.abc import Sequence
from typing import Any

from edgemoe.accounting.battery import load_cells
from edgemoe.accounting.board_report import Costs, Instructions, Learning, board_record
from edgemoe.accounting.boards import Board, shipped_boards
from edgemoe.accounting.cost import GraphCost, PartCost
from edgemoe.accounting.energy import MemoryLevels, load_energy_model
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.modes import expected_cost, session_cost
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.parts import header_bytes, profile_parts
from edgemoe.accounting.radio import Radio, shipped_radios
from edgemoe.accounting.report import overhead
from edgemoe.accounting.training_cost import (
    PASSES,
    as_part,
    last_layer_cost,
    shape_of,
    training_cost,
    training_record,
)
from edgemoe.accounting.truth import Executed, compare, load_executed
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.profile import Profile

__all__ = ["account_record"]


def account_record(
    expert: GlobalExpert,
    profile: Profile,
    boards: Sequence[Board] = (),
    radios: Sequence[Radio] = (),
    session: dict[str, Any] | None = None,
    executed: Executed | None = None,
) -> dict[str, Any]:
    """Account for an expert's int8 graph and a profile.

    Parameters
    ----------
    expert : GlobalExpert
    profile : Profile
        The training is that of as many samples as it was trained on, as a microcontroller does it: without copies.
    boards, radios : sequences, optional
        By default those that ship.
    session : dict, optional
        Shares of inputs routed: "user", "generic", "session_user", "session_generic", and "samples".
    executed : Executed, optional
        By default the shipped record of a Cortex-M4. Where it is of another expert, instructions are taken to go with
        the MACs, and there is no "truth".
    """
    graph = count_graph(parse_onnx(expert.bundle.int8, expert.name))
    local, gate = profile_parts(profile)
    record, size = overhead(graph, local, gate), len(profile.to_bytes())
    record["profile"] = {"bytes": size, "header_bytes": header_bytes(profile)}
    record["overhead"]["bytes"] = size / record["global"]["bytes"] if record["global"]["bytes"] else None
    executed = load_executed() if executed is None else executed
    model, levels = load_energy_model(), MemoryLevels(**record["levels"])
    near = MemoryLevels(levels.activations, levels.activations)
    record["modes"] = expected_cost(
        graph, local, gate, lambda part, of_global: model.energy_nj(part, levels if of_global else near)
    )
    whole = graph.total()
    if session is not None:
        base = whole.macs + gate.macs
        session = session | {"expected": session_cost(session, lambda rate: base + rate * local.macs)}
    record["session"] = session
    shape = shape_of(expert, profile, max(1, profile.samples), retained=min(executed.retained, len(expert.retention)))
    steps = training_cost(whole, shape)
    spent = as_part(steps)
    energy = model.energy_nj(spent, MemoryLevels(levels.weights, levels.weights))  # all of its traffic
    record["training"] = training_record(shape, steps, energy, record["global"]["energy_nj"])
    updates = sum(step.macs for step in steps if step.name != PASSES)
    retrained = sum(s.macs for s in last_layer_cost(whole, shape, _last_inputs(graph)) if s.name != PASSES)
    costs = Costs(
        whole=whole,
        local=local,
        gate=gate,
        training=Learning(shape.lessons, updates),
        last_layer=Learning(shape.lessons, retrained),
        samples=shape.samples,
        flash_bytes=shape.flash_bytes,
        complete=all(entry.op == "initializer" for entry in graph.unknown),
        instructions=_instructions(executed, whole, local + gate, expert),
    )
    chosen, ways = list(boards) or shipped_boards(), list(radios) or shipped_radios()
    record["boards"] = [board_record(board, costs, ways, load_cells()) for board in chosen]
    record["executed_on"] = executed.target
    _range(record, model.mac_nj(whole))
    record["truth"] = None
    if executed.fingerprint == expert.fingerprint.hex():
        trained = spent if shape.samples == executed.samples else None
        record["truth"] = compare(graph, executed, local + gate, trained)
    return record


def _range(record: dict[str, Any], mac_nj: float) -> None:
    """Say how far boards are from the ratio model."""
    found = [board["global"] for board in record["boards"] if board["global"]["low_uj"] is not None]
    record["board_nj"] = None
    if found:
        record["board_nj"] = [1000 * min(row["low_uj"] for row in found), 1000 * max(row["high_uj"] for row in found)]
    record["board_factor"] = [each / mac_nj for each in record["board_nj"]] if found and mac_nj else None


def _instructions(executed: Executed, whole: PartCost, added: PartCost, expert: GlobalExpert) -> Instructions:
    counts = executed.instructions
    scale = 1.0 if executed.fingerprint == expert.fingerprint.hex() else whole.macs / executed.macs
    more = counts["mixture"] - counts["global"]
    return Instructions(scale * counts["global"], scale * counts["global"] + more, executed.per_update_mac)


def _last_inputs(graph: GraphCost) -> int:
    """Inputs of the last layer that has weights, with the bias's."""
    last = next((layer for layer in reversed(graph.layers) if layer.macs), None)
    return 0 if last is None else last.elements_read + 1
