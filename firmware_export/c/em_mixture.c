/* The mixture of experts: edgemoe/device/mixture.py, folded.py and session.py.
 *
 * Both local expert and gate read the network's own codes: a dot product of integers, then one multiplication and one
 * addition, into which centring, scaling and pooling were folded when the profile was loaded. */
#include "em_dot.h"
#include "em_internal.h"

#include <string.h>

#define ACCEPTED 1u
#define GAIN_KNOWN 2u
#define CLOSED 0.02f       /* gate.py: a weight below it is 0, and the local expert need not run */
#define LOGIT_DEPTH ((uint32_t)(EM_LOGIT_STEP * EM_DEPTHS * 256.0f + 0.5f)) /* of a step of the logits, times 2**8 */
#define ONE 33554432.0f             /* 2**25: the largest power */
#define SHARES 72057594037927936.0f /* 2**56: over a sum of powers, ONE or more, it fits 32 bits */
#define SWITCH 0.05f       /* session.py: probability that the next image is another person's */
#define CAUTION 0.25f      /* the share of the threshold that a session asks for */
#define EVIDENCE 4.0f      /* log-odds that one image may add to a session's memory */

#define TALL ((EM_MAP_ROWS + 1) / 2) /* a quarter of the map */
#define WIDE ((EM_MAP_COLUMNS + 1) / 2)
#define MEAN_BITS 20 /* behind the point, of a mean in integers */

/* What the arithmetic counts on: an array of -1 elements where the generated sizes do not keep to it. */
typedef char em_pooled_is_four_quarters[EM_POOLED == 4 * EM_CHANNELS ? 1 : -1];
typedef char em_features_are_a_map[EM_FEATURES == EM_CHANNELS * EM_MAP_ROWS * EM_MAP_COLUMNS ? 1 : -1];
typedef char em_quarter_is_a_quarter[EM_QUARTER == TALL * WIDE && EM_QUARTER <= 128 ? 1 : -1];
typedef char em_sums_fit_32_bits[EM_FEATURES <= 65536 ? 1 : -1];
typedef char em_arena_holds_the_network[offsetof(em, work) + EM_NETWORK_SCRATCH <= EM_ARENA_PREDICT ? 1 : -1];

em_status em_init(em **moe, void *arena, size_t bytes) {
    if (moe == NULL || arena == NULL) return EM_NULL;
    if ((uintptr_t)arena % sizeof(em_word) != 0) return EM_ALIGNMENT;
    if (bytes < EM_ARENA_PREDICT) return EM_ARENA;
    *moe = (em *)arena;
    memset(*moe, 0, offsetof(em, work));
    (*moe)->bytes = bytes;
    return em_session_start(*moe);
}

/* weights . means with MEAN_BITS bits behind the point: exact where a sum of float32 would lose what the codes tell. */
static float centre(const int8_t *weights, const float *means, size_t count) {
    int64_t sum = 0;
    size_t i;
    for (i = 0; i < count; i++) sum += (int64_t)weights[i] * (int32_t)(means[i] * (1 << MEAN_BITS));
    return (float)sum * (1.0f / (1 << MEAN_BITS));
}

/* Classes and this profile's spare symbols. */
static size_t rows_of(const em_profile *profile) { return EM_CLASSES + (EM_SPARE > 0 ? (size_t)profile->spare : 0); }

static int any(const int8_t *codes, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        if (codes[i] != 0) return 1;
    }
    return 0;
}

void em_fold(em *moe) {
    const em_profile *from = &moe->profile;
    const size_t rows = rows_of(from);
    size_t row;
    moe->gate_step = em_half_to_float(from->gate_scale) * (1.0f / EM_FEATURE_SCALE);
    moe->gate_offset = from->gate_bias - moe->gate_step * centre(from->gate, em_feature_mean, EM_FEATURES);
    for (row = 0; row < rows; row++) {
        const int8_t *weights = from->local[row]; /* EM_COLUMNS */
        const float scale = em_half_to_float(from->local_scale[from->local_bits == 2 ? 0 : row]);
        const float middle = centre(weights, em_pooled_mean, EM_POOLED) * (1.0f / EM_POOLED_SCALE);
        moe->local_step[row] = scale * (1.0f / (EM_POOLED_SCALE * EM_QUARTER));
        moe->local_offset[row] = scale * ((float)weights[EM_POOLED] - middle);
    }
}

