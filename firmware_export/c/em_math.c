/* The few functions that probabilities and profiles need, with the same bits on every target: integers where that is
 * quicker on cores without a floating-point unit, else single float32 operations, which IEEE 754 rounds alike. */
#include "em_internal.h"

#include <string.h>

#define LARGEST 0x7f7fffffu    /* float32's largest number */
#define SMALLEST 0x00800000u   /* its smallest normal one */
#define INFINITE 0x7f800000u
#define ROOT_HALF 0x3f3504f3u  /* sqrt(1/2) */
#define LOG2_E 0xb8aa3b29u     /* log2(e), 31 bits behind the point */
#define LN2_HIGH 0.69314575f   /* 22713 / 2**15: an exponent's multiple of it is exact */
#define LN2_LOW 1.4286068e-6f  /* the rest of ln 2 */

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The upper half of a product. */
static uint32_t upper(uint32_t a, uint32_t b) { return (uint32_t)(((uint64_t)a * b) >> 32); }

/* 2**f with 31 bits behind the point, for f in [0, 1) with 32, right within 2**-29.6: 2**(n / 32) from a table, and for
 * the rest the cubic 1 + r (a + r (b + r c)) whose largest relative error is least. */
static inline uint32_t power_of_two(uint32_t f) {
    static const uint32_t table[32] = {
        0x80000000u, 0x82cd8699u, 0x85aac368u, 0x88980e81u, 0x8b95c1e4u, 0x8ea4398bu, 0x91c3d374u, 0x94f4efa9u,
        0x9837f052u, 0x9b8d39bau, 0x9ef53261u, 0xa2704303u, 0xa5fed6aau, 0xa9a15ab5u, 0xad583eeau, 0xb123f582u,
        0xb504f334u, 0xb8fbaf47u, 0xbd08a39fu, 0xc12c4ccau, 0xc5672a11u, 0xc9b9bd86u, 0xce248c15u, 0xd2a81d92u,
        0xd744fccbu, 0xdbfbb798u, 0xe0ccdeecu, 0xe5b906e7u, 0xeac0c6e8u, 0xefe4b99cu, 0xf5257d15u, 0xfa83b2dbu,
    };
    const uint32_t rest = f << 5;
    const uint32_t more = upper(rest, 0x058b90c7u + upper(rest, 0x000f5fb3u + upper(rest, 0x1cb7u)));
    return table[f >> 27] + upper(table[f >> 27], more);
}

uint32_t em_powers(int32_t *values, size_t count, size_t *shallowest) {
    int32_t least = values[0];
    uint32_t sum = 0;
    size_t i;
    *shallowest = 0;
    for (i = 1; i < count; i++) {
        if (values[i] < least) {
            least = values[i];
            *shallowest = i;
        }
    }
    for (i = 0; i < count; i++) {
        const uint32_t depth = (uint32_t)values[i] - (uint32_t)least;
        const uint32_t whole = (depth + 0xfffffu) >> 20; /* 2**-depth = 2**fraction / 2**whole */
        const uint32_t power = whole > 25 ? 0 : power_of_two((0u - depth) << 12) >> (6 + whole);
        values[i] = (int32_t)power;
        sum += power;
    }
    return sum;
}

/* e**x within one unit in the last place; 0 where that is below the smallest normal number, the largest number where it
 * is above it. Integers alone: about 50 instructions, on cores without a floating-point unit too. */
float em_exp(float x) {
    const uint32_t bits = bits_of(x);
    const int exponent = (int)(bits >> 23 & 0xff) - 127;
    const int negative = (int)(bits >> 31);
    uint32_t size = (bits & 0x7fffffu) | 0x800000u; /* |x|, with 24 bits behind the point */
    uint64_t power;                                 /* |x| log2(e), with 55 */
    int whole;
    uint32_t result;
    if (exponent > 6) return negative ? 0.0f : float_of(LARGEST);
    if (exponent < -25) return 1.0f;
    size = exponent >= -1 ? size << (exponent + 1) : ((size >> (-2 - exponent)) + 1) >> 1;
    power = (uint64_t)size * LOG2_E;
    if (negative) power = 0 - power;
    whole = (int)(power >> 55) - (negative && power ? 512 : 0);
    if (whole < -126) return 0.0f;
    if (whole > 127) return float_of(LARGEST);
    result = power_of_two((uint32_t)(power >> 23));
    result = ((uint32_t)(whole + 126) << 23) + (result >> 8) + (result >> 7 & 1u); /* its leading 1 makes 126 127 */
    return float_of(result > LARGEST ? LARGEST : result);
}

/* The natural logarithm within three units in the last place. Of less than the smallest normal number, of negative
 * numbers and of NaN it is that number's, of infinity the largest one's. */
float em_log(float x) {
    uint32_t bits = bits_of(x);
    uint32_t shifted;
    float exponent, fraction, ratio, square, series;
    if (bits == INFINITE) bits = LARGEST;
    if (bits < SMALLEST || bits > LARGEST) bits = SMALLEST;
    shifted = bits - ROOT_HALF + (127u << 23); /* x = 2**exponent * fraction, fraction in [sqrt(1/2), sqrt(2)) */
    exponent = (float)((int)(shifted >> 23) - 127);
    fraction = float_of((shifted & 0x7fffffu) + ROOT_HALF);
    /* log(fraction) = 2 artanh(ratio), whose series in ratio**2 <= 0.0295 needs four terms after the first. */
    ratio = (fraction - 1.0f) / (fraction + 1.0f);
    square = ratio * ratio;
    series = square * (1.0f / 9);
    series = square * (series + 1.0f / 7);
    series = square * (series + 1.0f / 5);
    series = square * (series + 1.0f / 3);
    ratio += ratio;
    return exponent * LN2_HIGH + (ratio + (ratio * series + exponent * LN2_LOW));
}

/* The value of an IEEE 754 half-precision number. */
float em_half_to_float(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1fu;
    const uint32_t mantissa = half & 0x3ffu;
    if (exponent == 31) return float_of(sign | INFINITE | mantissa << 13);
    if (exponent == 0) return float_of(sign | bits_of((float)mantissa * (1.0f / 16777216))); /* subnormal: 2**-24 */
    return float_of(sign | ((exponent + 112) << 23) | mantissa << 13);
}

/* The nearest half-precision number, of two the even one; infinity from 65,520 on. */
uint16_t em_float_to_half(float value) {
    const uint32_t bits = bits_of(value);
    const uint32_t size = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t shift = 13, mantissa = size - (112u << 23);
    if (size > INFINITE) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (size < 113u << 23) { /* subnormal: a multiple of 2**-24 */
        shift = 126 - (size >> 23);
        if (shift > 24) return (uint16_t)sign;
        mantissa = (size & 0x7fffffu) | 0x800000u;
    }
    mantissa += (1u << (shift - 1)) - 1 + (mantissa >> shift & 1u); /* up from the half, but from an even number */
    return (uint16_t)(sign | mantissa >> shift);
}
