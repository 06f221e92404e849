"""Streams: people take turns, and every character of the user comes once."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the benchmark needs torch: pip install 'edgemoe[benchmark]'")

from edgemoe.benchmark.method import Characters
from edgemoe.benchmark.streams import Stream, draw_stream, stream_figures
from edgemoe.device.retention import Taps


def runs_of(stream: Stream) -> list[tuple[int, list[int]]]:
    """Cut a stream where the source changes."""
    cuts = np.flatnonzero(np.diff(stream.source)) + 1
    return [(int(part[0]), part.tolist()) for part in np.split(stream.source, cuts)]


@pytest.mark.parametrize("user", [5, 6, 9, 39, 41, 44, 85, 630])
@pytest.mark.parametrize("seed", range(4))
def test_runs_have_5_to_40_inputs_and_another_source_each(user: int, seed: int) -> None:
    stream = draw_stream([user, 50, 70], seed)
    lengths = [len(run) for _, run in runs_of(stream)]
    assert 5 <= min(lengths) <= max(lengths) <= 40
    assert len(lengths) == stream.run[-1] + 1
    assert stream.since.tolist() == [place for length in lengths for place in range(length)]
    assert stream.run.tolist() == [run for run, length in enumerate(lengths) for _ in range(length)]


@pytest.mark.parametrize("user", [1, 4, 5, 41, 630])
def test_each_character_of_the_user_comes_once_and_the_last_input_is_the_users(user: int) -> None:
    stream = draw_stream([user, 50, 70], 3)
    assert sorted(stream.row[stream.source == 0]) == list(range(user))
    assert stream.source[-1] == 0


def test_the_others_come_again_only_when_all_have_come() -> None:
    stream = draw_stream([630, 30, 40], 0)
    for source, size in ((1, 30), (2, 40)):
        rows = stream.row[stream.source == source]
        for start in range(0, len(rows) - size + 1, size):
            assert sorted(rows[start : start + size]) == list(range(size))


def test_no_source_is_favoured_and_every_length_occurs() -> None:
    runs = [run for seed in range(40) for run in runs_of(draw_stream([630, 400, 500], seed))]
    shares = np.bincount([source for source, _ in runs]) / len(runs)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)
    assert {len(run) for source, run in runs if source == 2} == set(range(5, 41))


def test_the_same_seed_gives_the_same_stream() -> None:
    one, same, other = (draw_stream([100, 50, 70], seed) for seed in (1, 1, 2))
    assert one.row.tolist() == same.row.tolist()
    assert one.row.tolist() != other.row.tolist()


def test_figures_are_those_of_counting_by_hand() -> None:
    sources = [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    run = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    since = [0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 5]
    right = [1, 0, 1, 0, 1, 0, 1, 1, 0, 1, 1]
    stream = Stream(np.array(sources), np.arange(11), np.array(run), np.array(since))
    figures = stream_figures(stream, np.array(right, bool))
    assert figures["user"] == pytest.approx({"accuracy": 5 / 8, "first1": 0.0, "first3": 2 / 3, "first5": 3 / 5})
    assert figures["bystander"] == pytest.approx({"accuracy": 2 / 3, "first1": 1.0, "first3": 2 / 3, "first5": 2 / 3})
    assert set(figures["generic"].values()) == {None}


def test_inputs_and_answers_are_put_into_the_streams_order() -> None:
    def samples(start: int, count: int) -> Characters:
        numbers = np.arange(start, start + count)
        images = np.broadcast_to(numbers[:, None, None], (count, 28, 28)).astype(np.uint8)
        floats = numbers[:, None].astype(np.float32)
        return Characters(images, numbers, Taps(floats, floats), floats)

    asked = [samples(0, 20), samples(100, 10), samples(200, 15)]
    stream = draw_stream([20, 10, 15], 0)
    inputs = stream.of(asked)
    expected = [100 * source + row for source, row in zip(stream.source, stream.row, strict=True)]
    assert inputs.labels.tolist() == expected
    for array in (inputs.images[:, 0, 0], inputs.taps.logits[:, 0], inputs.taps.features[:, 0], inputs.hidden[:, 0]):
        assert array.tolist() == expected
    odd = stream.pick([part.labels % 2 == 1 for part in asked])
    assert odd.tolist() == [number % 2 == 1 for number in expected]
