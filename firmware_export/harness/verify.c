/* Runs everything on the target that `edgemoe firmware verify` compares with the Python side, and prints what came out.
 * vectors.h: images, samples to learn from, and a profile. */
#include "edgemoe.h"
#include "em_board.h"
#include "em_internal.h"
#include "vectors.h"

static em_word arena[EM_WORDS(EM_ARENA_TRAIN)];
static em_sample samples[EM_VECTOR_SAMPLES]; /* on a device, in flash: em_observe's result may be programmed there */
static uint8_t profile[EM_PROFILE_MOST];

static void fail(const char *where, em_status status) {
    em_board_report(where, (long)status);
    em_board_exit(1);
}

static void answers(em *moe) {
    em_answer answer;
    for (int k = 0; k < EM_VECTOR_IMAGES; k++) {
        const em_status status = em_predict(moe, em_vector_image[k], &answer);
        if (status != EM_OK) fail("em_predict", status);
        em_board_report("codes", (long)(int32_t)(em_crc32(moe->features, EM_FEATURES) ^ em_crc32(moe->logits, EM_CLASSES)));
        em_board_report("label", answer.label);
        em_board_report("confidence", (long)(answer.confidence * 1e6f + 0.5f));
        em_board_report("gate", (long)(answer.gate * 1e6f + 0.5f));
    }
}

int main(void) {
    em *moe;
    em_answer answer;
    size_t bytes = 0;
    em_status status = em_init(&moe, arena, sizeof arena);
    if (status != EM_OK) fail("em_init", status);

    /* The global expert alone, then the mixture: what local expert and gate add to an inference. */
    uint64_t begun = em_board_ticks();
    for (int k = 0; k < EM_VECTOR_IMAGES; k++) em_predict(moe, em_vector_image[k], &answer);
    em_board_report("global ticks", (int64_t)(em_board_ticks() - begun));
    status = em_load(moe, em_vector_profile, sizeof em_vector_profile);
    if (status != EM_OK) fail("em_load", status);
    em_board_stack_mark();
    begun = em_board_ticks();
    for (int k = 0; k < EM_VECTOR_IMAGES; k++) em_predict(moe, em_vector_image[k], &answer);
    const uint64_t mixture = em_board_ticks() - begun;
    const uint32_t predict_stack = (uint32_t)em_board_stack_peak();
    em_board_report("mixture ticks", (int64_t)mixture);
    em_board_report("predict stack", predict_stack);
    answers(moe);

    em_board_stack_mark();
    begun = em_board_ticks();
    for (int k = 0; k < EM_VECTOR_SAMPLES; k++) {
        status = em_observe(moe, em_vector_sample[k], em_vector_target[k], &samples[k]);
        if (status != EM_OK) fail("em_observe", status);
    }
    const uint64_t observed = em_board_ticks() - begun;
    begun = em_board_ticks();
    status = em_train(moe, samples, EM_VECTOR_SAMPLES, EM_VECTOR_BITS);
    const uint64_t trained = em_board_ticks() - begun;
    const uint32_t train_stack = (uint32_t)em_board_stack_peak();
    if (status != EM_OK) fail("em_train", status);
    em_board_report("observe ticks", (int64_t)observed);
    em_board_report("train ticks", (int64_t)trained);
    em_board_report("train stack", train_stack);
    status = em_save(moe, profile, sizeof profile, &bytes);
    if (status != EM_OK) fail("em_save", status);
    for (size_t k = 0; k < bytes; k++) em_board_report("byte", profile[k]);
    em_board_report("arena", (int64_t)sizeof arena);
    em_board_print("DONE\n");
    return 0;
}
