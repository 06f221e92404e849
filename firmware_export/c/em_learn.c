/* Learns from one correction where the samples learnt before are not at hand: edgemoe/device/learning.py. */
#include "em_train.h"

#include <string.h>

#define CURVATURE 0.25f /* of the cross-entropy, per sample */
#define CLEAR 0.7f      /* probability of the right class at which no further step is needed */
#define NUDGES 10       /* such steps, at most */
#define OPENING 0.5f    /* how far the gate opens towards a correction */

/* The exact weights of a profile that was loaded: what its codes say. */
static void restore(const em_profile *profile, em_parts *parts) {
    const float gate_scale = em_half_to_float(profile->gate_scale);
    size_t row, i;
    memset(parts, 0, sizeof *parts);
    for (row = 0; row < EM_CLASSES + (size_t)profile->spare; row++) {
        const float scale = em_half_to_float(profile->local_scale[profile->local_bits == 2 ? 0 : row]);
        for (i = 0; i < EM_COLUMNS; i++) parts->local[row][i] = scale * (float)profile->local[row][i];
    }
    for (i = 0; i < EM_FEATURES; i++) parts->gate[i] = gate_scale * (float)profile->gate[i];
    parts->bias = profile->gate_bias;
}

/* The inverse of the local expert's curvature: other people's inputs stand for the user's, which are not at hand. */
static void make_inverse(em *moe, em_space *space) {
    const float each = (float)moe->profile.samples / (float)(EM_RETAINED - EM_RETAINED_TRAINING);
    float *inverse = space->learn.inverse;
    em_batch *batch = &space->learn.of.batch;
    uint8_t label;
    size_t start, lane, i;
    memset(inverse, 0, sizeof space->learn.inverse);
    for (start = EM_RETAINED_TRAINING; start < EM_RETAINED; start += 4) {
        memset(batch->inputs, 0, sizeof batch->inputs);
        for (lane = 0; lane < 4 && start + lane < EM_RETAINED; lane++) {
            em_retained(start + lane, moe->features, moe->logits, &label);
            em_inputs(moe->features, &batch->inputs[0][lane], 4);
        }
        em_add_moment(inverse, batch);
    }
    for (i = 0; i < EM_TRIANGLE; i++) inverse[i] *= CURVATURE * each;
    for (i = 0; i < EM_COLUMNS; i++) inverse[i * (i + 1) / 2 + i] += EM_DECAY;
    em_invert(inverse);
}

/* The inverse after one more sample (Sherman and Morrison). reach: inverse * inputs, then the new inverse's. */
static void absorb(float *inverse, const float *inputs, float *reach) {
    float along = 0.0f, shrink;
    size_t row, i;
    em_multiply_symmetric(inverse, inputs, reach);
    for (i = 0; i < EM_COLUMNS; i++) along += inputs[i] * reach[i];
    shrink = CURVATURE / (1.0f + CURVATURE * along);
    for (row = 0; row < EM_COLUMNS; row++) {
        for (i = 0; i <= row; i++) *inverse++ -= shrink * (reach[row] * reach[i]);
    }
    em_multiply_symmetric(inverse - EM_TRIANGLE, inputs, reach);
}

/* Move the local expert until it reads the image as labelled; the profile's codes and scales go with it. */
static void nudge(em *moe, em_parts *parts, const float *inputs, const float *reach, size_t label) {
    em_profile *profile = &moe->profile;
    const size_t rows = EM_CLASSES + (size_t)profile->spare;
    int32_t base[EM_ROWS], values[EM_ROWS];
    em_views views;
    size_t row, i;
    int round;
    em_view_global(moe->logits, &views);
    memcpy(base, views.of_local, EM_CLASSES * sizeof *base);
    for (row = EM_CLASSES; row < rows; row++) {
        int taught = row == label;
        for (i = 0; i < EM_COLUMNS; i++) taught |= profile->local[row][i] != 0;
        base[row] = taught ? em_depth_of_all(views.global_sum) + EM_RARE : EM_FAR_BELOW;
    }
    for (round = 0; round < NUDGES; round++) {
        uint32_t sum;
        for (row = 0; row < rows; row++) {
            const float scale = em_half_to_float(profile->local_scale[profile->local_bits == 2 ? 0 : row]);
            float correction = 0.0f;
            for (i = 0; i < EM_COLUMNS; i++) correction += (float)profile->local[row][i] * inputs[i];
            values[row] = base[row] + em_depth(scale * correction);
        }
        sum = em_powers(values, rows, &i);
        if ((float)values[label] / (float)sum >= CLEAR) return;
        for (row = 0; row < rows; row++) {
            const float residual = (float)values[row] / (float)sum - (row == label ? 1.0f : 0.0f);
            for (i = 0; i < EM_COLUMNS; i++) parts->local[row][i] -= residual * reach[i];
        }
        em_round_local(parts->local, profile);
    }
}

