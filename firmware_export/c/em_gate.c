/* Trains the gate: edgemoe/device/gate.py. Fisher's linear discriminant, with the inverse covariance of generic samples
 * that ships with the expert, then a logistic regression on the scores along it. Features are in the network's steps. */
#include "em_train.h"

#include <string.h>

#define ROUNDS 25  /* of Newton's method at most */
#define DOUBT 0.1f /* samples' worth of evidence against a steep gate */
#define FINE 0.01f /* steps that are too short to go wrong: only rounding could make the loss seem to rise */

/* vector = inverse covariance * vector. scaled: working memory; both EM_FEATURES. */
static void multiply_by_inverse(float *vector, float *scaled) {
    const int8_t *codes = em_precision;
    size_t row, i;
    for (i = 0; i < EM_FEATURES; i++) {
        scaled[i] = vector[i] * em_precision_roots[i];
        vector[i] = 0.0f;
    }
    for (row = 0; row < EM_FEATURES; row++) {
        const float input = scaled[row];
        float sum = 0.0f;
        EM_UNROLL
        for (i = 0; i < row; i++) {
            const float entry = (float)em_entry(codes[i]);
            sum = em_plus_product(sum, entry, scaled[i]);
            vector[i] = em_plus_product(vector[i], entry, input);
        }
        codes += row;
        vector[row] += sum;
    }
    for (i = 0; i < EM_FEATURES; i++) vector[i] = em_precision_roots[i] * (scaled[i] + EM_PRECISION_STEP * vector[i]);
}

float em_gate_score(const float *weights, const uint8_t *features) {
    float sum = 0.0f;
    size_t i;
    EM_UNROLL
    for (i = 0; i < EM_FEATURES; i++) sum = em_plus_product(sum, weights[i], (float)features[i]);
    return sum;
}

/* The mean of a lesson's samples, less that of generic ones. */
static void mean_of(const em_lesson *lesson, float *mean) {
    const float share = 1.0f / (float)lesson->count;
    size_t sample, i;
    memset(mean, 0, EM_FEATURES * sizeof *mean);
    for (sample = 0; sample < lesson->count; sample++) {
        const uint8_t *features = em_sample_of(lesson, sample)->features;
        EM_UNROLL
        for (i = 0; i < EM_FEATURES; i++) mean[i] += (float)features[i]; /* whole numbers: exact */
    }
    for (i = 0; i < EM_FEATURES; i++) mean[i] = mean[i] * share - em_feature_mean[i];
}

/* Log-odds of a score: slope * (score - middle) / spread + shift. */
typedef struct {
    const float *scores; /* [users], then [all - users] of generic samples; standardized */
    size_t users, all;
    float slope, shift;
} line;

/* log(1 + e**odds) - truth * odds */
static float loss_of(float odds, int user) {
    const float against = user ? -odds : odds; /* log(1 + e**against) */
    return against > 0.0f ? against + em_log(1.0f + em_exp(-against)) : em_log(1.0f + em_exp(against));
}

static float loss_at(const line *at, float slope, float shift) {
    float of_user = 0.0f, of_generic = 0.0f;
    size_t i;
    for (i = 0; i < at->all; i++) {
        const float loss = loss_of(slope * at->scores[i] + shift, i < at->users);
        if (i < at->users) of_user += loss;
        else of_generic += loss;
    }
    return of_user + of_generic * (float)at->users / (float)(at->all - at->users) + DOUBT / 2 * slope * slope;
}

