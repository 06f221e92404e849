"""Checkpoints: every tensor comes back, no pickle goes in or out, damage is one clear error."""

import io
import json
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgemoe.errors import EdgemoeError  # noqa: E402
from edgemoe.global_expert import checkpoint as module  # noqa: E402
from edgemoe.global_expert.architectures import build_network  # noqa: E402
from edgemoe.global_expert.checkpoint import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from edgemoe.global_expert.lenet5 import fold_normalization, lenet5  # noqa: E402


@pytest.fixture
def made():
    torch.manual_seed(0)
    model = lenet5((2, 3, 4), 5)
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {"optimizer.0.step": torch.tensor(7.0), "optimizer.0.exp_avg": torch.randn(2, 1, 5, 5)}
    return Checkpoint([2, 3, 4], "01aZ%", 3, tensors, {"recipe": {"rate": 2e-3}, "log": [{"loss": 0.1}]})


@pytest.fixture
def path(made, tmp_path):
    save_checkpoint(tmp_path / "run.npz", made)
    return tmp_path / "run.npz"


def test_what_is_saved_is_what_is_loaded(made, path):
    back = load_checkpoint(path)
    assert (back.shape, back.classes, back.epoch, back.record) == (made.shape, made.classes, made.epoch, made.record)
    assert back.tensors.keys() == made.tensors.keys()
    for name, tensor in made.tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert back.tensors[name].shape == tensor.shape
        assert torch.equal(back.tensors[name], tensor)


def test_the_network_is_rebuilt_from_it(made, path):
    model = build_network(load_checkpoint(path)).eval()
    assert all(torch.equal(value, made.tensors[f"model.{name}"]) for name, value in model.state_dict().items())
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 5)


def test_a_network_with_its_normalization_folded_in_is_rebuilt_too(made, tmp_path):
    folded = fold_normalization(build_network(made))
    tensors = {f"model.{name}": value for name, value in folded.state_dict().items()}
    save_checkpoint(tmp_path / "folded.npz", Checkpoint([2, 3, 4], made.classes, 1, tensors))
    model = build_network(load_checkpoint(tmp_path / "folded.npz"))
    assert list(model.state_dict()) == list(folded.state_dict())
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(model.eval()(images), folded(images))


def test_tensors_that_do_not_fit_the_shape_are_refused(made):
    for broken in (
        Checkpoint([2, 3, 5], made.classes, 3, made.tensors),
        Checkpoint([2, 3, 4], "01", 3, made.tensors),
        Checkpoint([2, 3, 4], made.classes, 3, {}),
    ):
        with pytest.raises(EdgemoeError, match="do not fit its shape"):
            build_network(broken)


def test_an_architecture_that_is_not_known_is_refused_with_those_that_are(made):
    made.architecture = "transformer"
    with pytest.raises(EdgemoeError, match="'transformer', which is none of lenet5, vgg"):
        build_network(made)


def test_a_checkpoint_from_before_architectures_had_names_holds_a_lenet5(made, tmp_path):
    save_checkpoint(tmp_path / "new.npz", made)
    with np.load(tmp_path / "new.npz") as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    assert header.pop("architecture") == "lenet5"
    np.savez(tmp_path / "old.npz", **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    assert load_checkpoint(tmp_path / "old.npz").architecture == "lenet5"


def test_there_is_no_pickle_inside(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert name.endswith(".npy")
            with archive.open(name) as file:
                assert np.lib.format.read_magic(file) == (1, 0)
                _, _, dtype = np.lib.format.read_array_header_1_0(file)
            assert not dtype.hasobject


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was opened",))

    header = np.frombuffer(json.dumps({"shape": [1], "classes": "a"}).encode(), np.uint8)
    np.savez(tmp_path / "trap.npz", header=header, weight=np.array([Trap()], object))
    torch.save({"model": Trap()}, tmp_path / "trap.pt")
    for name in ("trap.npz", "trap.pt"):
        with pytest.raises(EdgemoeError, match=f"{name}: not a whole edgemoe checkpoint"):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(EdgemoeError, match=r"run\.npz: not a whole edgemoe checkpoint"):
        load_checkpoint(path)


def test_a_flipped_byte_of_a_tensor_or_the_header_is_refused(path):
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        ends = archive.start_dir
        members = archive.infolist()
    for member in members:
        position = member.header_offset + 30 + len(member.filename) + 20 + member.file_size // 2
        assert position < ends
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(bytes(damaged))
        with pytest.raises(EdgemoeError, match=r"run\.npz: not a whole edgemoe checkpoint"):
            load_checkpoint(path)


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(made, path):
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    for position in range(directory, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(bytes(damaged))
        try:
            back = load_checkpoint(path)
        except EdgemoeError:
            continue
        assert back.record == made.record  # a date or another field that means nothing
        assert all(torch.equal(back.tensors[name], tensor) for name, tensor in made.tensors.items())


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{}", b"\xff\xfe", b'{"shape": [1]}', b'{"shape": [1], "classes": "a", "x": 1}']
)
def test_a_header_that_is_none_is_refused(tmp_path, header):
    np.savez(tmp_path / "run.npz", header=np.frombuffer(header, np.uint8))
    with pytest.raises(EdgemoeError, match=r"run\.npz: not a whole edgemoe checkpoint"):
        load_checkpoint(tmp_path / "run.npz")


def test_a_file_without_a_header_is_refused(tmp_path):
    np.savez(tmp_path / "run.npz", weight=np.zeros(3))
    with pytest.raises(EdgemoeError, match="header"):
        load_checkpoint(tmp_path / "run.npz")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 100_000)
    np.savez_compressed(tmp_path / "run.npz", header=np.zeros(200_000, np.uint8))
    assert (tmp_path / "run.npz").stat().st_size < 10_000
    with pytest.raises(EdgemoeError, match=r"run\.npz: unpacks to more than"):
        load_checkpoint(tmp_path / "run.npz")
    (tmp_path / "big.npz").write_bytes(bytes(100_001))
    with pytest.raises(EdgemoeError, match=r"big\.npz: larger than"):
        load_checkpoint(tmp_path / "big.npz")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EdgemoeError, match=r"none\.npz: cannot be read"):
        load_checkpoint(tmp_path / "none.npz")


def test_a_save_that_fails_leaves_the_old_checkpoint(made, path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(EdgemoeError, match="No space left on device"):
        save_checkpoint(path, Checkpoint([1, 1, 1], "ab"))
    assert load_checkpoint(path).epoch == made.epoch
    assert [entry.name for entry in path.parent.iterdir()] == ["run.npz"]


def test_the_same_state_gives_the_same_arrays(made, path):
    buffer = io.BytesIO(path.read_bytes())
    with np.load(buffer, allow_pickle=False) as arrays:
        assert set(arrays.files) == {"header", *made.tensors}
        assert json.loads(arrays["header"].tobytes())["classes"] == "01aZ%"
