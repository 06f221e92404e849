/* Counts the instructions of each step of em_network: em_step_done is called behind each (firmware_export/executed.py). */
#include "em_board.h"
#include "vectors.h"

void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch);
void em_step_done(void);

static uint64_t scratch[(EM_NETWORK_SCRATCH + 7) / 8];
static uint8_t features[EM_FEATURES], logits[EM_CLASSES];
static uint64_t ended[EM_STEPS];
static unsigned steps;

void em_step_done(void) { ended[steps++] = em_board_ticks(); }

int main(void) {
    const uint64_t begun = em_board_ticks();
    em_network(em_vector_image, features, logits, scratch);
    for (unsigned k = 0; k < EM_STEPS; k++) em_board_report("step", (int64_t)(ended[k] - (k > 0 ? ended[k - 1] : begun)));
    return steps == EM_STEPS ? 0 : 1;
}
