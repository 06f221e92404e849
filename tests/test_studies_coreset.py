"""The coreset study: another retention set under the same expert, and what is said of it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from sklearn.metrics import roc_auc_score  # noqa: E402

from edgemoe import Personalizer  # noqa: E402
from edgemoe.global_expert.build import Samples  # noqa: E402
from edgemoe.simulator import simulated_samples  # noqa: E402
from edgemoe.studies.coreset import User, draw, measure, section, summary, with_retention  # noqa: E402

CHOSEN, HELD = np.arange(5, 25), np.arange(40, 90)


@pytest.fixture(scope="module")
def samples(ge):
    images, labels = simulated_samples(seed=11, per_class=2)
    return Samples(images, np.array([ge.classes.index(label) for label in labels]), "simulated")


@pytest.fixture(scope="module")
def expert(ge, samples):
    return with_retention(ge, samples, CHOSEN, HELD)


def test_the_gate_is_set_against_the_chosen_rows_and_held_to_the_others(ge, samples, expert):
    taps = ge.taps(samples.images)
    step = expert.retention.scales["features"]
    np.testing.assert_allclose(expert.generic.features, taps.features[CHOSEN], atol=step / 2 + 1e-5)
    np.testing.assert_allclose(expert.generic.logits, taps.logits[CHOSEN], atol=1e-4)
    held, labels = expert.held_out
    np.testing.assert_allclose(held.logits, taps.logits[HELD], atol=1e-4)
    np.testing.assert_array_equal(labels, samples.labels[HELD])


def test_the_retention_set_is_kept_as_the_shipped_one(ge, expert):
    assert expert.retention.scales == pytest.approx(ge.retention.scales)
    assert expert.retention.zeros == ge.retention.zeros
    assert expert.retention.codes["features"].max() <= ge.retention.codes["features"].max()
    assert ge.retention.training == slice(0, len(ge.retention) // 8)  # the shipped expert is as it was
    assert expert.standardizer.statistics is ge.standardizer.statistics  # what is generic, no choice changes


def test_what_is_measured_is_what_the_product_answers(ge, expert, writer, fresh):
    others = simulated_samples(seed=12, per_class=2)
    people = ge.taps(others[0]), others[1]
    found = measure(expert, User(*writer, ge.taps(fresh[0]), fresh[1]), people)
    moe = Personalizer(expert, "compact").fit(*writer)
    right = (moe.predict(fresh[0]) == fresh[1]).mean()
    before = (ge.predict(fresh[0]) == fresh[1]).mean()
    assert found["errors"] == pytest.approx(1 - before)
    assert found["gained"] == pytest.approx(right - before)
    assert found["lost"] == pytest.approx(
        (ge.predict(others[0]) == others[1]).mean() - (moe.predict(others[0]) == others[1]).mean()
    )
    odds = [
        moe.profile.gate.log_odds(expert.standardizer.gate_inputs(expert.taps(images)))
        for images in (fresh[0], others[0])
    ]
    truth = np.repeat([1, 0], [len(side) for side in odds])
    auc = roc_auc_score(truth, np.concatenate(odds))
    assert found["auc"] == pytest.approx(auc, abs=1e-4)  # folded weights differ in the last bits, and pairs turn
    assert found["accepted"] == moe.profile.verdict.accepted


def _draw(gained, errors=(0.4, 0.2), lost=(0.0, 0.001)):
    return {
        "auc": np.array([0.9, 0.8]), "errors": np.array(errors), "gained": np.array(gained), "lost": np.array(lost),
        "accepted": np.ones(2),
    }  # fmt: skip


def test_the_summary_weighs_writers_by_their_errors_and_compares_in_pairs():
    random = [_draw((0.1, 0.1)), _draw((0.2, 0.0))]
    row = summary([_draw((0.3, 0.06))], random)
    assert row["removed"] == pytest.approx(0.36 / 0.6)
    assert row["more"] == pytest.approx((0.15 + 0.01) / 0.6, abs=1e-5)
    assert row["more_low"] == pytest.approx(0.01 / 0.2)  # of two writers, the bootstrap draws one alone now and then
    assert row["more_high"] == pytest.approx(0.15 / 0.4)
    own = summary(random, random)
    assert own["more"] == own["more_low"] == own["more_high"] == 0
    assert (own["removed_least"], own["removed_most"]) == pytest.approx((0.2 / 0.6, 0.2 / 0.6), abs=1e-5)
    assert own["lost_most"] == 0.001


def test_the_section_says_which_gate_the_record_is_of(record):
    old = section({**record, "expert": "some 01234567"})
    assert "should a gate learn from?" in old
    assert "**This is of a gate and an expert of before** (some 01234567): a logistic regression" in old
    new = section({**record, "gate": "discriminant"})
    assert "should a gate be set against?" in new
    assert "of before" not in new


@pytest.fixture
def record():
    rows = []
    for size in (250, 1000):
        for way, gain in (("random", 0.1), ("herding", 0.2), ("hardest", 0.02)):
            random = [_draw((0.1, 0.05))]
            rows.append({"way": way, "size": size, **summary([_draw((gain, gain / 2))], random)})
    return {
        "expert": "tiny 0",
        "users": 2,
        "shots": 5,
        "pool": 5000,
        "held_out": 3000,
        "generic": 16000,
        "draws": 1,
        "rows": rows,
    }


def test_the_section_says_what_is_better_and_what_is_worse(record):
    text = section(record)
    assert "clearly better than a random choice: herding (+25.0, +25.0 to +25.0);" in text
    assert "clearly worse: hardest (-20.0, -20.0 to -20.0)" in text
    assert "The AUC alone does not tell: random has the highest, and herding removes the most." in text
    assert "| random | 0.850, 25.0%, 0.05 | 0.850, 25.0%, 0.05 |" in text


def test_the_section_says_too_where_nothing_differs(record):
    record["rows"] = [row for row in record["rows"] if row["way"] == "random"]
    text = section(record)
    assert "clearly better than a random choice: none; clearly worse: none" in text
    assert "does not tell" not in text


def test_what_another_random_draw_removes_too_is_not_clear(record):
    for row in record["rows"]:
        row["removed_most"] = 0.6
        row["removed_least"] = 0.01
    assert "clearly better than a random choice: none; clearly worse: none" in section(record)


def test_the_picture_is_a_png(record, tmp_path):
    draw(record, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
