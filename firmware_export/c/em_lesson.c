/* Trains the local expert: edgemoe/device/local_expert.py.
 *
 * Multinomial logistic regression on top of the frozen logits, in place: four samples and four rows of weights at a
 * time, so that a weight is loaded once for four products, and an input once for four. */
#include "em_train.h"

#include <string.h>

#define EPOCHS 8
#define STRIDE 4.0f /* of the first steps, in units of one over the inputs' mean squared length */
#define SLOWER 8.0f /* epochs after which a step is half as long */
#define LEAST 1e-9f  /* of a likelihood */

void em_give(em_lesson *lesson) {
    size_t i;
    memset(lesson->given, 0, sizeof lesson->given);
    for (i = 0; i < lesson->count; i++) {
        uint8_t *given = &lesson->given[em_sample_of(lesson, i)->label];
        if (*given < 2) ++*given;
    }
}

/* The sample in a lane of the batch that begins at a place in the order of steps of stride; NULL behind the last. */
static const em_sample *sample_at(const em_lesson *lesson, size_t stride, size_t place) {
    return place < lesson->count ? em_sample_of(lesson, place * stride % lesson->count) : NULL;
}

void em_take(const em_lesson *lesson, size_t stride, size_t start, em_batch *batch) {
    size_t lane, i;
    for (lane = 0; lane < 4; lane++) {
        const em_sample *sample = sample_at(lesson, stride, start + lane);
        if (sample != NULL) {
            em_inputs(sample->features, &batch->inputs[0][lane], 4);
        } else {
            for (i = 0; i < EM_COLUMNS; i++) batch->inputs[i][lane] = 0.0f;
        }
    }
}

/* One column of a row: its weight, times the four samples' inputs. */
#define ADD(row)                                \
    weight = weights[row][i];                   \
    sum##row##0 += weight * input[0];           \
    sum##row##1 += weight * input[1];           \
    sum##row##2 += weight * input[2];           \
    sum##row##3 += weight * input[3];

#define STORE(row)                              \
    batch->scores[0][first + row] = sum##row##0; \
    batch->scores[1][first + row] = sum##row##1; \
    batch->scores[2][first + row] = sum##row##2; \
    batch->scores[3][first + row] = sum##row##3;

/* Scores of the four rows from `first` on. weights: those rows. */
static void correct_four(float (*weights)[EM_COLUMNS], size_t first, em_batch *batch) {
    float sum00 = 0.0f, sum01 = 0.0f, sum02 = 0.0f, sum03 = 0.0f, sum10 = 0.0f, sum11 = 0.0f, sum12 = 0.0f, sum13 = 0.0f;
    float sum20 = 0.0f, sum21 = 0.0f, sum22 = 0.0f, sum23 = 0.0f, sum30 = 0.0f, sum31 = 0.0f, sum32 = 0.0f, sum33 = 0.0f;
    size_t i;
    for (i = 0; i < EM_COLUMNS; i++) {
        const float *input = batch->inputs[i];
        float weight;
        ADD(0)
        ADD(1)
        ADD(2)
        ADD(3)
    }
    STORE(0)
    STORE(1)
    STORE(2)
    STORE(3)
}

void em_correct(float (*weights)[EM_COLUMNS], size_t rows, em_batch *batch) {
    size_t first;
    for (first = 0; first < rows; first += 4) correct_four(weights + first, first, batch);
}

#define LOAD(row) \
    const float by##row##0 = batch->scores[0][first + row], by##row##1 = batch->scores[1][first + row]; \
    const float by##row##2 = batch->scores[2][first + row], by##row##3 = batch->scores[3][first + row];

#define MOVE(row)                \
    weight = kept * weights[row][i]; \
    weight -= by##row##0 * input[0]; \
    weight -= by##row##1 * input[1]; \
    weight -= by##row##2 * input[2]; \
    weight -= by##row##3 * input[3]; \
    weights[row][i] = weight;

/* Four rows of weights: kept * weights - gradients (in `scores`) times inputs. */
static void move_four(float (*weights)[EM_COLUMNS], size_t first, float kept, const em_batch *batch) {
    LOAD(0)
    LOAD(1)
    LOAD(2)
    LOAD(3)
    size_t i;
    for (i = 0; i < EM_COLUMNS; i++) {
        const float *input = batch->inputs[i];
        float weight;
        MOVE(0)
        MOVE(1)
        MOVE(2)
        MOVE(3)
    }
}

