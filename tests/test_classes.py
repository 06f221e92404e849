"""The class sets and the official merges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemoe.classes import CLASS_SETS, class_set, merge_labels
from edgemoe.errors import EdgemoeError

MERGED = "cijklmopsuvwxyz"  # the lower-case letters that FORMATS counts as their capitals


def test_the_sets_have_their_official_sizes_and_no_character_twice():
    assert {name: len(set(s)) for name, s in CLASS_SETS.items()} == {
        "digits": 10,
        "letters": 26,
        "balanced": 47,
        "byclass": 62,
    }
    assert all(len(set(s)) == len(s) for s in CLASS_SETS.values())


def test_balanced_is_byclass_less_the_merged_letters():
    assert CLASS_SETS["balanced"] == "".join(c for c in CLASS_SETS["byclass"] if c not in MERGED)


def test_the_orders_are_those_of_the_archives_mapping_files(shared_data):
    from edgemoe.data.archive import open_archive
    from edgemoe.data.emnist import label_mapping

    with open_archive(shared_data / "emnist" / "emnist.zip") as archive:
        assert label_mapping(archive, "byclass-part") == dict(enumerate(CLASS_SETS["byclass"]))
        assert label_mapping(archive, "bymerge-part") == dict(enumerate(CLASS_SETS["balanced"]))


@given(st.lists(st.sampled_from(CLASS_SETS["byclass"])))
def test_62_labels_merge_to_47_by_the_official_rule(labels):
    merged = merge_labels(labels, CLASS_SETS["balanced"])
    assert merged.tolist() == [c.upper() if c in MERGED else c for c in labels]
    assert merged.dtype == np.dtype("<U1")
    np.testing.assert_array_equal(merge_labels(merged, CLASS_SETS["balanced"]), merged)


@given(st.lists(st.sampled_from(CLASS_SETS["byclass"])))
def test_62_labels_stay_themselves_among_62(labels):
    assert merge_labels(labels, CLASS_SETS["byclass"]).tolist() == labels


def test_letters_take_both_cases():
    assert merge_labels("aZ", CLASS_SETS["letters"]).tolist() == ["A", "Z"]


@pytest.mark.parametrize("label", ["a", "A", "é", "", "10", "\n"])
def test_a_label_without_a_place_is_named_with_its_source(label):
    with pytest.raises(EdgemoeError, match=r"me\.npz: label .* none of the 10 classes") as caught:
        merge_labels(["1", label], CLASS_SETS["digits"], "me.npz")
    assert repr(label) in str(caught.value)


def test_a_set_is_found_by_its_name():
    assert class_set("digits") == "0123456789"
    with pytest.raises(EdgemoeError, match=r"'runes'.*digits, letters, balanced, byclass"):
        class_set("runes")
