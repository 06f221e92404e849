"""The estimator: scikit-learn's conventions, unusable samples, and no torch."""

import copy
import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edgemoe import EdgemoeError, GlobalExpert, MixtureOfExperts, Personalizer, load_global_expert
from edgemoe.device.training import SIZES
from edgemoe.simulator import simulated_samples


@pytest.fixture(scope="module")
def fitted(ge, writer):
    return Personalizer(ge).fit(*writer)


# --- scikit-learn's conventions


def test_parameters_are_the_constructors_and_are_kept_untouched(ge):
    params = {"ge": ge, "size": "full", "budget": 0.01, "confidence": 0.8, "seed": 5, "symbols": "@",
              "copies": 2}  # fmt: skip
    moe = Personalizer(**params)
    assert moe.get_params() == moe.get_params(deep=False) == params
    assert all(getattr(moe, name) is value for name, value in params.items())
    assert moe.set_params(size="compact", seed=6) is moe
    assert moe.get_params() == {**params, "size": "compact", "seed": 6}
    with pytest.raises(
        EdgemoeError, match="no parameter 'shots'; it has ge, size, budget, confidence, seed, symbols, copies"
    ):
        moe.set_params(shots=3)


def test_a_clone_is_unfitted_and_has_equal_parameters(ge, fitted):
    # What sklearn.base.clone does: the class, called with copies of get_params(deep=False).
    params = {name: copy.deepcopy(value) for name, value in fitted.get_params(deep=False).items()}
    clone = type(fitted)(**params)
    assert clone.get_params() == fitted.get_params()
    assert clone.ge is ge
    with pytest.raises(EdgemoeError, match="not fitted yet"):
        clone.predict(np.zeros((1, 28, 28), np.uint8))


def test_the_constructor_checks_nothing_and_fit_does(ge, writer):
    for params, message in [
        ({"size": "huge"}, "size 'huge': expected compact or full"),
        ({"budget": -0.1}, "budget -0.1"),
        ({"budget": 1.1}, "budget 1.1"),
        ({"budget": float("nan")}, "budget nan"),
        ({"symbols": "@@"}, "symbols: '@' is given twice"),
        ({"symbols": "A"}, "symbols: 'A' is given twice, or is one of the global expert's classes"),
        ({"symbols": "\n"}, r"symbols: '\\n' cannot be printed"),
        ({"symbols": 3}, "symbols: expected a string"),
        ({"copies": 17}, "copies 17: expected a number from 0 to 16"),
        ({"copies": -1}, "copies -1: expected"),
        ({"copies": 2.0}, r"copies 2\.0: expected"),
        ({"copies": "4"}, "copies '4': expected"),
    ]:
        moe = Personalizer(ge, **params)
        with pytest.raises(EdgemoeError, match=message):
            moe.fit(*writer)


def test_nothing_answers_before_it_is_fitted(ge, writer, tmp_path):
    moe = Personalizer(ge)
    image = writer[0][0]
    for call in (
        lambda: moe.predict(image),
        lambda: moe.predict_proba(image),
        lambda: moe.route(image),
        lambda: moe.session().predict(image),
        lambda: moe.undo(),
        lambda: moe.save(tmp_path / "me.moe"),
    ):
        with pytest.raises(EdgemoeError, match="not fitted yet"):
            call()
    assert os.listdir(tmp_path) == []
    assert "".join(moe.classes_) == ge.classes


def test_fit_returns_itself_and_a_fitted_copy_answers_alike(ge, writer, fitted):
    moe = Personalizer(ge)
    assert moe.fit(*writer) is moe
    twin = copy.deepcopy(moe)
    assert np.array_equal(twin.predict_proba(writer[0]), moe.predict_proba(writer[0]))
    twin.learn(writer[0][0], "Z").learn(writer[0][1], "Z")
    assert moe.profile.to_bytes() == fitted.profile.to_bytes() != twin.profile.to_bytes()


def test_the_same_seed_gives_the_same_bytes(ge, writer):
    for size in SIZES:
        first, second = (Personalizer(ge, size=size, seed=4).fit(*writer).profile.to_bytes() for _ in range(2))
        assert first == second


def test_fit_forgets_what_was_before_and_global_randomness_does_not_matter(ge, writer, fitted):
    moe = Personalizer(ge).fit(*simulated_samples(seed=8, per_class=2))
    np.random.seed(99)  # noqa: NPY002
    assert moe.fit(*writer).profile.to_bytes() == fitted.profile.to_bytes()


def test_the_samples_are_not_written_to(ge, writer):
    images, labels = (np.array(part) for part in writer)
    images.flags.writeable = labels.flags.writeable = False
    Personalizer(ge).fit(images, labels)
    assert np.array_equal(images, writer[0])


def test_labels_may_be_a_list_an_array_or_objects(ge, writer, fitted):
    images, labels = writer
    for form in (labels.tolist(), "".join(labels), labels.astype(object), labels.astype("<U5")):
        moe = Personalizer(ge).fit(images, list(form) if isinstance(form, str) else form)
        assert moe.profile.to_bytes() == fitted.profile.to_bytes()


def test_small_letters_are_merged_onto_capitals_by_the_official_rule(ge, writer, fitted):
    images, labels = writer
    small = [label.lower() if label in "CIJKLMOPSUVWXYZ" else label for label in labels]
    assert Personalizer(ge).fit(images, small).profile.to_bytes() == fitted.profile.to_bytes()


def test_another_expert_does_not_answer_with_a_profile_that_is_not_its_own(ge, fitted, writer):
    moe = copy.deepcopy(fitted)
    moe.set_params(ge=GlobalExpert(dataclasses.replace(ge.bundle, metadata={**ge.metadata, "fingerprint": "11" * 32})))
    with pytest.raises(EdgemoeError):
        moe.predict(writer[0])


