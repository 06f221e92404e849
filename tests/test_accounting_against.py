"""Other ways to adapt: their MACs and bytes as the benchmark's own methods run, and the record that is shipped."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import edgemoe
from onnx_networks import batch_norm_net, mobilenet_like
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from edgemoe import GlobalExpert, MixtureOfExperts
from edgemoe.accounting.adapting import adapting_macs, kept_bytes, weighted_layers
from edgemoe.accounting.against import against, print_against
from edgemoe.accounting.energy import MemoryLevels, load_energy_model
from edgemoe.accounting.graph import count_graph
from edgemoe.accounting.onnx_reader import parse_onnx
from edgemoe.accounting.parts import profile_parts
from edgemoe.accounting.recipes import COMPARED, Recipes, read_recipes
from edgemoe.accounting.training_cost import as_part, shape_of, training_cost
from edgemoe.benchmark.methods import heads
from edgemoe.benchmark.methods.finetune import MINIBATCH, fit_full_finetune, fit_lora
from edgemoe.benchmark.methods.nearest import fit_knn_per
from edgemoe.benchmark.network import characters
from edgemoe.benchmark.recipes import shipped_table
from edgemoe.device.distort import COPIES
from edgemoe.errors import EdgemoeError
from edgemoe.simulator import simulated_samples

DOCS = Path(__file__).parents[1] / "docs" / "figures"
SAMPLES = MINIBATCH + 9  # a whole minibatch and a part of one


@pytest.fixture(scope="module")
def user(ge: GlobalExpert):
    images, labels = simulated_samples(seed=3, per_class=1)
    order = {label: i for i, label in enumerate(ge.classes)}
    return characters(ge, images, np.array([order[label] for label in labels]))[np.arange(SAMPLES)]


@pytest.fixture(scope="module")
def layers(ge: GlobalExpert):
    return weighted_layers(parse_onnx(ge.bundle.float32, "float32.onnx"))


def test_full_fine_tuning_has_the_macs_that_torch_counts_as_it_runs(ge, user, layers) -> None:
    with FlopCounterMode(display=False) as counter:
        adapted = fit_full_finetune(ge, user, 0, epochs=2)
    recipe = {"epochs": 2, "minibatch": MINIBATCH}
    macs = adapting_macs("full-finetune", recipe, layers, SAMPLES, {8: 999})
    assert macs == {32: counter.get_total_flops() // 2}  # torch counts a MAC as two operations
    assert kept_bytes("full-finetune", recipe, layers, SAMPLES, 0) == adapted.bytes


def test_lora_has_the_macs_that_torch_counts_as_it_runs(ge, user, layers) -> None:
    with FlopCounterMode(display=False) as counter:
        adapted = fit_lora(ge, user, 0, rank=3, epochs=2)
    recipe = {"epochs": 2, "minibatch": MINIBATCH, "rank": 3}
    macs = adapting_macs("lora", recipe, layers, SAMPLES, {8: 999})
    tried = sum(3 * layer.rows * layer.columns for layer in layers)  # torch multiplies once as it sets the factors up
    assert macs == {32: counter.get_total_flops() // 2 - tried}
    assert kept_bytes("lora", recipe, layers, SAMPLES, 0) == adapted.bytes


class Counted(np.ndarray):
    """An array whose matrix and scalar products are counted."""

    macs = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **rest):
        plain = [np.asarray(x) for x in inputs]
        result = getattr(ufunc, method)(*plain, **{k: v for k, v in rest.items() if k != "out"})
        if ufunc is np.matmul:
            Counted.macs += plain[0].shape[-1] * np.size(result)
        return np.asarray(result).view(Counted)

    def __array_function__(self, function, types, arguments, rest):
        if function is np.vdot:
            Counted.macs += np.size(arguments[0])
        arguments = [np.asarray(x) if isinstance(x, Counted) else x for x in arguments]
        return function(*arguments, **rest)


def test_the_last_layer_has_the_macs_of_the_products_that_its_training_computes(ge, user, layers) -> None:
    inputs = heads.with_bias(user.hidden).view(Counted)
    Counted.macs = 0
    heads.fit_softmax(inputs, user.labels, heads.shipped_head(ge).view(Counted), 1.0, 7)
    assert adapting_macs("last-layer", {"steps": 7}, layers, SAMPLES, {8: 1000}) == {
        8: 1000 * SAMPLES,
        32: Counted.macs,
    }
    assert kept_bytes("last-layer", {}, layers, SAMPLES, 0) == heads.fit_last_layer(ge, user, 0, steps=1).bytes


def test_knn_per_keeps_every_sample_and_reads_each_once(ge, user, layers) -> None:
    adapted = fit_knn_per(ge, user, 0)
    features = user.taps.features.shape[1]
    assert kept_bytes("knn-per", {}, layers, SAMPLES, features) == adapted.bytes
    assert adapting_macs("knn-per", {}, layers, SAMPLES, {8: 1000}) == {8: 1000 * SAMPLES}


def test_layers_of_other_networks_are_matrices_of_one_row_a_channel() -> None:
    model = mobilenet_like()
    found = weighted_layers(parse_onnx(model.SerializeToString(), "net.onnx"))
    shapes = {tuple(t.dims) for t in model.graph.initializer if len(t.dims) > 1}
    assert {(layer.rows, layer.columns) for layer in found} == {(s[0], int(np.prod(s[1:]))) for s in shapes}
    assert sum(layer.macs for layer in found) <= count_graph(parse_onnx(model.SerializeToString())).total().macs


def test_a_network_with_an_operator_that_is_not_known_has_no_cost_of_training() -> None:
    model = batch_norm_net()
    model.graph.node[2].op_type = "Wavelet"
    with pytest.raises(EdgemoeError, match=r"net.onnx: clip: no rule counts this operator; .* is unknown"):
        weighted_layers(parse_onnx(model.SerializeToString(), "net.onnx"))


def test_the_shipped_table_is_the_benchmarks_record_and_its_methods_own_recipes() -> None:
    shipped = Path(__file__).parents[1] / "edgemoe" / "accounting" / "methods.json"
    assert json.loads(shipped.read_text()) == shipped_table(str(DOCS / "benchmark.json"))  # see CONTRIBUTING.md
    recipes, record = read_recipes(), json.loads((DOCS / "benchmark.json").read_text())
    for name in COMPARED:
        assert recipes.accuracies[name]["user_accuracy"] == record["methods"][name]["user_accuracy"]


def whole_of(ge):
    return count_graph(parse_onnx(ge.bundle.int8)).total()


def test_the_comparison_holds_each_methods_bytes_energies_and_recorded_accuracies(ge, profile) -> None:
    recipes, whole, kept = read_recipes(), whole_of(ge), MixtureOfExperts.load(profile, ge).profile
    record = against(ge, kept, recipes)
    rows = {row["method"]: row for row in json.loads(json.dumps(record, allow_nan=False))["methods"]}
    assert list(rows) == list(COMPARED)
    assert rows["lora"]["user_accuracy"] == recipes.accuracies["lora"]["user_accuracy"]
    model, samples = load_energy_model(), recipes.benchmark["samples"]
    alone = model.energy_nj(whole, MemoryLevels("1 MB", "32 KB"))
    assert (rows["global"]["bytes"], rows["global"]["adapt_macs"]) == (0, 0)
    for name in ("global", "full-finetune", "lora", "last-layer"):  # shipped weights make room for what was trained
        assert rows[name]["inference_energy_nj"] == alone
        assert rows[name]["inference_macs"] == whole.macs
    features = int(np.prod(ge.metadata["feature_map"]))
    stored = samples * (features + 1)
    extra = samples * features * model.mac_pj(8) + stored * model.byte_pj["32 KB"]
    assert rows["knn-per"]["bytes"] == stored
    assert rows["knn-per"]["inference_energy_nj"] - alone == pytest.approx(extra / 1000)
    assert rows["knn-per"]["adapt_inferences"] == pytest.approx(samples)
    parts = profile_parts(kept)
    steps = as_part(training_cost(whole, shape_of(ge, kept, samples, COPIES)))
    assert rows["mixture"]["bytes"] == profile.stat().st_size
    assert rows["mixture"]["adapt_macs"] == steps.macs
    assert rows["mixture"]["adapt_energy_nj"] == pytest.approx(model.mac_nj(steps))
    assert rows["mixture"]["inference_macs"] == whole.macs + sum(part.macs for part in parts)


def test_bytes_are_those_that_the_benchmark_measured_on_the_same_expert(ge, profile) -> None:
    recipes = read_recipes()
    assert recipes.benchmark["fingerprint"] == ge.fingerprint.hex()
    rows = against(ge, MixtureOfExperts.load(profile, ge).profile, recipes)["methods"]
    for row in rows:
        if not row["method"].startswith("mixture"):  # a profile's length is its user's
            mean_label = np.prod(ge.metadata["feature_map"]) + 1 if row["method"] == "knn-per" else 0
            assert abs(row["bytes"] - recipes.accuracies[row["method"]]["bytes"]) <= mean_label


def test_an_accuracy_that_was_not_measured_is_unknown_and_another_expert_is_said_so(ge, profile) -> None:
    known = read_recipes()
    few = Recipes({**known.benchmark, "fingerprint": "0" * 64}, {}, known.parameters)
    record = against(ge, MixtureOfExperts.load(profile, ge).profile, few)
    assert {row["user_accuracy"] for row in record["methods"]} == {None}
    console = Console(file=io.StringIO(), width=200)
    print_against(record, console)
    text = console.file.getvalue()
    assert text.count("unknown") == 2 * len(COMPARED)
    assert "not the expert counted here" in text


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (("methods", "lora", "user_accuracy"), "high", "methods.lora.user_accuracy: is missing or of another kind"),
        (("methods", "lora", "user_accuracy"), 84.0, "accuracies are shares"),
        (("methods", "knn-per"), None, "methods.knn-per"),
        (("methods", "knn-per", "bytes"), 0, "labels are kept"),
        (("global_expert",), [], "global_expert: is missing"),
        (("writers",), None, "writers: is missing"),
    ],
)
def test_a_benchmarks_record_that_lacks_a_field_is_named_with_the_field(field, value, reason, tmp_path) -> None:
    record = json.loads((DOCS / "benchmark.json").read_text())
    place = record
    for key in field[:-1]:
        place = place[key]
    place[field[-1]] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps(record))
    with pytest.raises(EdgemoeError, match=f"results.json: .*{reason}"):
        read_recipes(path)


def test_a_benchmarks_record_that_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(EdgemoeError, match=r"r.json: is not JSON"):
        read_recipes(tmp_path / "r.json")


def test_account_takes_accuracies_from_a_record_that_is_given(profile, tmp_path, capsys) -> None:
    record = json.loads((DOCS / "benchmark.json").read_text())
    record["methods"]["lora"]["user_accuracy"] = 0.125
    (tmp_path / "results.json").write_text(json.dumps(record))
    command = ("account", "--profile", profile, "--json")
    assert edgemoe(*command, "--benchmark", tmp_path / "results.json") == 0
    given = {row["method"]: row for row in json.loads(capsys.readouterr().out)["against"]["methods"]}
    assert edgemoe(*command, "--against") == 0
    shipped = {row["method"]: row for row in json.loads(capsys.readouterr().out)["against"]["methods"]}
    assert given["lora"] == shipped["lora"] | {"user_accuracy": 0.125}
    assert edgemoe(*command) == 0
    assert "against" not in json.loads(capsys.readouterr().out)


def test_account_names_a_record_that_it_cannot_use_before_it_trains(profile, tmp_path, capsys) -> None:
    (tmp_path / "results.json").write_text("[]")
    assert edgemoe("account", "--profile", profile, "--benchmark", tmp_path / "results.json") != 0
    assert "results.json: is no JSON object" in capsys.readouterr().err
