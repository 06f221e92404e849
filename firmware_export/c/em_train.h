/* What training's files share. Sizes of this expert: F features, r rows (classes, then spare symbols), c columns. */
#ifndef EM_TRAIN_H
#define EM_TRAIN_H

#include "em_dot.h"
#include "em_internal.h"

/* sum + a * b and sum - a * b, both operations rounded, which FPUs of Cortex-M cores do in one instruction that GCC does
 * not choose by itself. */
#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FP) && (__ARM_FP & 4)
static inline float em_plus_product(float sum, float a, float b) {
    __asm__("vmla.f32 %0, %1, %2" : "+t"(sum) : "t"(a), "t"(b));
    return sum;
}
static inline float em_less_product(float sum, float a, float b) {
    __asm__("vmls.f32 %0, %1, %2" : "+t"(sum) : "t"(a), "t"(b));
    return sum;
}
#else
static inline float em_plus_product(float sum, float a, float b) { return sum + a * b; }
static inline float em_less_product(float sum, float a, float b) { return sum - a * b; }
#endif

#define EM_ROWS4 ((EM_ROWS + 3) / 4 * 4) /* the local expert's rows are trained four at a time */
#define EM_TRIANGLE (EM_COLUMNS * (EM_COLUMNS + 1) / 2) /* of a symmetric matrix: its lower triangle, row by row */
#define EM_AT_ONCE 24                    /* samples whose lengths are measured together: em_length.c */
#define EM_DECAY 1.0f                    /* local_expert.py: of the local expert's weights */
#define EM_STRIDE ((EM_FEATURES + 7) / 8 * 8) /* of inputs there */
#define EM_BUDGET 0.002f                 /* generic accuracy that may be lost, where no profile says otherwise */

/* Local expert and gate before rounding; the gate reads standardized features. */
typedef struct {
    float local[EM_ROWS4][EM_COLUMNS];
    float gate[EM_FEATURES];
    float bias;
} em_parts;

/* Four samples side by side. */
typedef struct {
    float inputs[EM_COLUMNS][4];  /* standardized pooled features, then the bias's 1; 0 of a sample that is not there */
    float scores[4][EM_ROWS4];    /* corrections of the logits; then gradients */
} em_batch;

/* Some of the user's samples. */
typedef struct {
    const em_sample *samples;
    const uint16_t *chosen;      /* [count] indices of them, or NULL: all */
    size_t count; /* 1 to EM_SAMPLES_MOST */
    uint8_t given[EM_ROWS4];     /* how many there are of a row, up to 2 */
} em_lesson;

/* The user's and generic samples' scores, of which the gate's log-odds are made. */
typedef struct {
    float of[EM_SAMPLES_MOST + EM_RETAINED_TRAINING];
} em_scores;

/* Working memory: what is needed at the same time stands in one struct. */
typedef union {
    struct { /* em_learn */
        union {
            em_word network[EM_WORDS(EM_NETWORK_SCRATCH)];
            em_batch batch;
        } of;
        float inverse[EM_TRIANGLE]; /* of the local expert's curvature: kept from one call to the next */
    } learn;
    struct { /* em_settle; the moment is no longer needed when the copies are made */
        em_batch batch;
        uint16_t list[EM_ROWS4 * EM_COLUMNS / 5 + 4 * EM_ROWS4]; /* of codes that are not 0: em_settle.c */
        union {
            float moment[EM_TRIANGLE];
            float copies[2][EM_ROWS4][EM_COLUMNS];
        } of;
    } settle;
    struct { /* the gate, and the parts of a fold */
        float lengths[EM_SAMPLES_MOST]; /* of each sample, by the inverse covariance */
        uint16_t chosen[EM_SAMPLES_MOST];
        em_batch batch;
        float gate[EM_FEATURES], scaled[EM_FEATURES];
        float bias, offset; /* of features less their means, and of features */
        union {
            struct {
                int16_t inputs[EM_AT_ONCE][EM_STRIDE], row[EM_STRIDE];
            } measure;
            em_scores scores;
            float local[EM_ROWS4][EM_COLUMNS];
        } of;
    } fold;
} em_space;

/* An arena of EM_ARENA_TRAIN bytes behind `struct em`: the space begins where the network's scratch does. */
typedef struct {
    em_space space;
    em_parts parts; /* what em_learn goes on from */
} em_workshop;

