"""The mixture in C computes the same bits on every target, and adds few instructions to the network's."""

import numpy as np
import pytest
from firmware_mixture import C, Expert
from firmware_tools import require_target

from edgemoe.device.mixture import MixtureOfExperts
from edgemoe.simulator import simulated_samples
from firmware_export.emulator import run
from firmware_export.targets import TARGETS
from firmware_export.toolchain import WARNINGS, build

PROGRAM = """
#include "em_board.h"
#include "em_internal.h"
#include "em_dot.h"
#include "inputs.h"
#include <string.h>
static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
static uint32_t digest;
static void add(const void *bytes, size_t count) {
    uint8_t both[64];
    memcpy(both, &digest, 4);
    memcpy(both + 4, bytes, count);
    digest = em_crc32(both, count + 4);
}
static void add_float(float value) { add(&value, sizeof value); }
static void report(const char *name) { em_board_report(name, digest); digest = 0; }
int main(void) {
    em *moe;
    em_answer answer;
    uint8_t image[EM_PIXELS];
    uint64_t start;
    size_t i;
    float x;
    for (x = -90.0f; x < 90.0f; x += 0.37f) add_float(em_exp(x));
    report("exp");
    for (x = 1e-30f; x < 1e30f; x *= 1.37f) add_float(em_log(x));
    report("log");
    for (i = 0; i < 65536; i += 37) add_float((i & 0x7c00u) == 0x7c00u ? 0.0f : em_half_to_float((uint16_t)i));
    report("half");
    if (em_init(&moe, arena, sizeof arena) != EM_OK) return 1;
    start = em_board_ticks();
    em_predict(moe, images[0], &answer);
    em_board_report("ticks alone", (int64_t)(em_board_ticks() - start));
    if (em_load(moe, profile, sizeof profile) != EM_OK) return 2;
    for (i = 0; i < sizeof images / sizeof *images; i++) {
        em_predict(moe, images[i], &answer);
        add(&answer.label, 2);
        add_float(answer.gate);
        add_float(answer.confidence);
        em_session_predict(moe, images[i], &answer);
        add_float(answer.gate);
        add_float(answer.confidence);
    }
    report("answers");
    em_board_report("open", (int64_t)(answer.gate > 0));
    start = em_board_ticks();
    em_predict(moe, images[0], &answer);
    em_board_report("ticks mixture", (int64_t)(em_board_ticks() - start));
    em_board_report("open", answer.gate > 0.0f);
    if (em_render(points, strokes, 2, image) != EM_OK) return 3;
    digest = em_crc32(image, sizeof image);
    report("strokes");
    return 0;
}
"""


def array(kind, name, values):
    return f"static const {kind} {name} = {{{', '.join(map(str, values))}}};\n"


def run_on(target, expert, profile, codes, folder):
    """The numbers that the program prints on a target."""
    rng = np.random.default_rng(0)
    rows = ["{" + ", ".join(map(str, code)) + "}" for code in codes]
    text = array("uint8_t", "profile[]", profile.to_bytes()) + array("uint8_t", f"images[][{codes.shape[1]}]", rows)
    text += array("float", "points[]", [f"{value:.9e}f" for value in rng.normal(0, 40, 40).astype(np.float32)])
    text += array("uint16_t", "strokes[]", [13, 7])
    (folder / "inputs.h").write_text("#include <stdint.h>\n" + text)
    (folder / "program.c").write_text(PROGRAM)
    program = folder / f"{target.name}.elf"
    build(target, [*expert.write(folder), folder / "program.c"], [folder, C], program, flags=WARNINGS)
    done = run(target, program)
    assert done.code == 0, done.lines
    return done.numbers


@pytest.fixture(scope="module")
def case(ge, profile):
    expert, twin = Expert.of(ge, spare=0), MixtureOfExperts.load(profile, ge)
    images = np.concatenate([simulated_samples(1, 1, sample_seed=1)[0], simulated_samples(2, 1)[0]])
    taps = ge.taps(images)
    order = np.argsort(-twin.explain_taps(taps).gate)  # the first image opens the gate
    return expert, twin.profile, expert.codes(taps)[order]


@pytest.fixture(scope="module")
def on_host(case, tmp_path_factory):
    return run_on(TARGETS["host"], *case, tmp_path_factory.mktemp("host"))


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "host"])
def test_every_target_computes_the_same_bits_and_the_mixture_adds_few_instructions(tmp_path, case, on_host, name):
    found = run_on(require_target(name), *case, tmp_path)
    digests = {key: number for key, number in found.items() if not key.startswith("ticks")}
    assert digests == {key: number for key, number in on_host.items() if not key.startswith("ticks")}
    assert digests["open"] == 1
    most = {"cortex-m3": 40_000, "aarch64": 1}.get(name, 14_000)  # no DSP extension and no floats; not counted
    assert found["ticks mixture"] - found["ticks alone"] < most
