"""Rejection: what is not answered, and the curve against a count by hand."""

import numpy as np
import pytest

from edgemoe import EdgemoeError, Personalizer
from edgemoe.device.rejection import coverage_curve


def test_the_curve_is_a_count():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(200).astype(np.float32), rng.random(200) < 0.7
    thresholds = [0.0, 0.3, 0.9, 1.0]
    coverage, accuracy = coverage_curve(confidence, right, thresholds)
    for place, threshold in enumerate(thresholds[:3]):
        answered = [hit for value, hit in zip(confidence, right, strict=True) if value >= threshold]
        assert coverage[place] == len(answered) / 200
        assert accuracy[place] == sum(answered) / len(answered)
    assert coverage[3] == 0
    assert np.isnan(accuracy[3])


def test_an_answer_below_the_probability_asked_for_is_empty(ge, writer, fresh):
    moe = Personalizer(ge).fit(*writer)
    probability = moe.predict_proba(fresh[0]).max(axis=1)
    for reject in (0.0, 0.6, 1.0):
        labels = moe.predict(fresh[0], reject=reject)
        assert np.array_equal(labels == "", probability < reject)
        assert np.array_equal(labels[labels != ""], moe.predict(fresh[0])[labels != ""])
    kept = moe.predict(fresh[0], reject=0.8) != ""
    assert (moe.predict(fresh[0]) == fresh[1])[kept].mean() > moe.score(*fresh)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(EdgemoeError, match="reject"):
            moe.predict(fresh[0], reject=wrong)
