"""What other ways to adapt a recognizer keep and spend, beside the mixture, at the accuracies that were measured."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgemoe.accounting.adapting import adapting_macs, kept_bytes, weighted_layers
from edgemoe.accounting.cost import PartCost
from edgemoe.accounting.energy import MemoryLevels, load_energy_model
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.parts import profile_parts
from edgemoe.accounting.recipes import ACCURACIES, COMPARED, Recipes
from edgemoe.accounting.report import overhead
from edgemoe.accounting.training_cost import as_part, shape_of, training_cost
from edgemoe.device.distort import COPIES
from edgemoe.device.global_expert import GlobalExpert
from edgemoe.device.profile import Profile

__all__ = ["about", "against", "print_against"]

_TITLES = {
    "global": "global expert alone",
    "full-finetune": "full fine-tuning",
    "lora": "LoRA",
    "last-layer": "last-layer fine-tuning",
    "knn-per": "kNN-Per",
    "mixture": "mixture, each input alone",
    "mixture-session": "mixture, in sessions",
}


def against(expert: GlobalExpert, profile: Profile, recipes: Recipes) -> dict[str, Any]:
    """Set each method's cost for this global expert beside the accuracies on record.

    Parameters
    ----------
    expert : GlobalExpert
        Its int8 graph is read, and its float32 graph is what the methods that fine-tune train.
    profile : Profile
        Of a mixture; it is taken to have learnt as many samples as a user of the benchmark gave, with the copies that
        the `Personalizer` makes.
    recipes : Recipes

    Returns
    -------
    dict
        "benchmark": see `Recipes`; "same_expert": whether the accuracies are of this global expert; "methods": a list
        of {"method", "title", `ACCURACIES` (None: not measured), "bytes" that a device keeps of its user,
        "adapt_macs", "adapt_energy_nj", "adapt_inferences", "inference_macs", "inference_energy_nj"}.

        "adapt_energy_nj" is of the MACs alone, and "adapt_inferences" the number of the global expert's inferences
        whose MACs take as much; what is trained takes the place of shipped weights, except in kNN-Per and the mixture,
        which read what they keep at each inference, from working memory. "energy_kind" is "ratio".

    Raises
    ------
    EdgemoeError
        If a layer of the float graph cannot be counted.
    """
    layers, samples = weighted_layers(parse_onnx(expert.bundle.float32, expert.name)), recipes.benchmark["samples"]
    graph, model = count_graph(parse_onnx(expert.bundle.int8, expert.name)), load_energy_model()
    whole, (local, gate) = graph.total(), profile_parts(profile)
    levels = MemoryLevels(**overhead(graph, local, gate, model)["levels"])
    added = replace(local + gate, bytes=len(profile.to_bytes()))
    training = as_part(training_cost(whole, shape_of(expert, profile, samples, copies=COPIES)))
    scale = expert.standardizer
    features = {
        "hidden": layers[-1].columns,
        "pooled": len(scale.pooled_mean),
        "convolution": len(scale.feature_mean),
    }
    near = MemoryLevels(levels.activations, levels.activations)
    inference_nj, passes_nj = model.energy_nj(whole, levels), model.mac_nj(whole)
    rows = []
    for name in COMPARED:
        parameters = recipes.parameters.get(name, {})
        if name.startswith("mixture"):
            kept, macs, each = added.bytes, training.macs_by_bits, added
        elif name == "global":
            kept, macs, each = 0, {}, PartCost()
        else:
            stored = features[parameters["features"]] if "features" in parameters else 0
            kept = kept_bytes(name, parameters, layers, samples, stored)
            macs = adapting_macs(name, parameters, layers, samples, whole.macs_by_bits)
            each = PartCost()
            if stored:  # one MAC for each feature of each stored sample
                each = PartCost(bytes=kept, macs_by_bits={8: samples * stored}, weight_bytes_read=kept)
        adapt_nj = model.mac_nj(PartCost(macs_by_bits=macs))
        rows.append(
            {
                "method": name,
                "title": _TITLES[name],
                **{key: recipes.accuracies.get(name, {}).get(key) for key in ACCURACIES},
                "bytes": kept,
                "adapt_macs": sum(macs.values()),
                "adapt_energy_nj": adapt_nj,
                "adapt_inferences": adapt_nj / passes_nj if passes_nj else None,
                "inference_macs": whole.macs + each.macs,
                "inference_energy_nj": inference_nj + model.energy_nj(each, near),
            }
        )
    return {
        "benchmark": dict(recipes.benchmark),
        "same_expert": recipes.benchmark["fingerprint"] == expert.fingerprint.hex(),
        "energy_kind": "ratio",
        "methods": rows,
    }


def print_against(compared: Mapping[str, Any], console: Console) -> None:
    """Print a record made by `against` as a table, with where its accuracies are from."""
    made = Table(title="Against other ways to adapt")
    made.add_column("method")
    for heading in ("user %", "generic %", "bytes kept", "to adapt, MACs", "in inferences", "an inference, nJ"):
        made.add_column(heading, justify="right")
    for row in compared["methods"]:
        shares = ["unknown" if row[key] is None else f"{100 * row[key]:.1f}" for key in ACCURACIES[:2]]
        inferences = row["adapt_inferences"]
        made.add_row(
            escape(row["title"]),
            *shares,
            f"{row['bytes']:,}",
            f"{row['adapt_macs']:,}",
            "unknown" if inferences is None else f"{inferences:,.0f}",
            f"{row['inference_energy_nj']:,.1f}",
        )
    console.print(made)
    console.print(about(compared), markup=False)


def about(compared: Mapping[str, Any]) -> str:
    """Say where the accuracies of a record made by `against` are from, and what its energies are."""
    source = compared["benchmark"]
    expert = source["expert"] + ("" if compared["same_expert"] else " as it was then, not the expert counted here")
    return (
        f"Accuracies: means over {source['writers']} writers, each read after {source['shots']} samples of each "
        f"character, {source['samples']} in all, by {expert}. Adapting: the arithmetic of the recipes behind these "
        "accuracies, and as how many inferences of the global expert it takes as much energy."
    )