float em_log_odds(const em *moe, const uint8_t *features) {
    return moe->gate_step * (float)em_dot_bytes(moe->profile.gate, features, EM_FEATURES) + moe->gate_offset;
}

void em_pool(const uint8_t *features, uint16_t *sums) {
    size_t channel, row, column;
    for (channel = 0; channel < EM_CHANNELS; channel++, sums += 4, features += EM_MAP_ROWS * EM_MAP_COLUMNS) {
        unsigned left[2] = {0, 0}, right[2] = {0, 0}; /* top and bottom */
        EM_UNROLL_ALL
        for (column = 0; column < EM_MAP_COLUMNS; column++) {
            const uint8_t *top = features + column, *bottom = top + (EM_MAP_ROWS - TALL) * EM_MAP_COLUMNS;
            unsigned upper = 0, lower = 0;
            EM_UNROLL_ALL
            for (row = 0; row < TALL; row++) {
                upper += top[row * EM_MAP_COLUMNS];
                lower += bottom[row * EM_MAP_COLUMNS];
            }
            if (column < WIDE) left[0] += upper, left[1] += lower;
            if (column + WIDE >= EM_MAP_COLUMNS) right[0] += upper, right[1] += lower;
        }
        sums[0] = (uint16_t)left[0];
        sums[1] = (uint16_t)right[0];
        sums[2] = (uint16_t)left[1];
        sums[3] = (uint16_t)right[1];
    }
}

/* The first of the largest codes. */
static size_t largest(const uint8_t *codes, size_t count) {
    size_t best = 0, i;
    for (i = 1; i < count; i++) {
        if (codes[i] > codes[best]) best = i;
    }
    return best;
}

int32_t em_depth_of_all(uint32_t sum) { return em_depth(em_log((float)sum * (1.0f / ONE))); }

size_t em_view_local(const em *moe, const uint8_t *features, em_views *views) {
    const size_t rows = rows_of(&moe->profile);
    int32_t *depths = views->of_local;
    uint16_t sums[EM_POOLED];
    int32_t dots[4];
    size_t row, i, best;
    em_pool(features, sums);
    em_order_sums(sums, EM_POOLED);
    for (row = EM_CLASSES; row < rows; row++) {
        const int taught = any(moe->profile.local[row], EM_COLUMNS);
        depths[row] = taught ? em_depth_of_all(views->global_sum) + EM_RARE : EM_FAR_BELOW;
    }
    for (row = 0; row < rows; row += 4) {
        const size_t first = row + 4 <= rows || rows < 4 ? row : rows - 4; /* the last four may overlap those before */
        em_dot_sums(moe->profile.local[first], EM_COLUMNS, sums, EM_POOLED, dots);
        for (i = row; i < first + 4 && i < rows; i++) {
            depths[i] += em_depth(moe->local_step[i] * (float)dots[i - first] + moe->local_offset[i]);
        }
    }
    views->local_sum = em_powers(depths, rows, &best);
    return best;
}

size_t em_depths(const uint8_t *logits, int32_t *depths) {
    const size_t top = largest(logits, EM_CLASSES);
    size_t row;
    for (row = 0; row < EM_CLASSES; row++) {
        depths[row] = (int32_t)((uint64_t)(unsigned)(logits[top] - logits[row]) * LOGIT_DEPTH >> 8);
    }
    return top;
}

size_t em_view_global(const uint8_t *logits, em_views *views) {
    const size_t top = em_depths(logits, views->of_global);
    size_t best;
    memcpy(views->of_local, views->of_global, EM_CLASSES * sizeof(int32_t));
    views->global_sum = em_powers(views->of_global, EM_CLASSES, &best);
    return top;
}

size_t em_mix(const em_views *views, size_t rows, float gate, float *confidence) {
    const uint32_t global_share = (uint32_t)((1.0f - gate) * SHARES / (float)views->global_sum);
    const uint32_t local_share = (uint32_t)(gate * SHARES / (float)views->local_sum);
    uint32_t most = 0;
    size_t row, best = 0;
    for (row = 0; row < rows; row++) {
        uint64_t mixed = (uint64_t)local_share * (uint32_t)views->of_local[row];
        if (row < EM_CLASSES) { /* the global expert knows no spare symbols */
            mixed += (uint64_t)global_share * (uint32_t)views->of_global[row];
        }
        if ((uint32_t)(mixed >> 32) > most) {
            most = (uint32_t)(mixed >> 32);
            best = row;
        }
    }
    *confidence = most < 16777216u ? (float)most * (1.0f / 16777216) : 1.0f; /* SHARES / 2**32; shares are rounded */
    return best;
}

