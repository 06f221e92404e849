/* The acceptance test: edgemoe/device/acceptance.py. */
#include "em_train.h"

#include <string.h>

#define ROOT_TAU 2.5066283f /* sqrt(2 pi) */
#define BIG 1.8446744e19f   /* 2**64 */

/* A retained sample as the network saw it. features: EM_FEATURES; logits: EM_CLASSES. */
void em_retained(size_t index, uint8_t *features, uint8_t *logits, uint8_t *label) {
    const uint8_t *two = em_retained_features + index * ((EM_FEATURES + 1) / 2);
    size_t i;
    EM_UNROLL
    for (i = 0; i + 1 < EM_FEATURES; i += 2, two++) {
        features[i] = (uint8_t)((*two & 15u) * EM_RETAINED_STEP);
        features[i + 1] = (uint8_t)((*two >> 4) * EM_RETAINED_STEP);
    }
    if (EM_FEATURES % 2 == 1) features[EM_FEATURES - 1] = (uint8_t)((*two & 15u) * EM_RETAINED_STEP);
    memcpy(logits, em_retained_logits + index * EM_CLASSES, EM_CLASSES);
    *label = em_retained_labels[index];
}

int em_turn(const em_views *views, size_t rows, float log_odds, size_t of_global, size_t label) {
    const float gate = em_weigh(log_odds);
    float confidence;
    size_t mixed;
    if (gate <= 0.0f) return 0;
    mixed = em_mix(views, rows, gate, &confidence);
    return (mixed == label) - (of_global == label);
}

/* Uses moe's features and logits as working memory. */
void em_try(em *moe, em_turned *turned) {
    const size_t rows = EM_CLASSES + (size_t)moe->profile.spare;
    size_t index;
    memset(turned, 0, sizeof *turned);
    for (index = EM_RETAINED_TRAINING; index < EM_RETAINED; index++) {
        uint8_t label;
        float log_odds;
        em_views views;
        size_t of_global;
        int threshold;
        em_retained(index, moe->features, moe->logits, &label);
        log_odds = em_log_odds(moe, moe->features);
        if (em_weigh(log_odds) <= 0.0f) continue;
        of_global = em_view_global(moe->logits, &views);
        if (em_view_local(moe, moe->features, &views) == of_global) continue;
        for (threshold = 0; threshold < EM_THRESHOLDS; threshold++) {
            const int turn = em_turn(&views, rows, log_odds - 0.25f * (float)threshold, of_global, label);
            if (turn < 0) turned->wrong[threshold]++;
            if (turn > 0) turned->right[threshold]++;
        }
    }
}

/* The normal distribution's share below z (Abramowitz and Stegun 26.2.11 and, further out, 26.2.14). */
static float below(float z) {
    const float size = z < 0.0f ? -z : z;
    const float density = em_exp(-0.5f * size * size) / ROOT_TAU;
    float tail;
    int k;
    if (size < 3.0f) {
        float term = size, sum = size;
        for (k = 3; k < 60; k += 2) {
            term *= size * size / (float)k;
            sum += term;
        }
        tail = 0.5f - density * sum;
    } else {
        float fraction = size;
        for (k = 30; k > 0; k--) fraction = size + (float)k / fraction;
        tail = density / fraction;
    }
    return z < 0.0f ? tail : 1.0f - tail;
}

/* The confidence that accuracy falls by less than budget, of n paired answers some of which turned: Tango's score test. */
float em_confidence_within(size_t wrong, size_t right, size_t n, float budget) {
    const float w = (float)wrong, r = (float)right, all = (float)n;
    const float slope = (2.0f * all - w + r) * budget - w - r;
    const float root = em_sqrt(slope * slope + 8.0f * all * r * budget * (1.0f - budget));
    /* the share of answers that turn right, if budget more turn wrong; either form loses no digits in its case */
    const float share = slope > 0.0f ? 2.0f * r * budget * (1.0f - budget) / (root + slope) : (root - slope) / (4.0f * all);
    const float variance = all * (2.0f * share + budget * (1.0f - budget));
    const float excess = all * budget - (w - r);
    if (variance <= 0.0f) return excess <= 0.0f ? 0.5f : 1.0f;
    return below(excess / em_sqrt(variance));
}

/* The confidence that right answers are the likelier of those that turn: the binomial distribution's share below right.
 * Terms are kept in range by powers of two. */
float em_sign_test(size_t wrong, size_t right) {
    const size_t turned = wrong + right;
    float term = 1.0f, sum = 0.0f;
    size_t halvings = turned, k;
    for (k = 0; k < right; k++) {
        sum += term;
        term *= (float)(turned - k) / (float)(k + 1);
        if (term > BIG) {
            term /= BIG;
            sum /= BIG;
            halvings -= 64;
        }
    }
    for (; halvings >= 64; halvings -= 64) sum /= BIG;
    for (; halvings > 0; halvings--) sum *= 0.5f;
    return sum;
}

/* How many more samples it would take to see a gain, if the next ones are as those of now: acceptance.py. */
unsigned em_samples_wanted(size_t wrong, size_t right, size_t n) {
    const uint32_t gained = (uint32_t)((right + 1) * n), lost = (uint32_t)(wrong * (n + 2));
    uint32_t more;
    if (gained <= lost) return 0;
    more = ((uint32_t)(2 * n * (n + 2)) + gained - lost - 1) / (gained - lost);
    return more > n + 1 ? more - (uint32_t)n : 1;
}
