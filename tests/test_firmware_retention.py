"""The retention set's form on a microcontroller keeps what it was made of, and refuses what it cannot hold."""

from dataclasses import replace

import numpy as np
import pytest

from edgemoe import EdgemoeError
from firmware_export.network import read_network
from firmware_export.retention import pack_retention, samples_that_fit
from firmware_export.retention_study import Form, reduced


@pytest.fixture(scope="module")
def network(ge):
    return read_network(ge.graph)


def test_packed_features_unpack_to_the_codes(ge, network):
    packed = pack_retention(ge.retention, network)
    halves = np.stack([packed.features & 15, packed.features >> 4], axis=2).reshape(packed.count, -1)
    assert (halves[:, : network.features] == ge.retention.codes["features"]).all()
    assert (packed.logits == ge.retention.codes["logits"]).all()
    assert (packed.labels == ge.retention.labels).all()
    assert packed.training == ge.retention.training.stop
    assert packed.step * network.feature_step == pytest.approx(ge.retention.scales["features"], rel=1e-5)
    assert sum(array.nbytes for array in packed.arrays().values()) == packed.nbytes


def test_as_many_samples_fit_as_take_the_flash(ge, network):
    packed = pack_retention(ge.retention, network)
    assert samples_that_fit(network, packed.nbytes) == packed.count
    assert samples_that_fit(network, packed.nbytes - 1) == packed.count - 1


def test_codes_that_are_not_the_networks_are_refused(ge, network):
    kept = ge.retention
    wide = {**kept.codes, "features": kept.codes["features"] + np.uint8(8)}
    with pytest.raises(EdgemoeError, match="4 bits"):
        pack_retention(replace(kept, codes=wide), network)
    with pytest.raises(EdgemoeError, match="step"):
        pack_retention(replace(kept, scales={**kept.scales, "features": network.feature_step * 2.5}), network)
    with pytest.raises(EdgemoeError, match="logits"):
        pack_retention(replace(kept, zeros={**kept.zeros, "logits": 0}), network)


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_fewer_bits_leave_fewer_levels_and_zeros_zero(ge, bits):
    form = Form(100, bits, 8)
    codes, whole = reduced(ge.retention, form).codes["features"], ge.retention.codes["features"][:100]
    assert len(np.unique(codes)) <= 2**bits
    assert (codes[whole == 0] == 0).all()
    assert np.abs(codes.astype(int) - whole).max() <= 15 / (2**bits - 1) / 2 + 0.5
    assert form.nbytes(500, 47) == 100 * (np.ceil(500 * bits / 8) + 47 + 1)