/* Open the gate towards the image that moe has seen. */
static void open_gate(em *moe, em_parts *parts) {
    em_profile *profile = &moe->profile;
    float odds = parts->bias, length = 1.0f, opening;
    size_t i;
    for (i = 0; i < EM_FEATURES; i++) {
        const float input = ((float)moe->features[i] - em_feature_mean[i]) * (1.0f / EM_FEATURE_SCALE);
        odds += input * parts->gate[i];
        length += input * input;
    }
    opening = OPENING / (1.0f + em_exp(odds)) / length;
    for (i = 0; i < EM_FEATURES; i++) {
        parts->gate[i] += opening * (((float)moe->features[i] - em_feature_mean[i]) * (1.0f / EM_FEATURE_SCALE));
    }
    parts->bias += opening;
    profile->gate_bias = parts->bias;
    em_quantize(parts->gate, EM_FEATURES, profile->gate_bits, profile->gate, &profile->gate_scale);
}

/* Raise the threshold until the generic loss is again within the budget, or lower it by one step. */
static void guard(em *moe) {
    em_profile *profile = &moe->profile;
    const size_t n = EM_RETAINED - EM_RETAINED_TRAINING;
    em_turned turned;
    int threshold = 0;
    if (!(profile->flags & EM_ACCEPTED)) return;
    while (threshold < EM_THRESHOLDS && 0.25f * (float)threshold < profile->threshold - 1e-6f) threshold++;
    em_try(moe, &turned);
    for (threshold = threshold > 0 ? threshold - 1 : 0; threshold < EM_THRESHOLDS; threshold++) {
        const size_t wrong = turned.wrong[threshold], right = turned.right[threshold];
        const float shown = em_confidence_within(wrong, right, n, profile->budget);
        if (shown >= EM_CONFIDENCE - 1e-7f) {
            profile->threshold = 0.25f * (float)threshold;
            profile->generic_loss = ((float)wrong - (float)right) / (float)n;
            profile->confidence = shown;
            return;
        }
    }
    profile->flags &= (uint8_t)~EM_ACCEPTED;
    profile->threshold = 0.25f * (EM_THRESHOLDS - 1);
    profile->generic_loss = profile->confidence = 0.0f;
}

em_status em_learn(em *moe, const uint8_t *image, uint16_t label) {
    em_workshop *workshop;
    float inputs[EM_COLUMNS], reach[EM_COLUMNS];
    if (moe == NULL || image == NULL) return EM_NULL;
    if (moe->bytes < EM_ARENA_TRAIN) return EM_ARENA;
    if (moe->profile.local_bits == 0) return EM_NO_PROFILE;
    if (label >= EM_CLASSES + (size_t)moe->profile.spare) return EM_LABEL;
    workshop = em_workshop_of(moe);
    if (moe->exact == 0) restore(&moe->profile, &workshop->parts);
    if (moe->exact != EM_HAS_INVERSE) make_inverse(moe, &workshop->space);
    moe->exact = EM_HAS_INVERSE;

    em_network(image, moe->features, moe->logits, workshop->space.learn.of.network);
    em_inputs(moe->features, inputs, 1);
    absorb(workshop->space.learn.inverse, inputs, reach);
    nudge(moe, &workshop->parts, inputs, reach, label);
    open_gate(moe, &workshop->parts);
    if (moe->profile.samples < UINT16_MAX) moe->profile.samples++;
    em_fold(moe);
    guard(moe);
    return EM_OK;
}
