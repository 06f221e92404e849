"""Expected cost of an inference against the routing rate, in the three ways to run a mixture.

- shared: the global expert on every input; the gate reads its features, and where it opens the local expert reads them
  too. This is what edgemoe does.
- sequential: the layers up to the features, then the gate, then only one of the two: the rest of the global expert, or
  the local expert. A local expert that answers without the global expert's logits is another one than edgemoe's, which
  corrects them: this is the least that routing could cost.
- both: everything on every input.
"""

from collections.abc import Callable
from typing import Any

from edgemoe.accounting.cost import GraphCost, PartCost

__all__ = ["RATES", "expected_cost", "head_of", "session_cost"]

RATES = tuple(i / 20 for i in range(21))

_FEATURES = "features"  # the output that gate and local expert read


def head_of(graph: GraphCost, features: str = _FEATURES) -> PartCost | None:
    """Return the cost of the layers behind the one that hands out the features; None if there is no such layer."""
    names = [layer.name for layer in graph.layers]
    if features not in names:
        return None
    return sum((layer.part() for layer in graph.layers[names.index(features) + 1 :]), PartCost())


def expected_cost(
    graph: GraphCost, local: PartCost, gate: PartCost, energy: Callable[[PartCost, bool], float]
) -> dict[str, list[dict[str, float]] | None]:
    """Return MACs and energy of each mode at the routing rates `RATES`.

    Parameters
    ----------
    graph : GraphCost
        The global expert.
    local, gate : PartCost
    energy : callable
        Of a part, and whether it belongs to the global expert: in nJ.
    """
    whole, head = graph.total(), head_of(graph)

    def line(cost: Callable[[float, Callable[[PartCost, bool], float]], float]) -> list[dict[str, float]]:
        return [{"rate": r, "macs": cost(r, lambda part, _: part.macs), "energy_nj": cost(r, energy)} for r in RATES]

    modes: dict[str, list[dict[str, float]] | None] = {
        "shared": line(lambda r, of: of(whole, True) + of(gate, False) + r * of(local, False)),
        "both": line(lambda r, of: of(whole, True) + of(gate, False) + of(local, False)),
        "sequential": None,
    }
    if head is not None:
        behind = head
        modes["sequential"] = line(
            lambda r, of: of(whole, True) - r * of(behind, True) + of(gate, False) + r * of(local, False)
        )
    return modes


def session_cost(session: dict[str, float], shared: Callable[[float], float]) -> list[dict[str, Any]]:
    """Return what is expected of a device whose inputs are the user's to some share, with and without a session.

    A session's memory itself is one number, and a logarithm and an exponential for each input: no MACs.

    Parameters
    ----------
    session : dict
        Shares of the user's and of other people's inputs that are routed: "user" and "generic" each by itself,
        "session_user" and "session_generic" within a session.
    shared : callable
        MACs of an inference at a routing rate.
    """
    rows = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        rate = share * session["user"] + (1 - share) * session["generic"]
        within = share * session["session_user"] + (1 - share) * session["session_generic"]
        rows.append(
            {
                "user_share": share,
                "rate": rate,
                "session_rate": within,
                "macs": shared(rate),
                "session_macs": shared(within),
            }
        )
    return rows
