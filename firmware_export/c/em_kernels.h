/* The kernels of the global expert: int8 weights, codes of activations as int16, int32 accumulators.
 *
 * The sizes of convolutions are constants where em_network.c calls their kernels, and these are inlined there, so the
 * compiler sees every size; dense layers share one function. Kernels are written for the DSP extension's SMLAD, which
 * adds two products of int16, and for Helium's VMLADAVA, which adds eight; where there is neither, the same code runs on
 * portable C. The results are the same bits on every target, and firmware_export/reference.py specifies them.
 *
 * Maps of codes are stored position by position with all channels of a position in a row (channel-last), so that the
 * window of a convolution is a few runs of consecutive int16, read in pairs.
 */
#ifndef EM_KERNELS_H
#define EM_KERNELS_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "pairs of int16 are read as one word, little-endian"
#endif

#if defined(__GNUC__)
#define EM_INLINE static inline __attribute__((always_inline, unused))
#define EM_ALIGNED __attribute__((aligned(8)))
#if defined(__clang__)
#define EM_SHARED static __attribute__((noinline, unused))
#else
#define EM_SHARED static __attribute__((noinline, noclone, unused))
#endif
#define EM_ROLLED _Pragma("GCC unroll 1")
#define EM_UNROLLED _Pragma("GCC unroll 16")
#else
#define EM_INLINE static inline
#define EM_ALIGNED
#define EM_SHARED static
#define EM_ROLLED
#define EM_UNROLLED
#endif

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define EM_DSP 1
#else
#define EM_DSP 0
#endif

#if defined(__ARM_FEATURE_SAT) && __ARM_FEATURE_SAT
#include <arm_acle.h>
#define EM_SATURATE 1
#else
#define EM_SATURATE 0
#endif

#if defined(__ARM_FEATURE_MVE) && __ARM_FEATURE_MVE
#include <arm_mve.h>
#define EM_HELIUM 1
#else
#define EM_HELIUM 0
#endif

/* The innermost loops once more in assembly, for compilers that run out of registers: GCC 12 needs 1.8 times the
 * instructions. They take all registers that optimization leaves free; define EM_NO_ASSEMBLY where a frame pointer or
 * position-independent data keeps one. */
#if EM_DSP && defined(__thumb2__) && !defined(EM_NO_ASSEMBLY)
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#define EM_ASSEMBLY 1
#endif
#endif
#ifndef EM_ASSEMBLY
#define EM_ASSEMBLY 0
#endif

/* Two int16, the first one in the lower half. */
typedef uint32_t em_pair;

EM_INLINE em_pair em_load_pair(const void *two) /* of any alignment */
{
    em_pair pair;
    memcpy(&pair, two, sizeof pair);
    return pair;
}

EM_INLINE int16_t em_low(em_pair pair)
{
    return (int16_t)(uint16_t)pair;
}

EM_INLINE int16_t em_high(em_pair pair)
{
    return (int16_t)(uint16_t)(pair >> 16);
}

/* sum + x0 * y0 + x1 * y1, which has to fit. */
EM_INLINE int32_t em_multiply_add(em_pair x, em_pair y, int32_t sum)
{
#if EM_DSP
    return __smlad((int16x2_t)x, (int16x2_t)y, sum);
#else
    return sum + em_low(x) * em_low(y) + em_high(x) * em_high(y);
#endif
}

/* The same modulo 2**32. */
EM_INLINE int32_t em_multiply_wrap(em_pair x, em_pair y, int32_t sum)
{
#if EM_DSP
    return __smlad((int16x2_t)x, (int16x2_t)y, sum);
#else
    return (int32_t)((uint32_t)sum + (uint32_t)(em_low(x) * em_low(y)) + (uint32_t)(em_high(x) * em_high(y)));
#endif
}

/* The signed bytes 0 and 2 of a word as a pair. */
EM_INLINE em_pair em_even_bytes(uint32_t bytes)
{
#if EM_DSP
    return (em_pair)__sxtb16((int8x4_t)bytes);
#else
    return (em_pair)(uint16_t)(int8_t)(uint8_t)bytes | (em_pair)(uint16_t)(int8_t)(uint8_t)(bytes >> 16) << 16;
#endif
}

/* The signed bytes 1 and 3. */
EM_INLINE em_pair em_odd_bytes(uint32_t bytes)
{
    return em_even_bytes(bytes >> 8 | bytes << 24);
}

/* The code of an accumulator: its product with the multiplier divided by 2**shift, rounded half up, plus the zero
 * point, within [low, 255]. 33 <= shift <= 54; 0 <= multiplier; 0 <= low <= zero <= 255. */
EM_INLINE int16_t em_requantize(int32_t sum, int32_t multiplier, int shift, int zero, int low)
{
    const int rest = shift - 32;
    const int32_t rounding = (int32_t)1 << (rest - 1), offset = (int32_t)zero << rest;
    const int32_t upper = (int32_t)(uint32_t)((uint64_t)((int64_t)sum * multiplier) >> 32) + (rounding + offset);
#if EM_SATURATE
    const int32_t code = (int32_t)__usat(upper >> rest, 8);
#else
    const int32_t code = upper < 0 ? 0 : upper >> rest > 255 ? 255 : upper >> rest;
#endif
    return (int16_t)(low > 0 && code < low ? low : code);
}

EM_INLINE int32_t em_greater(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* codes: count of them, as a map or vector has them; bytes: the same as uint8. */
EM_INLINE void em_narrow(const int16_t *codes, int count, uint8_t *bytes)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)codes[i];
}

/* map: count codes, all set to the value. */
EM_INLINE void em_fill(int16_t *map, int count, int value)
{
    for (int i = 0; i < count; i++)
        map[i] = (int16_t)value;
}

#include "em_kernels_convolution.h"
#include "em_kernels_dense.h"
#include "em_kernels_image.h"

#endif