#define EM_HAS_PARTS 1   /* values of em.exact: the parts are this profile's, before rounding */
#define EM_HAS_INVERSE 2 /* and so is the inverse */

/* Flags of a profile. */
#define EM_ACCEPTED 1u
#define EM_GAIN_KNOWN 2u
#define EM_WANTED_KNOWN 4u

static inline em_workshop *em_workshop_of(em *moe) { return (em_workshop *)(void *)moe->work; }

static inline const em_sample *em_sample_of(const em_lesson *lesson, size_t place) {
    return &lesson->samples[lesson->chosen != NULL ? lesson->chosen[place] : place];
}

/* em_moment.c: float32 linear algebra */
float em_sqrt(float x);
void em_inputs(const uint8_t *features, float *inputs, size_t stride); /* EM_COLUMNS standardized, stride apart */
void em_add_moment(float *moment, const em_batch *batch);              /* of its four inputs */
void em_multiply_symmetric(const float *matrix, const float *vector, float *product);
float em_largest_eigenvalue(const float *moment, float *vector);       /* from a vector on, which it overwrites */
void em_invert(float *matrix);                                         /* positive definite; in place */

/* em_round.c: edgemoe/device/quantized.py */
void em_quantize(const float *weights, size_t count, int bits, int8_t *codes, uint16_t *scale);
void em_sparsify(float (*weights)[EM_COLUMNS], size_t rows, int8_t (*codes)[EM_COLUMNS], uint16_t *scale);
void em_round_local(float (*weights)[EM_COLUMNS], em_profile *profile); /* to profile->local_bits, 2 or 8 */

/* em_lesson.c: edgemoe/device/local_expert.py */
void em_give(em_lesson *lesson);                                       /* fill in `given` */
void em_take(const em_lesson *lesson, size_t stride, size_t start, em_batch *batch); /* inputs of four samples */
void em_lengths(const em_batch *batch, float *lengths);                              /* squared, of the four inputs */
void em_correct(float (*weights)[EM_COLUMNS], size_t rows, em_batch *batch);         /* scores from inputs */
/* Makes of four samples' scores the gradients of their cross-entropies, times step; returns the logarithms of their
 * labels' likelihoods together. em_move: weights = kept (NULL: 1) * weights - gradients (scores) times inputs. */
float em_differentiate(
    const em_lesson *lesson, size_t stride, size_t start, size_t rows, float step, em_batch *batch);
void em_move(float (*weights)[EM_COLUMNS], size_t rows, const float *kept, const em_batch *batch);
void em_fit_local(const em_lesson *lesson, size_t rows, float (*weights)[EM_COLUMNS], em_batch *batch);
/* em_settle.c */
void em_settle(const em_lesson *lesson, em_profile *profile, float (*weights)[EM_COLUMNS], em_space *space);

/* An entry of the inverse covariance below its diagonal, in units of EM_PRECISION_STEP, from its code. */
static inline int32_t em_entry(int code) { return code < 0 ? -(code * code) : code * code; }

/* em_length.c, then em_gate.c: edgemoe/device/gate.py */
void em_measure(const em_sample *samples, size_t count, em_space *space);
void em_fit_gate(const em_lesson *lesson, em_space *space); /* to space->fold.gate and .bias */
float em_gate_score(const float *weights, const uint8_t *features); /* weights . features */

/* em_accept.c: edgemoe/device/acceptance.py. Thresholds are quarters of log-odds, 0 to EM_THRESHOLDS - 1 of them. */
#define EM_THRESHOLDS 49
#define EM_CONFIDENCE 0.9f /* with which the generic loss has to be shown to be within the budget */
typedef struct {
    uint16_t wrong[EM_THRESHOLDS], right[EM_THRESHOLDS]; /* answers that turn wrong, and right */
} em_turned;
void em_retained(size_t index, uint8_t *features, uint8_t *logits, uint8_t *label);
/* How the answer turns: -1 wrong, 1 right; both experts' labels differ. rows: classes and spare symbols. */
int em_turn(const em_views *views, size_t rows, float log_odds, size_t of_global, size_t label);
void em_try(em *moe, em_turned *turned);             /* the retention set's held-out part */
float em_confidence_within(size_t wrong, size_t right, size_t n, float budget);
float em_sign_test(size_t wrong, size_t right);
unsigned em_samples_wanted(size_t wrong, size_t right, size_t n); /* 0: none are known to help */

#endif
