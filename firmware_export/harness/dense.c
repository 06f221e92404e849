/* Trains one dense layer as em_train trains the local expert: samples of noise, as many as EM_SAMPLES_MOST. */
#include "em_board.h"
#include "em_train.h"

const float em_pooled_mean[EM_POOLED] = {0.0f};
static em_sample samples[EM_SAMPLES_MOST]; /* on a device, in flash */
static float weights[EM_ROWS4][EM_COLUMNS];
static em_batch batch;

/* Samples that are recognized by their labels' rows alone. */
static int learnt(const em_lesson *lesson) {
    int count = 0;
    for (size_t start = 0; start < lesson->count; start += 4) {
        em_take(lesson, 1, start, &batch);
        em_correct(weights, EM_CLASSES, &batch);
        for (size_t lane = 0; lane < 4 && start + lane < lesson->count; lane++) {
            size_t best = 0;
            for (size_t row = 1; row < EM_CLASSES; row++) {
                if (batch.scores[lane][row] > batch.scores[lane][best]) best = row;
            }
            count += best == samples[start + lane].label;
        }
    }
    return count;
}

int main(void) {
    em_lesson lesson;
    uint32_t noise = 1;
    lesson.samples = samples;
    lesson.chosen = NULL;
    lesson.count = EM_SAMPLES_MOST;
    for (size_t k = 0; k < EM_SAMPLES_MOST; k++) {
        samples[k].label = (uint8_t)(k % EM_CLASSES);
        for (size_t i = 0; i < EM_FEATURES; i++) {
            noise = noise * 1664525u + 1013904223u; /* Knuth, 3.3.4, table 1, line 16 */
            samples[k].features[i] = (uint8_t)(noise >> 24);
        }
    }
    em_give(&lesson);
    em_board_stack_mark();
    uint64_t taken = em_board_ticks();
    em_fit_local(&lesson, EM_CLASSES, weights, &batch);
    taken = em_board_ticks() - taken;
    const uint32_t stack = em_board_stack_peak();
    em_board_report("all", (int64_t)taken);
    em_board_report("stack", stack);
    em_board_report("weights", sizeof weights);
    em_board_report("batch", sizeof batch);
    em_board_report("learnt", learnt(&lesson));
    return 0;
}
