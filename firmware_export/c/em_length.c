/* Squared lengths of the user's samples by the inverse covariance of generic ones: each sample's own share in its score,
 * of which there are half a million products a sample. So it is done in integers, EM_AT_ONCE samples at a time: inputs
 * are rounded to units so fine that no sum exceeds 31 bits. */
#include "em_dot.h"
#include "em_train.h"

/* Samples' inputs: one more than there are features, for an even number of an odd one. */
typedef int16_t inputs_of[EM_FEATURES + 1];

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)

static inline int32_t add_pair(uint32_t weights, const int16_t *inputs, int32_t sum) {
    return __smlad((int16x2_t)weights, (int16x2_t)em_four(inputs), sum);
}
#define TWO_WEIGHTS(at) em_four(at)

#else

static inline int32_t add_pair(const int16_t *weights, const int16_t *inputs, int32_t sum) {
    return sum + weights[0] * inputs[0] + weights[1] * inputs[1];
}
#define TWO_WEIGHTS(at) (at)

#endif

/* sums = weights . inputs, of EM_AT_ONCE samples; weights: count of them, even. */
static void multiply(const int16_t *weights, const inputs_of *inputs, size_t count, int32_t *sums) {
    size_t sample, i;
    for (sample = 0; sample < EM_AT_ONCE; sample += 4) {
        const int16_t *a = inputs[sample], *b = inputs[sample + 1], *c = inputs[sample + 2], *d = inputs[sample + 3];
        int32_t of_a = 0, of_b = 0, of_c = 0, of_d = 0;
        EM_UNROLL
        for (i = 0; i < count; i += 2) {
            of_a = add_pair(TWO_WEIGHTS(weights + i), a + i, of_a);
            of_b = add_pair(TWO_WEIGHTS(weights + i), b + i, of_b);
            of_c = add_pair(TWO_WEIGHTS(weights + i), c + i, of_c);
            of_d = add_pair(TWO_WEIGHTS(weights + i), d + i, of_d);
        }
        sums[sample] = of_a;
        sums[sample + 1] = of_b;
        sums[sample + 2] = of_c;
        sums[sample + 3] = of_d;
    }
}

/* The unit of inputs: the finest at which they and the sums of their products keep to their bits. */
static float unit_of(void) {
    const int8_t *codes = em_precision;
    float longest = 0.0f, size;
    int32_t most = 65536; /* of a row's entries together; inputs have 15 bits, too */
    size_t row, i;
    for (row = 0; row < EM_FEATURES; row++) {
        int32_t sum = 0;
        const float mean = em_feature_mean[row] > 127.5f ? em_feature_mean[row] : 255.0f - em_feature_mean[row];
        size = mean * em_precision_roots[row];
        if (size > longest) longest = size;
        for (i = 0; i < row; i++, codes++) sum += *codes * *codes;
        if (sum > most) most = sum;
    }
    return longest * (float)most * (1.0f / 2147000000.0f);
}

/* Inputs of up to EM_AT_ONCE samples, 0 of those that are not there. */
static void round_inputs(const em_sample *samples, size_t count, float unit, inputs_of *inputs) {
    size_t sample, i;
    for (sample = 0; sample < EM_AT_ONCE; sample++) {
        for (i = 0; i < EM_FEATURES; i++) {
            float input = 0.0f;
            if (sample < count) input = (float)samples[sample].features[i] - em_feature_mean[i];
            input *= em_precision_roots[i] / unit;
            inputs[sample][i] = (int16_t)(input < 0.0f ? input - 0.5f : input + 0.5f);
        }
        inputs[sample][EM_FEATURES] = 0;
    }
}

/* samples: count, up to EM_SAMPLES_MOST. To space->fold.lengths. */
void em_measure(const em_sample *samples, size_t count, em_space *space) {
    inputs_of *inputs = space->fold.of.measure.inputs;
    int16_t *weights = space->fold.of.measure.row;
    const float unit = unit_of();
    size_t start, sample, row, i;
    for (start = 0; start < count; start += EM_AT_ONCE) {
        const int8_t *codes = em_precision;
        const size_t left = count - start, taken = left < EM_AT_ONCE ? left : EM_AT_ONCE;
        float squares[EM_AT_ONCE] = {0}, products[EM_AT_ONCE] = {0};
        round_inputs(samples + start, taken, unit, inputs);
        for (row = 0; row < EM_FEATURES; row++) {
            int32_t sums[EM_AT_ONCE];
            for (i = 0; i < row; i++) weights[i] = (int16_t)em_entry(*codes++);
            weights[row] = 0;
            multiply(weights, (const inputs_of *)inputs, row + row % 2, sums);
            for (sample = 0; sample < taken; sample++) {
                const float input = (float)inputs[sample][row];
                squares[sample] += input * input;
                products[sample] += input * (float)sums[sample];
            }
        }
        for (sample = 0; sample < taken; sample++) {
            const float length = squares[sample] + 2.0f * EM_PRECISION_STEP * products[sample];
            space->fold.lengths[start + sample] = unit * unit * length;
        }
    }
}
