"""The C network against the integer reference, bit by bit: on this host, with an emulated DSP extension, on boards."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from firmware_tools import require, require_target
from integer_networks import random_images, random_network

from firmware_export.emit_network import emit_network
from firmware_export.emulator import run
from firmware_export.layers import Network
from firmware_export.memory import image_memory
from firmware_export.reference import run_network
from firmware_export.targets import TARGETS
from firmware_export.toolchain import BOARDS, build, compile_everywhere

KERNELS = BOARDS.parent / "c"
DSP = Path(__file__).parent / "emulated_dsp"
DSP_MACROS = {"__ARM_FEATURE_DSP": 1, "__ARM_FEATURE_SAT": 1}
NETWORKS = {
    "LeNet-5": random_network(0, [(6, 5, 2, True), (16, 5, 0, True)], [120, 84, 47]),
    "odd channels": random_network(1, [(3, 5, 2, True), (7, 5, 0, True)], [30, 11]),
    "one channel": random_network(2, [(1, 5, 0, True), (1, 3, 1, True)], [1]),
    "padded": random_network(3, [(5, 5, 1, True), (6, 5, 2, True), (9, 3, 1, True)], [17, 10], zero=31),
    "no pool": random_network(4, [(2, 5, 0, False), (5, 5, 1, True), (3, 3, 0, False)], [13, 5]),
    "odd positions": random_network(5, [(4, 3, 0, True), (6, 3, 0, False), (3, 5, 2, False)], [9], zero=200),
    "odd pools": random_network(6, [(4, 5, 1, True), (6, 3, 0, True), (5, 5, 0, False)], [6, 3]),
    "one position": random_network(7, [(2, 5, 0, True), (2, 5, 0, True), (3, 3, 0, False), (5, 1, 0, False)], [8]),
    "first kernel of 3": random_network(8, [(6, 3, 1, True), (4, 3, 1, True)], [20, 20, 10]),
    "first kernel of 7": random_network(9, [(3, 7, 3, True), (4, 7, 0, True)], [20]),
    "palettes": random_network(10, [(6, 5, 2, True), (5, 5, 0, True)], [19, 6, 9], palettes=True),
    "many channels": random_network(11, [(20, 5, 2, True), (12, 5, 0, True)], [23]),
    "no ReLU": random_network(13, [(6, 5, 2, True), (6, 3, 1, True)], [12, 9], zero=90, relu=False),
    "no ReLU, no pool": random_network(14, [(3, 3, 2, False), (6, 3, 1, True)], [12, 9], zero=90, relu=False),
    "extreme weights": random_network(12, [(8, 5, 2, True), (10, 5, 0, True)], [40, 20], extreme=True),
}


def write(network: Network, folder: Path) -> Path:
    """Write a network's C, and return em_network.c."""
    macros, source = emit_network(network)
    (folder / "edgemoe_model.h").write_text(macros)
    (folder / "em_network.c").write_text(source)
    return folder / "em_network.c"


