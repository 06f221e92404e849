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
#define RARE 4.0f          /* symbols.py: how far below the classes a taught symbol's base lies */
#define FAR_BELOW 1000.0f  /* and that of others: e**-1000 is 0 */
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

static int any(const int8_t *codes, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        if (codes[i] != 0) return 1;
    }
    return 0;
}

void em_fold(em *moe) {
    const em_profile *from = &moe->profile;
    const size_t rows = EM_CLASSES + (size_t)from->spare;
    size_t row;
    moe->gate_step = em_half_to_float(from->gate_scale) * (1.0f / EM_FEATURE_SCALE);
    moe->gate_offset = from->gate_bias - moe->gate_step * centre(from->gate, em_feature_mean, EM_FEATURES);
    for (row = 0; row < rows; row++) {
        const int8_t *weights = from->local[row]; /* EM_COLUMNS */
        const float scale = em_half_to_float(from->local_scale[from->local_bits == 2 ? 0 : row]);
        const float middle = centre(weights, em_pooled_mean, EM_POOLED) * (1.0f / EM_POOLED_SCALE);
        moe->local_step[row] = scale * (1.0f / (EM_POOLED_SCALE * EM_QUARTER));
        moe->local_offset[row] = scale * ((float)weights[EM_POOLED] - middle);
        if (!any(weights, EM_COLUMNS)) moe->local_step[row] = 0.0f; /* it corrects nothing: local_logits passes over it */
    }
}

float em_log_odds(const em *moe, const uint8_t *features) {
    return moe->gate_step * (float)em_dot_bytes(moe->profile.gate, features, EM_FEATURES) + moe->gate_offset;
}

void em_pool(const uint8_t *features, uint16_t *sums) {
    size_t channel, quarter, row, column;
    for (channel = 0; channel < EM_CHANNELS; channel++) {
        for (quarter = 0; quarter < 4; quarter++) {
            const uint8_t *corner = features;
            unsigned sum = 0;
            if (quarter & 1) corner += EM_MAP_COLUMNS / 2;
            if (quarter & 2) corner += EM_MAP_ROWS / 2 * EM_MAP_COLUMNS;
            for (row = 0; row < TALL; row++) {
                for (column = 0; column < WIDE; column++) sum += corner[row * EM_MAP_COLUMNS + column];
            }
            *sums++ = (uint16_t)sum;
        }
        features += EM_MAP_ROWS * EM_MAP_COLUMNS;
    }
}

/* The first of the largest; values, codes: count > 0 of them. */
static size_t largest(const float *values, size_t count) {
    size_t best = 0, i;
    for (i = 1; i < count; i++) {
        if (values[i] > values[best]) best = i;
    }
    return best;
}

static size_t largest_code(const uint8_t *codes, size_t count) {
    size_t best = 0, i;
    for (i = 1; i < count; i++) {
        if (codes[i] > codes[best]) best = i;
    }
    return best;
}

/* Make of the global expert's logits the local expert's. together: the logarithm of the classes' exp(logit) added up;
 * logits: EM_CLASSES, then room for the spare symbols. */
static void correct(const em *moe, float together, float *logits) {
    const size_t rows = EM_CLASSES + (size_t)moe->profile.spare;
    uint16_t sums[EM_POOLED];
    size_t row;
    em_pool(moe->features, sums);
    em_order_sums(sums, EM_POOLED);
    for (row = 0; row < rows; row++) {
        const int8_t *weights = moe->profile.local[row];
        if (row >= EM_CLASSES) logits[row] = together - (any(weights, EM_COLUMNS) ? RARE : FAR_BELOW);
        if (moe->local_step[row] != 0.0f) {
            logits[row] += moe->local_step[row] * (float)em_dot_sums(weights, sums, EM_POOLED) + moe->local_offset[row];
        }
    }
}

/* What the mixture makes of the network's codes, the local expert weighing gate in [0, 1]. */
static void answer_with(const em *moe, float gate, em_answer *answer) {
    const size_t rows = EM_CLASSES + (size_t)moe->profile.spare;
    const size_t top = largest_code(moe->logits, EM_CLASSES);
    float of_global[EM_ROWS], mixed[EM_ROWS];
    size_t row, best;
    for (row = 0; row < EM_CLASSES; row++) { /* logits, less the largest: no probability changes */
        mixed[row] = EM_LOGIT_STEP * (float)(moe->logits[row] - moe->logits[top]);
    }
    em_softmax(mixed, of_global, EM_CLASSES);
    answer->label = answer->global_label = answer->local_label = (uint16_t)top;
    answer->confidence = of_global[top];
    answer->gate = gate;
    if (gate <= 0.0f) return;
    correct(moe, -em_log(of_global[top]), mixed);
    answer->local_label = (uint16_t)largest(mixed, rows);
    em_softmax(mixed, mixed, rows);
    for (row = 0; row < rows; row++) { /* to the global expert alone, spare symbols are impossible */
        mixed[row] = (row < EM_CLASSES ? (1.0f - gate) * of_global[row] : 0.0f) + gate * mixed[row];
    }
    best = largest(mixed, rows);
    answer->label = (uint16_t)best;
    answer->confidence = mixed[best];
}

/* The local expert's weight. */
static float weigh(float log_odds) {
    const float weight = 1.0f / (1.0f + em_exp(-log_odds));
    return weight < CLOSED ? 0.0f : weight;
}

em_status em_predict(em *moe, const uint8_t *image, em_answer *answer) {
    float gate = 0.0f;
    if (moe == NULL || image == NULL || answer == NULL) return EM_NULL;
    em_network(image, moe->features, moe->logits, moe->work);
    if (moe->profile.flags & ACCEPTED) gate = weigh(em_log_odds(moe, moe->features) - moe->profile.threshold);
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
        gate = weigh(now - CAUTION * moe->profile.threshold);
    }
    answer_with(moe, gate, answer);
    return EM_OK;
}

em_status em_observe(em *moe, const uint8_t *image, uint16_t label, em_sample *sample) {
    uint16_t sums[EM_POOLED];
    size_t i;
    if (moe == NULL || image == NULL || sample == NULL) return EM_NULL;
    if (label >= EM_CLASSES + moe->profile.spare) return EM_LABEL;
    em_network(image, moe->features, moe->logits, moe->work);
    em_pool(moe->features, sums);
    sample->label = (uint8_t)label;
    for (i = 0; i < EM_POOLED; i++) sample->pooled[i] = (uint8_t)((2u * sums[i] + EM_QUARTER) / (2u * EM_QUARTER));
    memcpy(sample->logits, moe->logits, EM_CLASSES);
    em_project(moe->features, sample->gate);
    return EM_OK;
}

uint32_t em_character(const em *moe, uint16_t label) {
    if (label < EM_CLASSES) return em_codepoints[label];
    if (moe == NULL || label >= EM_CLASSES + moe->profile.spare) return 0;
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
