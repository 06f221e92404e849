/* Counts what the network alone takes. vectors.h: images, and the checksums of their codes. */
#include "em_board.h"
#include "em_internal.h"
#include "vectors.h"

static uint8_t features[EM_FEATURES], logits[EM_CLASSES];
static em_word scratch[EM_WORDS(EM_NETWORK_SCRATCH)];

int main(void) {
    uint64_t all = 0, last = 0;
    int wrong = 0;
    for (int k = 0; k < EM_VECTOR_IMAGES; k++) {
        const uint64_t begun = em_board_ticks();
        em_network(em_vector_image[k], features, logits, scratch);
        last = em_board_ticks() - begun;
        all += last;
        wrong += em_vector_codes[k] != (em_crc32(features, EM_FEATURES) ^ em_crc32(logits, EM_CLASSES));
    }
    em_board_report("all", (int64_t)all);
    em_board_report("last", (int64_t)last);
    em_board_report("wrong", wrong);
    em_board_report("stack", em_board_stack_peak());
    return 0;
}