# --- partial_fit


def test_partial_fit_equals_fit_on_all_of_it(ge, writer, fitted):
    images, labels = writer
    moe = Personalizer(ge)
    for rows in (slice(0, 50), slice(50, 51), slice(51, None)):
        assert moe.partial_fit(images[rows], labels[rows]) is moe
    assert moe.profile.to_bytes() == fitted.profile.to_bytes()
    assert moe.profile.samples == len(images)


def test_fit_starts_anew_where_partial_fit_goes_on(ge, writer, fitted):
    images, labels = writer
    moe = Personalizer(ge).fit(images[:90], labels[:90])
    assert moe.partial_fit(images[90:], labels[90:]).profile.to_bytes() == fitted.profile.to_bytes()
    assert moe.fit(images, labels).profile.to_bytes() == fitted.profile.to_bytes()


# --- unusable samples


UNUSABLE = {
    "class indices": (None, np.arange(235) % 10),
    "ASCII codes": (None, np.full(235, 65, np.uint8)),
    "floats": (None, np.full(235, 1.0)),
    "bytes": (None, np.full(235, b"a")),
    "None among them": (None, ["a"] * 234 + [None]),
    "an unknown character": (None, ["a"] * 234 + ["%"]),
    "two characters": (None, ["ab"] * 235),
    "an empty label": (None, [""] * 235),
    "too few labels": (None, ["a"] * 234),
    "one label for all": (None, "a"),
    "labels in a column": (None, np.full((235, 1), "a")),
    "float images": (np.zeros((235, 28, 28), np.float32), ["a"] * 235),
    "images in [0, 1] as int": (np.zeros((235, 28, 28), int), ["a"] * 235),
    "colour images": (np.zeros((235, 28, 28, 3), np.uint8), ["a"] * 235),
    "small images": (np.zeros((235, 27, 28), np.uint8), ["a"] * 235),
    "flat images": (np.zeros((235, 784), np.uint8), ["a"] * 235),
    "no images": (np.zeros((0, 28, 28), np.uint8), []),
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_unusable_samples_are_one_clear_error_and_the_old_profile_stays(fitted, writer, case, method):
    images, labels = UNUSABLE[case]
    moe = copy.deepcopy(fitted)
    with pytest.raises(EdgemoeError, match=r"^(images|labels): "):
        getattr(moe, method)(writer[0] if images is None else images, labels)
    assert moe.profile.to_bytes() == fitted.profile.to_bytes()
    assert moe.partial_fit(writer[0][:1], writer[1][:1]).profile.samples == 236  # nothing of it was kept


def test_images_of_several_sizes_are_one_clear_error(ge):
    with pytest.raises(EdgemoeError, match=r"images: "):
        Personalizer(ge).fit([np.zeros((28, 28), np.uint8), np.zeros((28, 5), np.uint8)], ["a", "b"])


# --- persistence


def test_a_saved_personalizer_loads_as_a_mixture_of_the_same_expert(ge, writer, fitted, tmp_path):
    fitted.save(tmp_path / "me.moe")
    for cls in (MixtureOfExperts, Personalizer):
        back = cls.load(tmp_path / "me.moe", ge)
        assert np.array_equal(back.predict_proba(writer[0]), fitted.predict_proba(writer[0]))
    other = GlobalExpert(dataclasses.replace(ge.bundle, metadata={**ge.metadata, "fingerprint": "11" * 32}))
    with pytest.raises(EdgemoeError, match="was made for the global expert"):
        MixtureOfExperts.load(tmp_path / "me.moe", other)


def test_a_save_that_fails_leaves_the_old_profile_loadable(ge, writer, fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "me.moe")
    other = Personalizer(ge, size="full").fit(*writer)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(EdgemoeError, match=r"me\.moe: cannot be written"):
        other.save(tmp_path / "me.moe")
    assert MixtureOfExperts.load(tmp_path / "me.moe", ge).profile.to_bytes() == fitted.profile.to_bytes()


def test_all_of_it_runs_where_nothing_but_the_base_install_can_be_imported(tmp_path):
    script = f"""
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {{"torch", "scipy", "sklearn", "onnx", "torch_pruning", "emnist"}}:
                    raise ImportError("not on a board: " + name)

        sys.meta_path.insert(0, Refuse())
        try:
            import torch
        except ImportError:
            pass
        else:
            raise SystemExit("the refusal does not work")
        import edgemoe
        from edgemoe.simulator import simulated_samples
        import edgemoe.data

        ge = edgemoe.load_global_expert("lenet5-balanced")
        images, labels = simulated_samples(seed=1, per_class=2)
        moe = edgemoe.Personalizer(ge, size="compact", seed=0).fit(images, labels)
        moe.learn(images[0], labels[0])
        moe.session().predict(images)
        moe.save({str(tmp_path / "me.moe")!r})
        back = edgemoe.MixtureOfExperts.load({str(tmp_path / "me.moe")!r}, ge)
        assert (back.predict(images) == moe.predict(images)).all()
        assert not {{"torch", "scipy", "sklearn", "onnx"}} & set(sys.modules)
        print(ge.fingerprint.hex(), len(images))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [load_global_expert().fingerprint.hex(), "94"]


def test_symbols_may_be_changed_between_fits(ge, writer):
    images, labels = writer[0][:60], writer[1][:60].copy()
    moe = Personalizer(ge).fit(images, labels)
    labels[:5] = "@"
    assert moe.set_params(symbols="@").fit(images, labels).classes_[-1] == "@"
