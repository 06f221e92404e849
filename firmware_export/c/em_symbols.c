/* Spare symbols: the characters that a user may teach. */
#include "em_pack.h"

#if EM_SPARE > 0

/* What cannot be printed: the first and the last code point of each stretch of control and format characters, spaces,
 * surrogates and private ones (general categories Cc, Cf, Zs, Zl, Zp, Cs and Co of Unicode 15). Python refuses code
 * points that its Unicode has not assigned, too; which those are changes from year to year, and firmware does not. */
static const uint32_t unprintable[][2] = {
    {0x0, 0x20},         {0x7f, 0xa0},        {0xad, 0xad},        {0x600, 0x605},      {0x61c, 0x61c},
    {0x6dd, 0x6dd},      {0x70f, 0x70f},      {0x890, 0x891},      {0x8e2, 0x8e2},      {0x1680, 0x1680},
    {0x180e, 0x180e},    {0x2000, 0x200f},    {0x2028, 0x202f},    {0x205f, 0x206f},    {0x3000, 0x3000},
    {0xd800, 0xf8ff},    {0xfeff, 0xfeff},    {0xfff9, 0xfffb},    {0x110bd, 0x110bd},  {0x110cd, 0x110cd},
    {0x13430, 0x1343f},  {0x1bca0, 0x1bca3},  {0x1d173, 0x1d17a},  {0xe0001, 0xe007f},  {0xf0000, 0xffffffff},
};

int em_can_be_taught(const uint8_t *symbols, size_t index) {
    const uint32_t symbol = em_read32(symbols + 4 * index);
    size_t i;
    for (i = 0; i < sizeof unprintable / sizeof *unprintable; i++) {
        if (symbol >= unprintable[i][0] && symbol <= unprintable[i][1]) return 0;
    }
    for (i = 0; i < EM_CLASSES; i++) {
        if (symbol == em_codepoints[i]) return 0;
    }
    for (i = 0; i < index; i++) {
        if (symbol == em_read32(symbols + 4 * i)) return 0;
    }
    return 1;
}

#else /* a profile of this expert has none */

int em_can_be_taught(const uint8_t *symbols, size_t index) {
    (void)symbols;
    (void)index;
    return 0;
}

#endif
