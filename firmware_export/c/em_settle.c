/* Rounds the local expert so that its loss rises least: `settle` of edgemoe/device/local_expert.py.
 *
 * The gradient is taken at the rounded weights and applied to the exact ones, in place: the codes stay as they are
 * within a step. Of all rounded weights on the way those with the lowest loss are kept. */
#include "em_train.h"

#include <string.h>

#define STEPS 20
#define STRIDE 4.0f /* of a safe gradient step: shorter ones seldom carry a weight to its next code */

/* A step that is safe, from the loss's largest curvature. */
static float safe_step(const em_lesson *lesson, em_space *space) {
    em_batch *batch = &space->settle.batch;
    float *moment = space->settle.of.moment;
    float vector[EM_COLUMNS], heaviest_inputs[EM_COLUMNS], lengths[4], longest = -1.0f;
    size_t heaviest = 0, start, lane, i;
    memset(moment, 0, sizeof space->settle.of.moment);
    memset(vector, 0, sizeof vector);
    for (start = 0; start < lesson->count; start += 4) {
        em_take(lesson, 1, start, batch);
        em_add_moment(moment, batch);
        em_lengths(batch, lengths);
        for (lane = 0; lane < 4; lane++) {
            if (lengths[lane] > longest) {
                longest = lengths[lane];
                heaviest = start + lane;
            }
        }
        for (i = 0; i < EM_COLUMNS; i++) {
            for (lane = 0; lane < 4; lane++) vector[i] += batch->inputs[i][lane];
        }
    }
    em_inputs(em_sample_of(lesson, heaviest)->features, heaviest_inputs, 1);
    for (i = 0; i < EM_COLUMNS; i++) vector[i] = heaviest_inputs[i] + vector[i] / (float)lesson->count;
    return STRIDE / (0.5f * em_largest_eigenvalue(moment, vector) + EM_DECAY);
}

/* Scores of four samples by the rounded weights: most codes are 0. */
static void correct_rounded(const em_profile *profile, size_t rows, em_batch *batch) {
    size_t row, i;
    for (row = 0; row < rows; row++) {
        const int8_t *codes = profile->local[row];
        const float scale = em_half_to_float(profile->local_scale[profile->local_bits == 2 ? 0 : row]);
        float sum0 = 0.0f, sum1 = 0.0f, sum2 = 0.0f, sum3 = 0.0f;
        for (i = 0; i < EM_COLUMNS; i++) {
            if (codes[i] != 0) {
                const float code = (float)codes[i];
                const float *input = batch->inputs[i];
                sum0 += code * input[0];
                sum1 += code * input[1];
                sum2 += code * input[2];
                sum3 += code * input[3];
            }
        }
        batch->scores[0][row] = scale * sum0;
        batch->scores[1][row] = scale * sum1;
        batch->scores[2][row] = scale * sum2;
        batch->scores[3][row] = scale * sum3;
    }
}

/* The penalty's part of a step, of rows that were given; returns the penalty. */
static float shrink(const em_lesson *lesson, const em_profile *profile, float (*weights)[EM_COLUMNS], float step) {
    const size_t rows = EM_CLASSES + (size_t)profile->spare;
    float penalty = 0.0f;
    size_t row, i;
    for (row = 0; row < rows; row++) {
        const float scale = em_half_to_float(profile->local_scale[profile->local_bits == 2 ? 0 : row]);
        const float by = step * EM_DECAY * scale;
        int32_t squares = 0;
        if (!lesson->given[row]) continue;
        for (i = 0; i < EM_COLUMNS; i++) {
            const int code = profile->local[row][i];
            if (code != 0) {
                squares += code * code;
                weights[row][i] -= by * (float)code;
            }
        }
        penalty += scale * scale * (float)squares;
    }
    return EM_DECAY / 2 * penalty;
}

/* profile: its local_bits and spare are set; its codes are overwritten. weights: EM_ROWS4 rows, from em_fit_local. */
void em_settle(const em_lesson *lesson, em_profile *profile, float (*weights)[EM_COLUMNS], em_space *space) {
    const size_t rows = EM_CLASSES + (size_t)profile->spare, bytes = EM_ROWS4 * sizeof *weights;
    const float step = safe_step(lesson, space);
    em_batch *batch = &space->settle.batch;
    float (*here)[EM_COLUMNS] = space->settle.of.copies[0], (*best)[EM_COLUMNS] = space->settle.of.copies[1];
    float lowest = 0.0f;
    size_t start;
    int round;
    memset(batch->scores, 0, sizeof batch->scores); /* of rows that fill up the last four, too */
    for (round = 0; round < STEPS; round++) {
        float loss;
        memcpy(here, weights, bytes);
        em_round_local(weights, profile);
        loss = shrink(lesson, profile, weights, step);
        for (start = 0; start < lesson->count; start += 4) {
            em_take(lesson, 1, start, batch);
            correct_rounded(profile, rows, batch);
            loss -= em_differentiate(lesson, 1, start, rows, step, batch);
            em_move(weights, rows, 1.0f, batch);
        }
        if (round == 0 || loss < lowest) {
            float (*other)[EM_COLUMNS] = best;
            lowest = loss;
            best = here;
            here = other;
        }
    }
    memcpy(weights, best, bytes);
}
