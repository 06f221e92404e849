/* The DSP extension's instructions that the kernels use, in C: their DSP path then runs, and is sanitized, on a host.
 * Source: Arm C Language Extensions, IHI 0053D, sections 9.4 and 9.5. */
#ifndef ARM_ACLE_H
#define ARM_ACLE_H

#include <stdint.h>

typedef int32_t int16x2_t;
typedef int32_t int8x4_t;

static inline int32_t __smlad(int16x2_t x, int16x2_t y, int32_t sum)
{
    const int64_t low = (int64_t)(int16_t)(x & 0xffff) * (int16_t)(y & 0xffff);
    const int64_t high = (int64_t)(int16_t)((uint32_t)x >> 16) * (int16_t)((uint32_t)y >> 16);
    return (int32_t)(uint32_t)(uint64_t)(low + high + sum);
}

static inline int16x2_t __sxtb16(int8x4_t bytes)
{
    const uint16_t low = (uint16_t)(int8_t)(bytes & 0xff), high = (uint16_t)(int8_t)((uint32_t)bytes >> 16 & 0xff);
    return (int32_t)((uint32_t)low | (uint32_t)high << 16);
}

static inline uint32_t __usat(int32_t value, uint32_t bits)
{
    const int32_t most = (int32_t)((1u << bits) - 1);
    return (uint32_t)(value < 0 ? 0 : value > most ? most : value);
}

#endif
