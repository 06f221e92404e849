/* Rounds the local expert so that its loss rises least: `settle` of edgemoe/device/local_expert.py.
 *
 * The gradient is taken at the rounded weights and applied to the exact ones, in place: the codes stay as they are
 * within a step. Of all rounded weights on the way those with the lowest loss are kept. */
#include "em_train.h"

#include <string.h>

#define STEPS 16
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

/* List the codes of 1 and of -1: for each row how many there are of the first and where their inputs begin, then of the
 * second.
 * list: as long as em_sparsify keeps a fifth of all codes, and one more a row. */
static void list_codes(const em_profile *profile, size_t rows, uint16_t *list) {
    size_t row;
    uint16_t i;
    int sign;
    for (row = 0; row < rows; row++) {
        const int8_t *codes = profile->local[row];
        for (sign = 1; sign >= -1; sign -= 2) {
            uint16_t *count = list++;
            for (i = 0; i < EM_COLUMNS; i++) {
                if (codes[i] == sign) *list++ = (uint16_t)(4 * i);
            }
            *count = (uint16_t)(list - count - 1);
        }
    }
}

/* Four samples' inputs that a list begins with, added up. Returns where the list goes on. */
static const uint16_t *add_up(const uint16_t *list, const em_batch *batch, float sums[4]) {
    const uint16_t *end = list + 1 + *list;
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (list++; list < end; list++) {
        const float *inputs = batch->inputs[0] + *list;
        a += inputs[0];
        b += inputs[1];
        c += inputs[2];
        d += inputs[3];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
    return end;
}

/* Scores of four samples by the weights in 2 bits, of which most are 0. */
static void correct_listed(const em_profile *profile, const uint16_t *list, size_t rows, em_batch *batch) {
    const float scale = em_half_to_float(profile->local_scale[0]);
    size_t row, lane;
    for (row = 0; row < rows; row++) {
        float plus[4], minus[4];
        list = add_up(list, batch, plus);
        list = add_up(list, batch, minus);
        for (lane = 0; lane < 4; lane++) batch->scores[lane][row] = scale * (plus[lane] - minus[lane]);
    }
}

/* The same by the weights in more bits. */
static void correct_dense(const em_profile *profile, size_t rows, em_batch *batch) {
    size_t row, i;
    for (row = 0; row < rows; row++) {
        const float scale = em_half_to_float(profile->local_scale[row]);
        float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
        for (i = 0; i < EM_COLUMNS; i++) {
            const float code = (float)profile->local[row][i];
            const float *inputs = batch->inputs[i];
            a = em_plus_product(a, code, inputs[0]);
            b = em_plus_product(b, code, inputs[1]);
            c = em_plus_product(c, code, inputs[2]);
            d = em_plus_product(d, code, inputs[3]);
        }
        batch->scores[0][row] = scale * a;
        batch->scores[1][row] = scale * b;
        batch->scores[2][row] = scale * c;
        batch->scores[3][row] = scale * d;
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
    uint16_t *list = space->settle.list;
    float lowest = 0.0f;
    size_t start;
    int round;
    memset(batch->scores, 0, sizeof batch->scores); /* of rows that fill up the last four, too */
    for (round = 0; round < STEPS; round++) {
        float loss;
        memcpy(here, weights, bytes);
        em_round_local(weights, profile);
        if (profile->local_bits == 2) list_codes(profile, rows, list);
        loss = shrink(lesson, profile, weights, step);
        for (start = 0; start < lesson->count; start += 4) {
            em_take(lesson, 1, start, batch);
            if (profile->local_bits == 2) {
                correct_listed(profile, list, rows, batch);
            } else {
                correct_dense(profile, rows, batch);
            }
            loss -= em_differentiate(lesson, 1, start, rows, step, batch);
            em_move(weights, rows, NULL, batch);
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
