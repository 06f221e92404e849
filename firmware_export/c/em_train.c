/* Learns from all of a user's samples anew, and tries what was learnt: edgemoe/device/training.py. */
#include "em_train.h"

#include <string.h>

#define FOLDS 3           /* of the user's samples, to see each by parts trained without it */
#define ENOUGH 20         /* samples from which on the user side is judged too */
#define RECOGNIZED 0.2f   /* the least share of his samples that an expert reads of any writer */
#define CERTAIN 0.99f     /* confidence in the user's gain that is asked for where fewer are recognized */
#define REMEMBERED 2.944439f /* log-odds that a session adds once it is sure of the user: log(19) */

typedef char em_arena_holds_the_workshop[offsetof(em, work) + sizeof(em_workshop) <= EM_ARENA_TRAIN ? 1 : -1];
typedef char em_labels_fit_bytes[EM_ROWS <= 255 && EM_SAMPLES_MOST <= 65535 ? 1 : -1];
typedef char em_turns_fit_16_bits[EM_RETAINED > EM_RETAINED_TRAINING && EM_RETAINED <= 65535 ? 1 : -1];

/* How the user's held-out answers turn: as they come, and within a session. */
typedef struct {
    size_t judged;
    size_t wrong[2], right[2];
} user_trial;

/* The user's samples of one fold, or all but those; of the first only such of classes that were given twice.
 * chosen: [count]; returns how many. */
static size_t choose(const em_sample *samples, size_t count, size_t fold, int within, uint16_t *chosen) {
    uint16_t of_class[EM_ROWS], seen[EM_ROWS];
    size_t found = 0, i;
    memset(of_class, 0, sizeof of_class);
    memset(seen, 0, sizeof seen);
    for (i = 0; i < count; i++) of_class[samples[i].label]++;
    for (i = 0; i < count; i++) {
        const size_t label = samples[i].label; /* a class's samples take turns; classes begin at different folds */
        const int inside = (seen[label]++ + label) % FOLDS == fold;
        if (within ? inside && of_class[label] > 1 : !inside) chosen[found++] = (uint16_t)i;
    }
    return found;
}

/* Judge held-out samples by a fold's parts. lesson: these samples, with the `given` of those that were learnt from. */
static void judge(const em_lesson *lesson, size_t rows, const float thresholds[2], em_space *space, user_trial *trial) {
    em_batch *batch = &space->fold.batch;
    size_t start, lane, row;
    int i;
    for (start = 0; start < lesson->count; start += 4) {
        em_take(lesson, 1, start, batch);
        em_correct(space->fold.of.local, rows, batch);
        for (lane = 0; lane < 4 && start + lane < lesson->count; lane++) {
            const em_sample *sample = em_sample_of(lesson, start + lane);
            const float odds = em_gate_score(space->fold.gate, sample->features) + space->fold.offset;
            em_views views;
            const size_t of_global = em_view_global(sample->logits, &views);
            size_t of_local;
            for (row = EM_CLASSES; row < rows; row++) {
                views.of_local[row] = lesson->given[row] ? em_depth_of_all(views.global_sum) + EM_RARE : EM_FAR_BELOW;
            }
            for (row = 0; row < rows; row++) views.of_local[row] += em_depth(batch->scores[lane][row]);
            views.local_sum = em_powers(views.of_local, rows, &of_local);
            if (of_local == of_global || em_weigh(odds) <= 0.0f) continue;
            for (i = 0; i < 2; i++) {
                const int turn = em_turn(&views, rows, odds - thresholds[i], of_global, sample->label);
                if (turn < 0) trial->wrong[i]++;
                if (turn > 0) trial->right[i]++;
            }
        }
    }
}

/* See each sample by parts trained without it, and with others of its class. */
static void cross_validate(
    const em_lesson *all, size_t rows, const float thresholds[2], em_space *space, user_trial *trial) {
    em_lesson lesson = *all;
    size_t fold;
    lesson.chosen = space->fold.chosen;
    for (fold = 0; fold < FOLDS; fold++) {
        if (choose(all->samples, all->count, fold, 1, space->fold.chosen) == 0) continue;
        lesson.count = choose(all->samples, all->count, fold, 0, space->fold.chosen);
        em_give(&lesson);
        em_fit_gate(&lesson, space);
        em_fit_local(&lesson, rows, space->fold.of.local, &space->fold.batch);
        lesson.count = choose(all->samples, all->count, fold, 1, space->fold.chosen);
        judge(&lesson, rows, thresholds, space, trial);
    }
}

/* The share of the user's samples that the global expert reads as labelled. Of a spare symbol that says nothing. */
static float recognized(const em_sample *samples, size_t count) {
    size_t ordinary = 0, right = 0, i;
    for (i = 0; i < count; i++) {
        int32_t depths[EM_CLASSES];
        if (samples[i].label >= EM_CLASSES) continue;
        ordinary++;
        right += em_depths(samples[i].logits, depths) == samples[i].label;
    }
    return ordinary > 0 ? (float)right / (float)ordinary : 1.0f;
}

