/* Rounds weights to a few bits: edgemoe/device/quantized.py. */
#include "em_train.h"

#include <string.h>

#define SCALES 16              /* that are tried, from a third of the largest weight's to all of it */
#define TO_WHOLE 12582912.0f   /* 1.5 * 2**23: what is added to it is rounded to a whole number, of two the even one */

static float size_of(float x) { return x < 0.0f ? -x : x; }

static float rounded(float weight, float step, float top) {
    const float code = weight / step;
    return code > top ? top : code < -top ? -top : (code + TO_WHOLE) - TO_WHOLE;
}

/* One row. weights, codes: count of them; bits: 3 to 8; scale: a float16. */
void em_quantize(const float *weights, size_t count, int bits, int8_t *codes, uint16_t *scale) {
    const float top = (float)((1 << (bits - 1)) - 1);
    float largest = 0.0f, step, least = 0.0f;
    size_t i;
    int share;
    for (i = 0; i < count; i++) {
        if (size_of(weights[i]) > largest) largest = size_of(weights[i]);
    }
    *scale = 0;
    for (share = 0; share < SCALES; share++) {
        const uint16_t half = em_float_to_half(largest * ((float)(15 + 2 * share) / 45.0f) / top);
        float error = 0.0f;
        step = em_half_to_float(half);
        if (half == 0) continue;
        for (i = 0; i < count; i++) {
            const float off = rounded(weights[i], step, top) * step - weights[i];
            error += off * off;
        }
        if (*scale == 0 || error < least) {
            *scale = half;
            least = error;
        }
    }
    step = em_half_to_float(*scale);
    for (i = 0; i < count; i++) codes[i] = *scale == 0 ? 0 : (int8_t)rounded(weights[i], step, top);
}

/* A number that is not negative, as an integer of the same order. */
static uint32_t rank(float size) {
    uint32_t bits;
    memcpy(&bits, &size, sizeof bits);
    return bits;
}

/* The rank of the count-th largest of rows * EM_COLUMNS sizes: eight bits of it at a time, the highest first. */
static uint32_t rank_of_kept(float (*weights)[EM_COLUMNS], size_t rows, size_t count) {
    uint16_t found[256]; /* how many have each value of the next eight bits, and of those before what was found */
    uint32_t prefix = 0;
    int shift;
    for (shift = 24; shift >= 0; shift -= 8) {
        size_t row, i;
        int next = 255;
        memset(found, 0, sizeof found);
        for (row = 0; row < rows; row++) {
            for (i = 0; i < EM_COLUMNS; i++) {
                const uint32_t bits = rank(weights[row][i]) & 0x7fffffffu;
                if (shift == 24 || bits >> (shift + 8) == prefix) found[bits >> shift & 255u]++;
            }
        }
        while (count > found[next]) count -= found[next--];
        prefix = prefix << 8 | (uint32_t)next;
    }
    return prefix;
}

/* To -1, 0 or 1 times one scale: the largest fifth of the weights, and each row's largest, are not 0. The scale is the mean
 * of their sizes. weights, codes: rows of them, rows * EM_COLUMNS below 65,536. */
void em_sparsify(float (*weights)[EM_COLUMNS], size_t rows, int8_t (*codes)[EM_COLUMNS], uint16_t *scale) {
    const size_t fifth = (2 * rows * EM_COLUMNS + 5) / 10;
    const uint32_t least = rank_of_kept(weights, rows, fifth > 0 ? fifth : 1);
    float sum = 0.0f;
    size_t kept = 0, row, i;
    for (row = 0; row < rows; row++) {
        float sum_of_row = 0.0f;
        uint32_t enough = 0;
        for (i = 0; i < EM_COLUMNS; i++) {
            const uint32_t bits = rank(weights[row][i]) & 0x7fffffffu;
            if (bits > enough) enough = bits;
        }
        if (enough > least) enough = least;
        for (i = 0; i < EM_COLUMNS; i++) {
            const float weight = weights[row][i];
            codes[row][i] = 0;
            if ((rank(weight) & 0x7fffffffu) >= enough && weight != 0.0f) {
                codes[row][i] = weight > 0.0f ? 1 : -1;
                sum_of_row += size_of(weight);
                kept++;
            }
        }
        sum += sum_of_row;
    }
    *scale = kept > 0 ? em_float_to_half(sum / (float)kept) : 0;
    if (*scale == 0) memset(codes, 0, rows * EM_COLUMNS);
}

void em_round_local(float (*weights)[EM_COLUMNS], em_profile *profile) {
    const size_t rows = EM_CLASSES + (size_t)profile->spare;
    size_t row;
    if (profile->local_bits == 2) {
        em_sparsify(weights, rows, profile->local, profile->local_scale);
    } else {
        for (row = 0; row < rows; row++) {
            em_quantize(weights[row], EM_COLUMNS, profile->local_bits, profile->local[row], &profile->local_scale[row]);
        }
    }
}
