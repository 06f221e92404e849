/* What the library's files share. */
#ifndef EM_INTERNAL_H
#define EM_INTERNAL_H

/* The same bits on every target: no multiplication fused with an addition, also where nobody passes -ffp-contract=off
 * (an IDE's project). GCC fuses in its GNU dialects and in C++, clang in all. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && (!defined(__STRICT_ANSI__) || defined(__cplusplus))
#pragma GCC optimize("fp-contract=off")
#endif

#include "edgemoe.h"

#define EM_COLUMNS (EM_POOLED + 1)         /* of the local expert's matrix; the last is the bias */
#define EM_ROWS (EM_CLASSES + EM_SPARE)    /* classes, then spare symbols */

/* Generated, in em_model.c: what the retention set said about the features, and the retention set. */
extern const uint8_t em_fingerprint[16];
extern const uint32_t em_codepoints[EM_CLASSES];
extern const float em_feature_mean[EM_FEATURES]; /* in the network's steps */
extern const float em_pooled_mean[EM_POOLED];    /* in the network's steps */
/* The features' inverse covariance (edgemoe/device/statistics.py): roots of its diagonal, per step of the network, and
 * codes of its entries below, row by row. */
extern const float em_precision_roots[EM_FEATURES];
extern const int8_t em_precision[]; /* [EM_FEATURES * (EM_FEATURES - 1) / 2] */
/* The retention set, sample by sample: features in 4 bits, two a byte, the first one lower, in EM_RETAINED_STEP of the
 * network's steps; logits as the network's codes; labels. */
extern const uint8_t em_retained_features[EM_RETAINED * ((EM_FEATURES + 1) / 2)];
extern const uint8_t em_retained_logits[EM_RETAINED * EM_CLASSES];
extern const uint8_t em_retained_labels[EM_RETAINED];
/* In edgemoe_model.h. EM_CHANNELS, EM_MAP_ROWS, EM_MAP_COLUMNS: the shape of the features' map; EM_QUARTER: features in
 * a quarter of a channel's map, which share the middle row and column of an odd one; EM_FEATURE_STEP, EM_LOGIT_STEP:
 * values of one step; EM_LOGIT_ZERO: the logits' zero point; EM_FEATURE_SCALE, EM_POOLED_SCALE: standard deviations of
 * the features and the pooled ones, in the network's steps; EM_PRECISION_STEP: of the inverse covariance's entries;
 * EM_RETAINED, EM_RETAINED_TRAINING: samples of the retention set, and of its first part, which the gate's log-odds are
 * measured against; EM_SAMPLES_MOST: of the user's, that em_train takes. */

/* Generated, in em_network.c: the global expert. image: EM_PIXELS; features: EM_FEATURES codes, channel by channel, zero
 * point 0; logits: EM_CLASSES codes; scratch: EM_NETWORK_SCRATCH bytes, aligned to 8. */
void em_network(const uint8_t *image, uint8_t *features, uint8_t *logits, void *scratch);

/* A profile as read: the weights as codes, and what em_predict reads with them. */
typedef struct {
    uint8_t flags, local_bits, gate_bits, spare;
    uint16_t samples, wanted;
    float gate_bias, threshold, generic_loss, user_gain, confidence, budget;
    uint32_t symbols[EM_SPARE + 1];        /* + 1: C has no arrays of none */
    uint16_t gate_scale;                   /* float16 */
    uint16_t local_scale[EM_ROWS];         /* float16; of 2 bits only the first */
    int8_t gate[EM_FEATURES];
    int8_t local[EM_ROWS < 4 ? 4 : EM_ROWS][EM_COLUMNS]; /* four rows are read at a time */
} em_profile;

struct em {
    size_t bytes; /* of the arena */
    em_profile profile;
    float gate_step, gate_offset;                /* log-odds = gate_step * (gate codes . feature codes) + gate_offset */
    float local_step[EM_ROWS], local_offset[EM_ROWS];
    float user;                                  /* session: probability that the person before was the user */
    int8_t exact;                                /* whether the arena's end holds weights before rounding (em_learn) */
    uint8_t features[EM_FEATURES];
    uint8_t logits[EM_CLASSES];
    em_word work[1];                             /* the network's scratch, or what training needs: more than the 1 */
};

/* em_mixture.c */
void em_fold(em *moe);                                     /* the profile's weights changed: make steps and offsets */
float em_log_odds(const em *moe, const uint8_t *features); /* the gate's, before any threshold */
float em_weigh(float log_odds);                            /* the local expert's weight, in [0, 1] */
void em_pool(const uint8_t *features, uint16_t *sums);     /* EM_POOLED sums over quarters of EM_QUARTER codes each */

/* Both experts' views of an image, class by class. Logits are integers here, counted down from the largest: depths, of
 * which 2**20 halve a probability; em_powers makes of them powers, whose sum stands beside them. */
typedef struct {
    int32_t of_global[EM_ROWS], of_local[EM_ROWS];
    uint32_t global_sum, local_sum;
} em_views;

#define EM_DEPTHS 1512775.4f                   /* of a logit: 2**20 log2(e) */
#define EM_DEEP 536870912.0f                   /* 2**29: the most that is told apart, a factor of 2**512 */
#define EM_RARE ((int32_t)(4.0f * EM_DEPTHS)) /* symbols.py: how far below the classes a taught symbol's base lies */
#define EM_FAR_BELOW (1 << 30)                 /* and that of others, which no correction brings back */

/* The depth of a logit or of a correction. */
static inline int32_t em_depth(float logit) {
    const float depth = logit * -EM_DEPTHS;
    return (int32_t)(depth > EM_DEEP ? EM_DEEP : depth < -EM_DEEP ? -EM_DEEP : depth);
}

int32_t em_depth_of_all(uint32_t sum);         /* of all classes' powers together */
size_t em_depths(const uint8_t *logits, int32_t *depths); /* of EM_CLASSES codes; returns the largest's index */
/* Makes the global expert's powers, and its depths in of_local; returns its label. */
size_t em_view_global(const uint8_t *logits, em_views *views);
/* Corrects of_local by the profile's weights, and makes powers of it; returns the local expert's label. */
size_t em_view_local(const em *moe, const uint8_t *features, em_views *views);
/* The mixture's label, the local expert weighing gate in [0, 1]; rows: classes and spare symbols. */
size_t em_mix(const em_views *views, size_t rows, float gate, float *confidence);

/* em_math.c: the same bits on every target. em_powers: a softmax in integers. It replaces depths, logits counted down in
 * steps of which 2**20 halve a probability, by 2**-(depth - the least depth) with 25 bits behind the point, and returns
 * their sum and where the first of the least was; values: 0 < count < 128 of them, all within 2**31 of the least. */
float em_exp(float x);
float em_log(float x);
float em_half_to_float(uint16_t half);
uint16_t em_float_to_half(float value);
uint32_t em_powers(int32_t *values, size_t count, size_t *shallowest);

/* em_profile.c */
em_status em_check(const uint8_t *profile, size_t bytes); /* EM_OK where em_load takes it; reads bytes of them */

/* em_pack.c */
uint32_t em_crc32(const uint8_t *bytes, size_t count);

#endif
