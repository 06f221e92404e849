/* Counts the instructions of each step of em_network, over all images: em_step_done is called behind each step
 * (firmware_export/executed.py). */
#include "em_board.h"
#include "vectors.h"

void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch);
void em_step_done(void);

static uint64_t scratch[(EM_NETWORK_SCRATCH + 7) / 8];
static uint8_t features[EM_FEATURES], logits[EM_CLASSES];
static uint64_t taken[EM_STEPS], last;
static unsigned step;

void em_step_done(void) {
    const uint64_t now = em_board_ticks();
    if (step < EM_STEPS) taken[step++] += now - last;
    last = em_board_ticks();
}

int main(void) {
    for (unsigned k = 0; k < EM_VECTOR_IMAGES; k++) {
        step = 0;
        last = em_board_ticks();
        em_network(em_vector_image[k], features, logits, scratch);
        if (step != EM_STEPS) return 1;
    }
    for (unsigned k = 0; k < EM_STEPS; k++) em_board_report("step", (int64_t)taken[k]);
    return 0;
}