def run_library(path: Path, network: Network, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """Return features and logits of a shared library, for images at odd addresses and a dirty scratch memory."""
    library = ctypes.CDLL(str(path))
    macros = dict(line.split()[1:3] for line in emit_network(network)[0].splitlines())
    scratch = np.full(int(macros["EM_NETWORK_SCRATCH"]) // 8 + 1, 0x7FFF_8001_7FFF_8001, np.uint64)
    image = np.empty(785, np.uint8)
    codes = [np.empty((len(images), count), np.uint8) for count in (network.features, network.classes)]
    for index, pixels in enumerate(images):
        image[1:] = pixels.ravel()
        features, logits = (np.zeros(part.shape[1] + 1, np.uint8) for part in codes)
        arrays = image[1:], features, logits, scratch
        library.em_network(*(ctypes.c_void_p(array.ctypes.data) for array in arrays))
        codes[0][index], codes[1][index] = features[:-1], logits[:-1]
        assert features[-1] == logits[-1] == 0
        assert scratch[-1] == 0x7FFF_8001_7FFF_8001
    return codes


@pytest.mark.parametrize("macros", [{}, DSP_MACROS], ids=["portable", "DSP"])
@pytest.mark.parametrize("name", NETWORKS)
def test_c_on_the_host_is_the_reference_bit_for_bit(name: str, macros: Mapping[str, object], tmp_path: Path) -> None:
    require("gcc")
    network, images = NETWORKS[name], random_images(3, 25)
    defines = {"EM_NETWORK_ONLY": 1, **macros}
    flags = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
    includes = [KERNELS, *([DSP] if macros else [])]
    library = build(TARGETS["host"], [write(network, tmp_path)], includes, tmp_path / "n.so", defines, "-O1", flags)
    for codes, expected in zip(run_library(library, network, images), run_network(network, images), strict=True):
        assert (codes == expected).all()


def test_a_network_without_taps_leaves_the_features_alone(tmp_path: Path) -> None:
    require("gcc")
    whole = NETWORKS["odd channels"]
    network = Network(whole.convolutions, whole.dense, False, whole.feature_step, whole.logit_step)
    images = random_images(4, 6)
    source = write(network, tmp_path)
    library = build(TARGETS["host"], [source], [KERNELS], tmp_path / "n.so", {"EM_NETWORK_ONLY": 1})
    features, logits = run_library(library, network, images)
    assert not features.any()
    assert (logits == run_network(network, images)[1]).all()


def program(network: Network, images: npt.NDArray[np.uint8], folder: Path) -> list[Path]:
    """Write a program that counts the codes that are not the reference's, and what the slowest and all images take."""
    features, logits = run_network(network, images)

    def array(name: str, values: npt.NDArray[np.uint8]) -> str:
        rows = ",\n".join("{" + ", ".join(map(str, row.ravel())) + "}" for row in values)
        return f"static const uint8_t {name}[][{values[0].size}] = {{{rows}}};\n"

    text = f"""#include "em_board.h"
#include "edgemoe_model.h"
void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch);
#ifndef BARE
{array("images", images)}{array("feature_codes", features)}{array("logit_codes", logits)}
#endif
static uint8_t image[28 * 28], features[EM_FEATURES], logits[EM_CLASSES];
static uint64_t scratch[EM_NETWORK_SCRATCH / 8];
int main(void)
{{
    uint64_t all = 0, most = 0;
    int wrong = 0;
#ifdef BARE
    em_network(image, features, logits, scratch);
    wrong = logits[0];
#else
    for (int i = 0; i < {len(images)}; i++) {{
        for (int k = 0; k < 28 * 28; k++)
            image[k] = images[i][k];
        uint64_t ticks = em_board_ticks();
        em_network(image, features, logits, scratch);
        ticks = em_board_ticks() - ticks;
        all += ticks;
        most = ticks > most ? ticks : most;
        for (int k = 0; k < EM_FEATURES; k++)
            wrong += features[k] != feature_codes[i][k];
        for (int k = 0; k < EM_CLASSES; k++)
            wrong += logits[k] != logit_codes[i][k];
    }}
#endif
    em_board_report("wrong", wrong);
    em_board_report("mean", (int64_t)(all / {len(images)}));
    em_board_report("most", (int64_t)most);
    em_board_report("stack", em_board_stack_peak());
    em_board_exit(0);
    return 0;
}}
"""
    (folder / "main.c").write_text(text)
    return [folder / "main.c", write(network, folder)]


@pytest.mark.parametrize(
    ("target", "defines"),
    [
        ("cortex-m3", {}),
        ("cortex-m4", {}),
        ("cortex-m4", {"EM_NO_ASSEMBLY": 1}),
        ("cortex-m55", {}),
        ("cortex-m55", {"EM_NO_ASSEMBLY": 1}),
    ],
)
@pytest.mark.parametrize("name", ["odd channels", "padded", "no pool", "extreme weights"])
def test_c_on_a_board_is_the_reference_bit_for_bit(
    name: str, target: str, defines: Mapping[str, object], tmp_path: Path
) -> None:
    board = require_target(target)
    sources = program(NETWORKS[name], random_images(5, 6), tmp_path)
    made = build(board, sources, [KERNELS, tmp_path], tmp_path / "n.elf", {"EM_NETWORK_ONLY": 1, **defines})
    numbers = run(board, made).numbers
    assert numbers["wrong"] == 0
    assert numbers["mean"] > 0


@pytest.mark.parametrize("optimize", ["-O2", "-O3", "-Os"])
def test_lenet5_on_a_cortex_m4_takes_few_instructions_and_little_memory(optimize: str, tmp_path: Path) -> None:
    board = require_target("cortex-m4")
    network = NETWORKS["LeNet-5"]
    assert network.macs == 419_628
    sources = program(network, np.full((1, 28, 28), 255, np.uint8), tmp_path)  # not a pixel to skip
    includes, macros = [KERNELS, tmp_path], {"EM_NETWORK_ONLY": 1}
    numbers = run(board, build(board, sources, includes, tmp_path / "n.elf", macros, optimize)).numbers
    assert numbers["wrong"] == 0
    assert numbers["most"] / network.macs < 1.15
    bare = build(board, sources, includes, tmp_path / "bare.elf", macros | {"BARE": 1}, optimize)
    empty = build(board, [BOARDS / "em_board_empty.c"], [], tmp_path / "empty.elf", {}, optimize)
    taken, left = image_memory(board, bare), image_memory(board, empty)
    assert taken.flash - left.flash < (70_500 if optimize == "-O3" else 70_000)
    assert taken.ram - left.ram + numbers["stack"] < 6_200


def test_the_kernels_compile_everywhere_without_a_warning(tmp_path: Path) -> None:
    for tool in ("gcc", "clang", "arm-none-eabi-gcc"):
        require(tool)
    for name in ("no pool", "palettes"):
        path = tmp_path / "em_network.c"
        path.write_text(f"#define EM_NETWORK_ONLY\n{emit_network(NETWORKS[name])[1]}")
        compile_everywhere([path], [KERNELS])
