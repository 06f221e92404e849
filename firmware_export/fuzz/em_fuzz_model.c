/* An expert made up for the fuzzers, and what they share. The network turns an image's first bytes into its codes. */
#include "em_fuzz.h"

#include <stdlib.h>
#include <string.h>

const uint8_t em_fingerprint[16] = {102, 117, 122, 122, 101, 100, 32, 97, 108, 108, 32, 100, 97, 121, 33, 10};
const uint32_t em_codepoints[EM_CLASSES] = {'a', 'b', '0'};
const float em_feature_mean[EM_FEATURES] = {
    8.0f, 16.0f, 24.0f, 32.0f, 40.0f, 48.0f, 56.0f, 64.0f, 72.0f, 80.0f, 88.0f, 96.0f, 104.0f, 112.0f, 120.0f,
    8.5f, 16.5f, 24.5f, 32.5f, 40.5f, 48.5f, 56.5f, 64.5f, 72.5f, 80.5f, 88.5f, 96.5f, 104.5f, 112.5f, 120.5f,
};
const float em_pooled_mean[EM_POOLED] = {10.0f, 20.0f, 30.0f, 40.0f, 50.0f, 60.0f, 70.0f, 80.0f};

void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch) {
    memset(scratch, 0xa5, EM_NETWORK_SCRATCH);
    memcpy(features, image, EM_FEATURES);
    memcpy(logits, image + EM_FEATURES, EM_CLASSES);
}

uint8_t *em_fuzz_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = (uint8_t *)malloc(size + (size == 0));
    if (copy == NULL) abort();
    memcpy(copy, data, size);
    return copy;
}

static void check_answers(em *moe) {
    uint8_t image[EM_PIXELS];
    em_answer answer;
    size_t i, j;
    for (i = 0; i < 8; i++) {
        for (j = 0; j < EM_PIXELS; j++) image[j] = (uint8_t)(i == 0 ? 0 : i == 1 ? 255 : (j + 1) * i * 37);
        if ((i % 2 ? em_predict : em_session_predict)(moe, image, &answer) != EM_OK) abort();
        if (!(answer.gate >= 0.0f && answer.gate <= 1.0f)) abort();
        if (!(answer.confidence > 0.0f && answer.confidence <= 1.0f)) abort();
        if (em_character(moe, answer.label) == 0 || em_character(moe, answer.local_label) == 0) abort();
    }
}

void em_fuzz_use(em *moe) {
    uint8_t first[EM_PROFILE_MOST], second[EM_PROFILE_MOST];
    size_t first_bytes, second_bytes;
    check_answers(moe);
    if (em_save(moe, first, sizeof first, &first_bytes) != EM_OK) abort();
    if (em_load(moe, first, first_bytes) != EM_OK) abort();
    if (em_save(moe, second, sizeof second, &second_bytes) != EM_OK) abort();
    if (first_bytes != second_bytes || memcmp(first, second, first_bytes) != 0) abort();
}
