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

/* Four samples' sums, of one row. */
typedef struct {
    float a, b, c, d;
} four;

static inline void add(four *sums, float weight, const float *inputs) {
    sums->a = em_plus_product(sums->a, weight, inputs[0]);
    sums->b = em_plus_product(sums->b, weight, inputs[1]);
    sums->c = em_plus_product(sums->c, weight, inputs[2]);
    sums->d = em_plus_product(sums->d, weight, inputs[3]);
}

static inline void store(const four *sums, float (*scores)[EM_ROWS4], size_t row) {
    scores[0][row] = sums->a;
    scores[1][row] = sums->b;
    scores[2][row] = sums->c;
    scores[3][row] = sums->d;
}

void em_correct(float (*weights)[EM_COLUMNS], size_t rows, em_batch *batch) {
    size_t row, i;
    for (row = 0; row < rows; row += 4, weights += 4) {
        four first = {0.0f, 0.0f, 0.0f, 0.0f}, second = first, third = first, fourth = first;
        EM_UNROLL
        for (i = 0; i < EM_COLUMNS; i++) {
            const float *inputs = batch->inputs[i];
            add(&first, weights[0][i], inputs);
            add(&second, weights[1][i], inputs);
            add(&third, weights[2][i], inputs);
            add(&fourth, weights[3][i], inputs);
        }
        store(&first, batch->scores, row);
        store(&second, batch->scores, row + 1);
        store(&third, batch->scores, row + 2);
        store(&fourth, batch->scores, row + 3);
    }
}

static inline four load(const float *a, size_t stride) {
    const four values = {a[0], a[stride], a[2 * stride], a[3 * stride]};
    return values;
}

static inline float moved(float weight, const four *gradients, const four *inputs) {
    weight = em_less_product(weight, gradients->a, inputs->a);
    weight = em_less_product(weight, gradients->b, inputs->b);
    weight = em_less_product(weight, gradients->c, inputs->c);
    return em_less_product(weight, gradients->d, inputs->d);
}

/* Four rows. kept: what the weights are multiplied by, if shrinks. */
static inline void move_four(float (*weights)[EM_COLUMNS], const float *gradients, int shrinks, float kept,
                             const em_batch *batch) {
    const four first = load(gradients, EM_ROWS4), second = load(gradients + 1, EM_ROWS4);
    const four third = load(gradients + 2, EM_ROWS4), fourth = load(gradients + 3, EM_ROWS4);
    size_t i;
    EM_UNROLL
    for (i = 0; i < EM_COLUMNS; i++) {
        const four inputs = load(batch->inputs[i], 1); /* before any weight is stored: nobody knows them apart */
        four column = load(weights[0] + i, EM_COLUMNS);
        if (shrinks) column.a *= kept, column.b *= kept, column.c *= kept, column.d *= kept;
        weights[0][i] = moved(column.a, &first, &inputs);
        weights[1][i] = moved(column.b, &second, &inputs);
        weights[2][i] = moved(column.c, &third, &inputs);
        weights[3][i] = moved(column.d, &fourth, &inputs);
    }
}

void em_move(float (*weights)[EM_COLUMNS], size_t rows, const float *kept, const em_batch *batch) {
    size_t row;
    for (row = 0; row < rows; row += 4, weights += 4) {
        if (kept != NULL) {
            move_four(weights, batch->scores[0] + row, 1, *kept, batch);
        } else {
            move_four(weights, batch->scores[0] + row, 0, 1.0f, batch);
        }
    }
}

/* Make of a sample's corrections the gradient of its cross-entropy, times step; 0 where a row was not given. Returns the
 * likelihood of its label. scores: [rows] */
static float differentiate(const em_lesson *lesson, const em_sample *sample, size_t rows, float step, float *scores) {
    int32_t values[EM_ROWS]; /* depths, counted down from the logit 0, then powers */
    size_t row, best;
    uint32_t sum;
    float share;
    EM_UNROLL
    for (row = 0; row < EM_CLASSES; row++) {
        values[row] = em_depth(em_plus_product(scores[row], EM_LOGIT_STEP, (float)sample->logits[row]));
    }
    if (rows > EM_CLASSES) {
        em_views views;
        const size_t top = em_view_global(sample->logits, &views);
        const int32_t base = em_depth(EM_LOGIT_STEP * (float)sample->logits[top]) + em_depth_of_all(views.global_sum);
        for (row = EM_CLASSES; row < rows; row++) {
            values[row] = (lesson->given[row] ? base + EM_RARE : EM_FAR_BELOW) + em_depth(scores[row]);
        }
    }
    sum = em_powers(values, rows, &best);
    share = step / (float)sum;
    EM_UNROLL
    for (row = 0; row < rows; row++) scores[row] = lesson->given[row] ? share * (float)values[row] : 0.0f;
    scores[sample->label] -= step;
    return (float)values[sample->label] / (float)sum;
}

/* Gradients in the place of four samples' scores; returns their likelihoods' logarithms together. */
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
            float kept;
            em_take(lesson, stride, start, batch);
            em_correct(weights, rows, batch);
            em_differentiate(lesson, stride, start, rows, step, batch);
            kept = 1.0f - step * (EM_DECAY * (float)taken / count);
            em_move(weights, rows, &kept, batch);
        }
    }
}
