/* Dot products of codes with small weights: the same integers with the DSP extension and without. */
#ifndef EM_DOT_H
#define EM_DOT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#define EM_UNROLL _Pragma("clang loop unroll_count(4)")
#define EM_UNROLL_ALL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define EM_UNROLL _Pragma("GCC unroll 4")
#define EM_UNROLL_ALL _Pragma("GCC unroll 8")
#else
#define EM_UNROLL
#define EM_UNROLL_ALL
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#include <string.h>

/* Four bytes at any address, which these cores load as one word. */
static inline uint32_t em_four(const void *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

/* Bytes 1 and 3 of a word as two halves, signed and not. The intrinsics know no rotated operand: a second instruction. */
static inline int16x2_t em_odd(uint32_t word) {
    int16x2_t halves;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

static inline int16x2_t em_odd_unsigned(uint32_t word) {
    int16x2_t halves;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(word));
    return halves;
}

#define EM_EVEN(word) __sxtb16((int8x4_t)(word)) /* bytes 0 and 2 */
#define EM_EVEN_UNSIGNED(word) ((int16x2_t)__uxtb16((uint8x4_t)(word)))

/* weights . codes, of count each; |sum| < 2**31 for count <= 65,536. */
static inline int32_t em_dot_bytes(const int8_t *weights, const uint8_t *codes, size_t count) {
    int32_t sum = 0;
    size_t i;
    EM_UNROLL
    for (i = 0; i + 4 <= count; i += 4) {
        const uint32_t w = em_four(weights + i), c = em_four(codes + i);
        sum = __smlad(EM_EVEN(w), EM_EVEN_UNSIGNED(c), sum);
        sum = __smlad(em_odd(w), em_odd_unsigned(c), sum);
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

/* Four rows of weights, each . sums, of count each, a multiple of 4; sums below 2**15, ordered. weights: the first row,
 * the others stride codes apart; dots: four. */
static inline void em_dot_sums(
    const int8_t *weights, size_t stride, const uint16_t *sums, size_t count, int32_t *dots) {
    int32_t a = 0, b = 0, c = 0, d = 0;
    size_t i;
    EM_UNROLL
    for (i = 0; i < count; i += 4) {
        const int16x2_t even = (int16x2_t)em_four(sums + i), odd = (int16x2_t)em_four(sums + i + 2);
        const uint32_t first = em_four(weights + i), second = em_four(weights + stride + i);
        const uint32_t third = em_four(weights + 2 * stride + i), fourth = em_four(weights + 3 * stride + i);
        a = __smlad(em_odd(first), odd, __smlad(EM_EVEN(first), even, a));
        b = __smlad(em_odd(second), odd, __smlad(EM_EVEN(second), even, b));
        c = __smlad(em_odd(third), odd, __smlad(EM_EVEN(third), even, c));
        d = __smlad(em_odd(fourth), odd, __smlad(EM_EVEN(fourth), even, d));
    }
    dots[0] = a;
    dots[1] = b;
    dots[2] = c;
    dots[3] = d;
}

#else

static inline int32_t em_dot_bytes(const int8_t *weights, const uint8_t *codes, size_t count) {
    int32_t sum = 0;
    size_t i;
    EM_UNROLL
    for (i = 0; i < count; i++) sum += weights[i] * codes[i];
    return sum;
}

static inline void em_order_sums(uint16_t *sums, size_t count) {
    (void)sums;
    (void)count;
}

static inline void em_dot_sums(
    const int8_t *weights, size_t stride, const uint16_t *sums, size_t count, int32_t *dots) {
    size_t row, i;
    for (row = 0; row < 4; row++, weights += stride) {
        int32_t sum = 0;
        EM_UNROLL
        for (i = 0; i < count; i++) sum += weights[i] * sums[i];
        dots[row] = sum;
    }
}

#endif
#endif
