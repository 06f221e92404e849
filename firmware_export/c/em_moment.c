/* Second moments of what the local expert reads, their largest eigenvalue and their inverse. */
#include "em_train.h"

#include <string.h>

#define ROUNDS 20 /* of power iteration: edgemoe/device/eigenvalue.py */

/* Within one unit in the last place; 0 of what is not positive. */
float em_sqrt(float x) {
    uint32_t bits;
    float root;
    int round;
    if (!(x > 0.0f)) return 0.0f;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits >> 1) + 0x1fbd1df5u; /* halves the exponent: within 4 % */
    memcpy(&root, &bits, sizeof root);
    for (round = 0; round < 4; round++) root = 0.5f * (root + x / root); /* Heron: each doubles the correct digits */
    return root;
}

void em_inputs(const uint8_t *features, float *inputs, size_t stride) {
    uint16_t sums[EM_POOLED];
    size_t i;
    em_pool(features, sums);
    for (i = 0; i < EM_POOLED; i++, inputs += stride) {
        *inputs = ((float)sums[i] * (1.0f / EM_QUARTER) - em_pooled_mean[i]) * (1.0f / EM_POOLED_SCALE);
    }
    *inputs = 1.0f;
}

void em_add_moment(float *moment, const em_batch *batch) {
    size_t row, i;
    for (row = 0; row < EM_COLUMNS; row++) {
        const float *with = batch->inputs[row];
        const float a = with[0], b = with[1], c = with[2], d = with[3];
        for (i = 0; i <= row; i++, moment++) {
            const float *input = batch->inputs[i];
            float sum = em_plus_product(*moment, a, input[0]);
            sum = em_plus_product(sum, b, input[1]);
            sum = em_plus_product(sum, c, input[2]);
            *moment = em_plus_product(sum, d, input[3]);
        }
    }
}

void em_multiply_symmetric(const float *matrix, const float *vector, float *product) {
    size_t row, i;
    for (row = 0; row < EM_COLUMNS; row++) {
        float sum = 0.0f;
        for (i = 0; i < row; i++, matrix++) {
            sum += *matrix * vector[i];
            product[i] += *matrix * vector[row];
        }
        product[row] = sum + *matrix++ * vector[row];
    }
}

static float length_of(const float *vector) {
    float square = 0.0f;
    size_t i;
    for (i = 0; i < EM_COLUMNS; i++) square += vector[i] * vector[i];
    return em_sqrt(square);
}

/* Power iteration, with 5 % on top for what the rounds have not reached. */
float em_largest_eigenvalue(const float *moment, float *vector) {
    float scaled[EM_COLUMNS], value = length_of(vector);
    size_t i;
    int round;
    for (round = 0; round < ROUNDS && value > 0.0f; round++) {
        for (i = 0; i < EM_COLUMNS; i++) scaled[i] = vector[i] / value;
        em_multiply_symmetric(moment, scaled, vector);
        value = length_of(vector);
    }
    return 1.05f * value;
}

/* Sweeping each pivot in turn turns a matrix into the negative of its inverse (Goodnight, "A tutorial on the SWEEP
 * operator", The American Statistician 33, 1979); a positive definite one needs no pivoting. */
void em_invert(float *matrix) {
    float column[EM_COLUMNS];
    size_t pivot, row, i;
    for (pivot = 0; pivot < EM_COLUMNS; pivot++) {
        float *at = matrix, inverse;
        for (row = 0; row < EM_COLUMNS; row++) {
            column[row] = row < pivot ? matrix[pivot * (pivot + 1) / 2 + row] : matrix[row * (row + 1) / 2 + pivot];
        }
        inverse = 1.0f / column[pivot];
        for (row = 0; row < EM_COLUMNS; row++) {
            const float factor = column[row] * inverse;
            for (i = 0; i <= row; i++, at++) {
                if (row == pivot || i == pivot) {
                    *at = row == i ? -inverse : column[row == pivot ? i : row] * inverse;
                } else {
                    *at -= factor * column[i];
                }
            }
        }
    }
    for (i = 0; i < EM_TRIANGLE; i++) matrix[i] = -matrix[i];
}