/* What the mixture makes of the network's codes, the local expert weighing gate in [0, 1]. In integers, cores without a
 * floating-point unit answer nearly as quickly, and probabilities are right within 2**-20. */
static void answer_with(const em *moe, float gate, em_answer *answer) {
    em_views views;
    answer->label = answer->global_label = answer->local_label = (uint16_t)em_view_global(moe->logits, &views);
    answer->confidence = ONE / (float)views.global_sum;
    answer->gate = gate;
    if (gate <= 0.0f) return;
    answer->local_label = (uint16_t)em_view_local(moe, moe->features, &views);
    answer->label = (uint16_t)em_mix(&views, rows_of(&moe->profile), gate, &answer->confidence);
}

float em_weigh(float log_odds) {
    const float weight = 1.0f / (1.0f + em_exp(-log_odds));
    return weight < CLOSED ? 0.0f : weight;
}

em_status em_predict(em *moe, const uint8_t *image, em_answer *answer) {
    float gate = 0.0f;
    if (moe == NULL || image == NULL || answer == NULL) return EM_NULL;
    em_network(image, moe->features, moe->logits, moe->work);
    if (moe->profile.flags & ACCEPTED) gate = em_weigh(em_log_odds(moe, moe->features) - moe->profile.threshold);
    answer_with(moe, gate, answer);
    return EM_OK;
}

em_status em_session_start(em *moe) {
    if (moe == NULL) return EM_NULL;
    moe->user = 0.5f;
    return EM_OK;
}

/* Log-odds that the person is the user, after one more image's. user: the probability so far, which it replaces. */
static float remember(float *user, float log_odds) {
    const float before = *user * (1.0f - SWITCH) + (1.0f - *user) * SWITCH;
    float now = log_odds;
    if (now > EVIDENCE) now = EVIDENCE;
    if (now < -EVIDENCE) now = -EVIDENCE;
    now += em_log(before / (1.0f - before));
    *user = 1.0f / (1.0f + em_exp(-now));
    return now;
}

em_status em_session_predict(em *moe, const uint8_t *image, em_answer *answer) {
    float gate = 0.0f;
    if (moe == NULL || image == NULL || answer == NULL) return EM_NULL;
    em_network(image, moe->features, moe->logits, moe->work);
    if (moe->profile.flags & ACCEPTED) {
        const float now = remember(&moe->user, em_log_odds(moe, moe->features));
        gate = em_weigh(now - CAUTION * moe->profile.threshold);
    }
    answer_with(moe, gate, answer);
    return EM_OK;
}

em_status em_observe(em *moe, const uint8_t *image, uint16_t label, em_sample *sample) {
    if (moe == NULL || image == NULL || sample == NULL) return EM_NULL;
    if (label >= rows_of(&moe->profile)) return EM_LABEL;
    em_network(image, sample->features, sample->logits, moe->work);
    sample->label = (uint8_t)label;
    return EM_OK;
}

uint32_t em_character(const em *moe, uint16_t label) {
    if (label < EM_CLASSES) return em_codepoints[label];
    if (moe == NULL || label >= rows_of(&moe->profile)) return 0;
    return moe->profile.symbols[label - EM_CLASSES];
}

em_status em_verdict_of(const em *moe, em_verdict *verdict) {
    if (moe == NULL || verdict == NULL) return EM_NULL;
    if (moe->profile.local_bits == 0) return EM_NO_PROFILE;
    verdict->accepted = (moe->profile.flags & ACCEPTED) != 0;
    verdict->gain_known = (moe->profile.flags & GAIN_KNOWN) != 0;
    verdict->threshold = moe->profile.threshold;
    verdict->generic_loss = moe->profile.generic_loss;
    verdict->user_gain = moe->profile.user_gain;
    verdict->confidence = moe->profile.confidence;
    return EM_OK;
}
