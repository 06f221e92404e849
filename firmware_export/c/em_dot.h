/* Dot products of codes with small weights: the same integers with the DSP extension and without. */
#ifndef EM_DOT_H
#define EM_DOT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#include <string.h>

/* Four bytes at any address, which these cores load as one word. */
static inline uint32_t em_four(const void *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Bytes 0 and 2 of a word as two halves, signed and not, and bytes 1 and 3: one instruction each. */
#define EM_TURNED(word) ((word) >> 8 | (word) << 24)
#define EM_EVEN(word) __sxtb16((int8x4_t)(word))
#define EM_ODD(word) __sxtb16((int8x4_t)EM_TURNED(word))
#define EM_EVEN_U(word) ((int16x2_t)__uxtb16((uint8x4_t)(word)))
#define EM_ODD_U(word) ((int16x2_t)__uxtb16((uint8x4_t)EM_TURNED(word)))

/* weights . codes, of count each; |sum| < 2**31 for count <= 65,536. */
static inline int32_t em_dot_bytes(const int8_t *weights, const uint8_t *codes, size_t count) {
    int32_t sum = 0;
    size_t i;
    for (i = 0; i + 4 <= count; i += 4) {
        const uint32_t w = em_four(weights + i), c = em_four(codes + i);
        sum = __smlad(EM_EVEN(w), EM_EVEN_U(c), sum);
        sum = __smlad(EM_ODD(w), EM_ODD_U(c), sum);
    }
    for (; i < count; i++) sum += weights[i] * codes[i];
    return sum;
}

/* Put each four sums in the order in which em_dot_sums reads them. */
static inline void em_order_sums(uint16_t *sums, size_t count) {
    size_t i;
    for (i = 0; i < count; i += 4) {
        const uint16_t second = sums[i + 1];
        sums[i + 1] = sums[i + 2];
        sums[i + 2] = second;
    }
}

/* weights . sums, of count each, a multiple of 4; sums below 2**15, ordered. */
static inline int32_t em_dot_sums(const int8_t *weights, const uint16_t *sums, size_t count) {
    int32_t sum = 0;
    size_t i;
    for (i = 0; i < count; i += 4) {
        const uint32_t w = em_four(weights + i);
        sum = __smlad(EM_EVEN(w), (int16x2_t)em_four(sums + i), sum);
        sum = __smlad(EM_ODD(w), (int16x2_t)em_four(sums + i + 2), sum);
    }
    return sum;
}

#else

static inline int32_t em_dot_bytes(const int8_t *weights, const uint8_t *codes, size_t count) {
    int32_t sum = 0;
    size_t i;
    for (i = 0; i < count; i++) sum += weights[i] * codes[i];
    return sum;
}

static inline void em_order_sums(uint16_t *sums, size_t count) {
    (void)sums;
    (void)count;
}

static inline int32_t em_dot_sums(const int8_t *weights, const uint16_t *sums, size_t count) {
    int32_t sum = 0;
    size_t i;
    for (i = 0; i < count; i++) sum += weights[i] * sums[i];
    return sum;
}

#endif
#endif
