/* Squared lengths of the user's samples by the inverse covariance of generic ones: each sample's own share in its score,
 * of which there are half a million products a sample. So it is done in integers, EM_AT_ONCE samples at a time: inputs
 * are rounded to units so fine that no sum exceeds 31 bits. */
#include "em_dot.h"
#include "em_train.h"

/* A sample's inputs, filled up to eights. */
typedef int16_t inputs_of[EM_STRIDE];

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

/* sums = weights . inputs, of EM_AT_ONCE samples; weights: count of them, filled up with 0 to eights. */
static void multiply(const int16_t *weights, const inputs_of *inputs, size_t count, int32_t *sums) {
    size_t sample, i, pair;
    for (sample = 0; sample < EM_AT_ONCE; sample += 4) {
        const int16_t *here = inputs[sample], *weight = weights;
        int32_t of_a = 0, of_b = 0, of_c = 0, of_d = 0;
        for (i = 0; i < count; i += 8, here += 8, weight += 8) {
            EM_UNROLL_ALL
            for (pair = 0; pair < 8; pair += 2) {
                of_a = add_pair(TWO_WEIGHTS(weight + pair), here + pair, of_a);
                of_b = add_pair(TWO_WEIGHTS(weight + pair), here + pair + EM_STRIDE, of_b);
                of_c = add_pair(TWO_WEIGHTS(weight + pair), here + pair + 2 * EM_STRIDE, of_c);
                of_d = add_pair(TWO_WEIGHTS(weight + pair), here + pair + 3 * EM_STRIDE, of_d);
            }
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
    const float scale = 1.0f / unit;
    size_t sample, i;
    for (sample = 0; sample < EM_AT_ONCE; sample++) {
        for (i = 0; i < EM_FEATURES; i++) {
            float input = 0.0f;
            if (sample < count) input = (float)samples[sample].features[i] - em_feature_mean[i];
            input *= em_precision_roots[i] * scale;
            inputs[sample][i] = (int16_t)(input < 0.0f ? input - 0.5f : input + 0.5f);
        }
        for (; i < EM_STRIDE; i++) inputs[sample][i] = 0;
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
            EM_UNROLL
            for (i = 0; i < row; i++) weights[i] = (int16_t)em_entry(codes[i]);
            codes += row;
            for (i = row; i % 8 != 0; i++) weights[i] = 0;
            multiply(weights, (const inputs_of *)inputs, row, sums);
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