/* The gradient and the Hessian of the loss, by Newton's method made a step: of the slope and of the shift. */
static void newton_step(const line *at, float step[2]) {
    float sums[2][5]; /* generic samples' and the user's: error times score, error; bend times score squared, score, 1 */
    float total[5], whole;
    const float weight = (float)at->users / (float)(at->all - at->users);
    size_t i;
    memset(sums, 0, sizeof sums);
    for (i = 0; i < at->all; i++) {
        const int user = i < at->users;
        const float score = at->scores[i];
        const float chance = 1.0f / (1.0f + em_exp(-(at->slope * score + at->shift)));
        const float error = user ? chance - 1.0f : chance, bend = chance * (1.0f - chance) + 1e-9f;
        sums[user][0] += error * score;
        sums[user][1] += error;
        sums[user][2] += bend * score * score;
        sums[user][3] += bend * score;
        sums[user][4] += bend;
    }
    for (i = 0; i < 5; i++) total[i] = sums[1][i] + weight * sums[0][i];
    total[0] += DOUBT * at->slope;
    total[2] += DOUBT;
    whole = total[2] * total[4] - total[3] * total[3];
    step[0] = (total[4] * total[0] - total[3] * total[1]) / whole;
    step[1] = (total[2] * total[1] - total[3] * total[0]) / whole;
}

static float larger_size(const float step[2]) {
    const float a = step[0] < 0.0f ? -step[0] : step[0], b = step[1] < 0.0f ? -step[1] : step[1];
    return a > b ? a : b;
}

/* Newton's method, with steps halved until none raises the loss. */
static void calibrate(line *at) {
    float lowest = loss_at(at, at->slope, at->shift);
    int round;
    for (round = 0; round < ROUNDS; round++) {
        float step[2], found;
        newton_step(at, step);
        found = loss_at(at, at->slope - step[0], at->shift - step[1]);
        while (found > lowest && larger_size(step) > FINE) {
            step[0] *= 0.5f;
            step[1] *= 0.5f;
            found = loss_at(at, at->slope - step[0], at->shift - step[1]);
        }
        at->slope -= step[0];
        at->shift -= step[1];
        lowest = found;
        if (larger_size(step) < 1e-4f) break; /* the next one would be that squared */
    }
}

/* To space->fold.gate and .bias; needs em_measure's lengths. */
void em_fit_gate(const em_lesson *lesson, em_space *space) {
    float *weights = space->fold.gate, *scores = space->fold.of.scores.of;
    const size_t users = lesson->count, all = users + EM_RETAINED_TRAINING;
    uint8_t features[EM_FEATURES], logits[EM_CLASSES], label;
    float centre = 0.0f, middle = 0.0f, spread = 0.0f;
    line fit;
    size_t i;
    mean_of(lesson, weights);
    multiply_by_inverse(weights, space->fold.scaled);
    for (i = 0; i < EM_FEATURES; i++) centre += weights[i] * em_feature_mean[i];
    for (i = 0; i < users; i++) {
        const em_sample *sample = em_sample_of(lesson, i);
        const float score = em_gate_score(weights, sample->features) - centre, count = (float)users;
        const float length = space->fold.lengths[sample - lesson->samples];
        /* by a direction found without it; a single sample: halfway between nothing in common and itself */
        scores[i] = users > 1 ? (count * score - length) / (count - 1.0f) : 0.5f * score;
    }
    for (i = 0; i < EM_RETAINED_TRAINING; i++) {
        em_retained(i, features, logits, &label);
        scores[users + i] = em_gate_score(weights, features) - centre;
    }
    for (i = 0; i < all; i++) middle += scores[i];
    middle /= (float)all;
    for (i = 0; i < all; i++) spread += (scores[i] - middle) * (scores[i] - middle);
    spread = em_sqrt(spread / (float)all);
    if (!(spread > 0.0f)) spread = 1.0f;
    for (i = 0; i < all; i++) scores[i] = (scores[i] - middle) / spread;
    fit.scores = scores;
    fit.users = users;
    fit.all = all;
    fit.slope = fit.shift = 0.0f;
    calibrate(&fit);
    if (fit.slope < 0.0f) fit.slope = fit.shift = 0.0f; /* few samples say nothing: it would open for the least alike */
    fit.slope /= spread;
    space->fold.bias = fit.shift - fit.slope * middle;
    space->fold.offset = space->fold.bias - fit.slope * centre;
    for (i = 0; i < EM_FEATURES; i++) weights[i] *= fit.slope; /* per step of the network */
}
