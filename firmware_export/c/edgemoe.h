/* edgemoe: a frozen handwriting recognizer that learns its user's hand, on a microcontroller.
 *
 * No allocation, no input or output, no variables but the caller's: everything lives in an arena that the caller
 * provides, and all weights are const. Functions may be called for several arenas at once, each from one thread.
 *
 *     static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
 *     em *moe;
 *     em_answer answer;
 *     em_init(&moe, arena, sizeof arena);
 *     em_load(moe, profile, profile_bytes);
 *     em_predict(moe, image, &answer);
 */
#ifndef EDGEMOE_H
#define EDGEMOE_H

#include <stddef.h>
#include <stdint.h>

#include "edgemoe_model.h" /* generated: the sizes of this global expert */

#ifdef __cplusplus
extern "C" {
#endif

#define EM_SIDE 28                        /* pixels of an image's side */
#define EM_PIXELS (EM_SIDE * EM_SIDE)     /* one byte each, ink 255 on 0, row by row */
#define EM_PROFILE_VERSION 3

/* The largest profile: header, spare symbols, gate and local expert in 8 bits with a scale a row, checksum; and the flash
 * slot that holds it behind 16 bytes of its own, in whole programming units. */
#define EM_PROFILE_MOST (60 + 4 * EM_SPARE + 2 + EM_FEATURES + (EM_CLASSES + EM_SPARE) * (EM_POOLED + 3) + 4)
#define EM_FLASH_UNIT 32 /* bytes: the largest that a common part programs at once */
#define EM_SLOT_BYTES ((16 + EM_PROFILE_MOST + EM_FLASH_UNIT - 1) / EM_FLASH_UNIT * EM_FLASH_UNIT)
#define EM_POINTS_MOST 8192 /* of a character: 40 seconds of a pen that reports 200 points a second */

/* Arenas, by parts: what is always there, what training keeps, and what it works in. */
#define EM_PADDED_ROWS ((EM_CLASSES + EM_SPARE + 3) / 4 * 4)
#define EM_MATRIX (4 * EM_PADDED_ROWS * (EM_POOLED + 1)) /* the local expert's weights before rounding */
#define EM_MAX(a, b) ((a) > (b) ? (a) : (b))
#define EM_HEAD ((EM_PADDED_ROWS * (EM_POOLED + 11) + 2 * EM_FEATURES + EM_CLASSES + 4 * EM_SPARE + 120) / 8 * 8)
#define EM_PARTS (EM_MATRIX + 4 * EM_FEATURES + 4)
#define EM_BATCH (16 * (EM_POOLED + 1) + 16 * EM_PADDED_ROWS)
#define EM_LEARN (EM_MAX(EM_NETWORK_SCRATCH + 8, EM_BATCH) + 2 * (EM_POOLED + 1) * (EM_POOLED + 2))
#define EM_LIST (2 * (EM_PADDED_ROWS * (EM_POOLED + 1) / 5 + 4 * EM_PADDED_ROWS) + 4)
#define EM_SETTLE (EM_BATCH + EM_LIST + EM_MAX(2 * EM_MATRIX, 2 * (EM_POOLED + 1) * (EM_POOLED + 2)))
#define EM_MEASURE (50 * (EM_FEATURES + 7))
#define EM_SCORES (4 * (EM_SAMPLES_MOST + EM_RETAINED_TRAINING))
#define EM_FOLD (6 * EM_SAMPLES_MOST + EM_BATCH + 8 * EM_FEATURES + 12 + EM_MAX(EM_MAX(EM_MEASURE, EM_SCORES), EM_MATRIX))
#define EM_ARENA_PREDICT (EM_HEAD + EM_NETWORK_SCRATCH)
#define EM_ARENA_TRAIN (EM_HEAD + EM_MAX(EM_MAX(EM_LEARN, EM_SETTLE), EM_FOLD) + EM_PARTS + 16)

typedef uint64_t em_word; /* what an arena is made of, for its alignment */
#define EM_WORDS(bytes) (((bytes) + sizeof(em_word) - 1) / sizeof(em_word))

typedef enum {
    EM_OK = 0,
    EM_NULL,        /* a pointer is null */
    EM_ALIGNMENT,   /* the arena is not aligned to 8 bytes */
    EM_ARENA,       /* the arena is too small for what is asked */
    EM_NO_PROFILE,  /* the bytes are no profile, or end too soon */
    EM_VERSION,     /* a profile of another version */
    EM_CHECKSUM,    /* a damaged profile, or a torn flash page */
    EM_FINGERPRINT, /* a profile of another global expert */
    EM_SHAPE,       /* a profile whose sizes are not this expert's */
    EM_FIELD,       /* a field is out of range */
    EM_STROKES,     /* no point, too many, an empty stroke, or a coordinate that is not finite or beyond 2**22 */
    EM_SAMPLES,     /* no samples, or more than EM_SAMPLES_MOST */
    EM_LABEL,       /* a class index that the expert and the spare symbols do not have */
    EM_CAPACITY,    /* a buffer or a flash slot is too small */
    EM_FLASH,       /* the flash driver reported a failure, or what it wrote reads back differently */
    EM_EMPTY        /* no slot holds a whole profile */
} em_status;

typedef struct em em; /* a mixture of experts, in its arena */

typedef struct {
    uint16_t label;        /* the mixture's class; an index of em_character */
    uint16_t global_label; /* the global expert's alone */
    uint16_t local_label;  /* the local expert's alone; the global expert's where the gate is closed */
    float confidence;      /* the mixture's probability of its label, in [0, 1] */
    float gate;            /* the local expert's weight, in [0, 1] */
} em_answer;

typedef struct { /* one of the user's characters as training reads it; may be kept in flash */
    uint8_t label;
    uint8_t features[EM_FEATURES]; /* the network's codes */
    uint8_t logits[EM_CLASSES];
} em_sample;

typedef struct { /* what the acceptance test found */
    uint8_t accepted;    /* 0: the global expert answers alone */
    uint8_t gain_known;  /* whether there were enough samples to tell the user's gain */
    float threshold;     /* log-odds taken off the gate's */
    float generic_loss;  /* accuracy lost on held-out generic samples, in [-1, 1] */
    float user_gain;     /* accuracy gained on held-out user samples */
    float confidence;    /* with which the generic loss was shown to be within the budget */
} em_verdict;

/* Start with no profile: the global expert answers alone. EM_ARENA_PREDICT bytes serve everything but em_train and
 * em_learn, which ask for EM_ARENA_TRAIN. */
em_status em_init(em **moe, void *arena, size_t bytes);

/* Recognize one image of EM_PIXELS bytes. */
em_status em_predict(em *moe, const uint8_t *image, em_answer *answer);

/* The same in a run of images from one person at a time: the gate remembers. em_session_start forgets. */
em_status em_session_start(em *moe);
em_status em_session_predict(em *moe, const uint8_t *image, em_answer *answer);

/* Draw pen strokes the way the Python side does, bit for bit: x to the right, y up, in any unit, within 2**22.
 * points holds x, y of each point; stroke_length the points of each stroke, at least 1. */
em_status em_render(const float *points, const uint16_t *stroke_length, size_t strokes, uint8_t *image);

/* The character of a class index, as a code point; 0 if there is none. Spare symbols follow the expert's classes. */
uint32_t em_character(const em *moe, uint16_t label);

/* Profiles: the same bytes as the Python side's. em_save stores how many it wrote; EM_PROFILE_MOST always suffice. */
em_status em_load(em *moe, const uint8_t *profile, size_t bytes);
em_status em_save(em *moe, uint8_t *profile, size_t capacity, size_t *bytes);
em_status em_verdict_of(const em *moe, em_verdict *verdict);

/* Personalization. em_observe makes of a labelled image what em_train learns from; em_train learns from all samples
 * anew, tries the mixture on held-out samples, and declines it where it would do harm. em_learn learns from one
 * correction. bits: of the local expert's weights, 2 (compact) or 8 (full). */
em_status em_observe(em *moe, const uint8_t *image, uint16_t label, em_sample *sample);
em_status em_train(em *moe, const em_sample *samples, size_t count, int bits);
em_status em_learn(em *moe, const uint8_t *image, uint16_t label);

/* Two flash slots, of which one always holds a whole profile: power may be lost at any write. A save erases one slot
 * once and programs it once, at offset 0, in whole EM_FLASH_UNITs; buffer: EM_SLOT_BYTES always suffice. */
typedef struct {
    void *context;
    size_t slot_bytes; /* of each of the two, a whole number of erase pages, at least EM_SLOT_BYTES */
    int (*erase)(void *context, int slot);                                                      /* 0: done */
    int (*program)(void *context, int slot, size_t offset, const uint8_t *bytes, size_t count); /* 0: done */
    const uint8_t *(*read)(void *context, int slot); /* where the slot is mapped, or NULL */
} em_flash;

em_status em_store_save(em *moe, const em_flash *flash, uint8_t *buffer, size_t capacity);
em_status em_store_load(em *moe, const em_flash *flash);

#ifdef __cplusplus
}
#endif
#endif
