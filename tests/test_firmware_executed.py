"""The record of executed instructions, against the emulator that it came from."""

import numpy as np
import pytest
from firmware_tools import require_target

from edgemoe import GlobalExpert
from edgemoe.accounting.truth import load_executed
from firmware_export.executed import layer_instructions, vectors_for
from firmware_export.network import read_network


def test_each_layers_instructions_are_those_on_record(ge: GlobalExpert) -> None:
    found = layer_instructions(ge, require_target("cortex-m4"), vectors_for(ge).images)
    recorded = load_executed().layers
    network = read_network(ge.graph)
    assert list(found) == list(recorded) == [layer.name for layer in (*network.convolutions, *network.dense)]
    assert list(found.values()) == pytest.approx(list(recorded.values()), rel=0.02), (
        "python3 -m firmware_export.executed --out edgemoe/accounting/executed_cortex-m4.json makes the record anew"
    )


def test_only_the_first_layer_depends_on_the_image(ge: GlobalExpert) -> None:
    target = require_target("cortex-m4")
    blank, noise = np.zeros((1, 28, 28), np.uint8), np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    (one, *first), (other, *second) = (list(layer_instructions(ge, target, x).values()) for x in (blank, noise))
    assert first == pytest.approx(second, rel=0.01)
    assert one < other


def test_a_mean_is_that_of_its_images(ge: GlobalExpert) -> None:
    target, images = require_target("cortex-m4"), vectors_for(ge).images[:2]
    single = [layer_instructions(ge, target, image[None])["conv1"] for image in images]
    assert layer_instructions(ge, target, images)["conv1"] == pytest.approx(np.mean(single), abs=20)