/* The lowest threshold at which, and at every higher one, the generic loss is shown to be within the budget; -1: none. */
static int lowest_threshold(const em_turned *turned, float budget, float *confidence) {
    const size_t n = EM_RETAINED - EM_RETAINED_TRAINING;
    int threshold;
    for (threshold = EM_THRESHOLDS - 1; threshold >= 0; threshold--) {
        const float found = em_confidence_within(turned->wrong[threshold], turned->right[threshold], n, budget);
        if (found < EM_CONFIDENCE - 1e-7f) break;
        *confidence = found;
    }
    return threshold + 1 < EM_THRESHOLDS ? threshold + 1 : -1;
}

/* What the user's held-out samples say: whether the mixture does them harm, their gain, and how many more would help. */
static int user_side(const user_trial *trial, int readable, em_profile *profile) {
    const size_t n = trial->judged;
    const int as = trial->wrong[0] != trial->right[0] ? 0 : 1; /* as they come; where nothing is gained, in a session */
    const size_t wrong = trial->wrong[as], right = trial->right[as];
    int i, harmed = 0;
    profile->flags |= EM_GAIN_KNOWN;
    profile->user_gain = ((float)trial->right[0] - (float)trial->wrong[0]) / (float)n;
    for (i = 0; i < 2; i++) harmed |= em_sign_test(trial->right[i], trial->wrong[i]) >= EM_CONFIDENCE;
    if (readable && right <= wrong) {
        profile->wanted = (uint16_t)em_samples_wanted(wrong, right, n);
        if (profile->wanted > 0) profile->flags |= EM_WANTED_KNOWN;
    }
    return !harmed && (readable || em_sign_test(wrong, right) >= CERTAIN);
}

/* The acceptance test, of a profile whose weights are rounded and folded. */
static void accept(em *moe, const em_lesson *all, size_t rows, em_space *space) {
    em_profile *profile = &moe->profile;
    em_turned turned;
    user_trial trial;
    const int readable = recognized(all->samples, all->count) >= RECOGNIZED;
    size_t fold;
    int threshold, accepted = readable;
    profile->flags = 0;
    profile->wanted = 0;
    profile->user_gain = profile->generic_loss = profile->confidence = 0.0f;
    em_try(moe, &turned);
    threshold = lowest_threshold(&turned, profile->budget, &profile->confidence);
    profile->threshold = 0.25f * (float)(threshold < 0 ? EM_THRESHOLDS - 1 : threshold);
    if (threshold < 0) return;
    memset(&trial, 0, sizeof trial);
    for (fold = 0; fold < FOLDS; fold++) {
        trial.judged += choose(all->samples, all->count, fold, 1, space->fold.chosen);
    }
    if (trial.judged >= ENOUGH) {
        float thresholds[2];
        thresholds[0] = profile->threshold;
        thresholds[1] = profile->threshold > REMEMBERED ? profile->threshold - REMEMBERED : 0.0f;
        cross_validate(all, rows, thresholds, space, &trial);
        accepted = user_side(&trial, readable, profile);
    }
    if (!accepted) return;
    profile->flags |= EM_ACCEPTED;
    profile->generic_loss = ((float)turned.wrong[threshold] - (float)turned.right[threshold])
                            / (float)(EM_RETAINED - EM_RETAINED_TRAINING);
}

static em_status check(const em *moe, const em_sample *samples, size_t count, int bits) {
    size_t i;
    if (moe == NULL || samples == NULL) return EM_NULL;
    if (moe->bytes < EM_ARENA_TRAIN) return EM_ARENA;
    if (count == 0 || count > EM_SAMPLES_MOST) return EM_SAMPLES;
    if (bits != 2 && bits != 8) return EM_FIELD;
    for (i = 0; i < count; i++) {
        if (samples[i].label >= EM_CLASSES + (size_t)moe->profile.spare) return EM_LABEL;
    }
    return EM_OK;
}

em_status em_train(em *moe, const em_sample *samples, size_t count, int bits) {
    const em_status status = check(moe, samples, count, bits);
    em_workshop *workshop;
    em_profile *profile;
    em_lesson all;
    size_t rows, i;
    if (status != EM_OK) return status;
    workshop = em_workshop_of(moe);
    profile = &moe->profile;
    rows = EM_CLASSES + (size_t)profile->spare;
    if (profile->local_bits == 0) profile->budget = EM_BUDGET;
    profile->local_bits = (uint8_t)bits;
    profile->gate_bits = bits == 2 ? 5 : 8;
    profile->samples = (uint16_t)count;
    all.samples = samples;
    all.chosen = NULL;
    all.count = count;
    em_give(&all);

    em_fit_local(&all, rows, workshop->parts.local, &workshop->space.settle.batch);
    em_settle(&all, profile, workshop->parts.local, &workshop->space);
    em_round_local(workshop->parts.local, profile);

    em_measure(samples, count, &workshop->space);
    em_fit_gate(&all, &workshop->space);
    for (i = 0; i < EM_FEATURES; i++) workshop->parts.gate[i] = EM_FEATURE_SCALE * workshop->space.fold.gate[i];
    profile->gate_bias = workshop->parts.bias = workshop->space.fold.bias;
    em_quantize(workshop->parts.gate, EM_FEATURES, profile->gate_bits, profile->gate, &profile->gate_scale);

    em_fold(moe);
    accept(moe, &all, rows, &workshop->space);
    moe->exact = EM_HAS_PARTS;
    return em_session_start(moe);
}