void em_move(float (*weights)[EM_COLUMNS], size_t rows, float kept, const em_batch *batch) {
    size_t first;
    for (first = 0; first < rows; first += 4) move_four(weights + first, first, kept, batch);
}

/* Make of a sample's corrections the gradient of its cross-entropy, times step; 0 where a row was not given. Returns the
 * likelihood of its label. scores: [rows] */
static float differentiate(const em_lesson *lesson, const em_sample *sample, size_t rows, float step, float *scores) {
    int32_t values[EM_ROWS]; /* depths, then powers */
    size_t row, best;
    uint32_t sum;
    float share;
    em_depths(sample->logits, values);
    if (rows > EM_CLASSES) {
        int32_t together;
        em_views views;
        em_view_global(sample->logits, &views);
        together = em_depth_of_all(views.global_sum) + EM_RARE;
        for (row = EM_CLASSES; row < rows; row++) values[row] = lesson->given[row] ? together : EM_FAR_BELOW;
    }
    for (row = 0; row < rows; row++) values[row] += em_depth(scores[row]);
    sum = em_powers(values, rows, &best);
    share = 1.0f / (float)sum;
    for (row = 0; row < rows; row++) scores[row] = lesson->given[row] ? step * ((float)values[row] * share) : 0.0f;
    scores[sample->label] -= step;
    return (float)values[sample->label] * share;
}

float em_differentiate(
    const em_lesson *lesson, size_t stride, size_t start, size_t rows, float step, em_batch *batch) {
    float sum = 0.0f;
    size_t lane;
    for (lane = 0; lane < 4; lane++) {
        const em_sample *sample = sample_at(lesson, stride, start + lane);
        if (sample != NULL) {
            const float likelihood = differentiate(lesson, sample, rows, step, batch->scores[lane]);
            sum += em_log(likelihood > LEAST ? likelihood : LEAST);
        } else {
            memset(batch->scores[lane], 0, sizeof batch->scores[lane]);
        }
    }
    return sum;
}

/* A step through `count` samples that keeps like ones apart: the golden section's (Knuth, 6.4), without a common divisor. */
static size_t golden_stride(size_t count) {
    size_t stride = (count * 618034u + 500000u) / 1000000u;
    if (stride < 1) stride = 1;
    for (;; stride++) {
        size_t a = stride, b = count;
        while (b != 0) {
            const size_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return stride;
    }
}

void em_lengths(const em_batch *batch, float *lengths) {
    size_t lane, i;
    for (lane = 0; lane < 4; lane++) lengths[lane] = 0.0f;
    for (i = 0; i < EM_COLUMNS; i++) {
        for (lane = 0; lane < 4; lane++) lengths[lane] += batch->inputs[i][lane] * batch->inputs[i][lane];
    }
}

static float mean_length(const em_lesson *lesson, em_batch *batch) {
    float sum = 0.0f, lengths[4];
    size_t start;
    for (start = 0; start < lesson->count; start += 4) {
        em_take(lesson, 1, start, batch);
        em_lengths(batch, lengths);
        sum += lengths[0] + lengths[1] + lengths[2] + lengths[3];
    }
    return sum / (float)lesson->count;
}

/* weights: EM_ROWS4 rows, made here; rows: classes and spare symbols. */
void em_fit_local(const em_lesson *lesson, size_t rows, float (*weights)[EM_COLUMNS], em_batch *batch) {
    const float length = mean_length(lesson, batch), count = (float)lesson->count;
    const size_t stride = golden_stride(lesson->count);
    size_t start;
    int epoch;
    memset(weights, 0, EM_ROWS4 * sizeof *weights);
    for (epoch = 0; epoch < EPOCHS; epoch++) {
        const float step = STRIDE / length / (1.0f + (float)epoch / SLOWER);
        for (start = 0; start < lesson->count; start += 4) {
            const size_t left = lesson->count - start, taken = left < 4 ? left : 4;
            em_take(lesson, stride, start, batch);
            em_correct(weights, rows, batch);
            em_differentiate(lesson, stride, start, rows, step, batch);
            em_move(weights, rows, 1.0f - step * (EM_DECAY * (float)taken / count), batch);
        }
    }
}
