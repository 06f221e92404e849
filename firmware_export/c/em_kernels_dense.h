/* Dense layers: four rows at a time, each weight read once.
 *
 * Two rows share their int16: w = first + 256 * second. One SMLAD of two such and two codes adds to a sum that holds
 * first row + 256 * second row; another one of their even bytes adds to the first row's alone. Their difference is 256
 * times the second row's sum, modulo 2**32: right as long as that fits 24 bits with its sign, which the export sees to.
 * So 4 products cost 2 SMLAD and one SXTB16, where unpacking both rows would cost two.
 */
#ifndef EM_KERNELS_DENSE_H
#define EM_KERNELS_DENSE_H

/* codes: [4 * quads]; weights: [quads][2 pairs][4: rows 0 and 1 of either code, rows 2 and 3 of either code];
 * sums: [row 0, rows 0 and 1, row 2, rows 2 and 3]. */
EM_INLINE void em_rows4(const int16_t *codes, const int16_t *weights, int quads, int32_t sums[4])
{
#if EM_ASSEMBLY
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t a, b, v, w, even;
#define EM_HALF(code)                                                                                                  \
    "ldrd %[v], %[w], [%[weights]], #8\n\t"                                                                            \
    "sxtb16 %[even], %[v]\n\t"                                                                                         \
    "smlad %[s1], " code ", %[v], %[s1]\n\t"                                                                           \
    "smlad %[s0], " code ", %[even], %[s0]\n\t"                                                                        \
    "sxtb16 %[even], %[w]\n\t"                                                                                         \
    "smlad %[s3], " code ", %[w], %[s3]\n\t"                                                                           \
    "smlad %[s2], " code ", %[even], %[s2]\n\t"
#define EM_ROWS4(times)                                                                                                \
    __asm__(".rept %c[count]\n\t"                                                                                      \
            "ldrd %[a], %[b], [%[codes]], #8\n\t" EM_HALF("%[a]") EM_HALF("%[b]") ".endr"                              \
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [codes] "+r"(codes),                         \
              [weights] "+r"(weights), [a] "=&r"(a), [b] "=&r"(b), [v] "=&r"(v), [w] "=&r"(w), [even] "=&r"(even)      \
            : [count] "i"(times)                                                                                       \
            : "memory")
    for (int i = 0; i < quads / 4; i++)
        EM_ROWS4(4);
    EM_ROWS4(quads % 4);
#undef EM_ROWS4
#undef EM_HALF
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (int i = 0; i < 2 * quads; i++) {
        const em_pair code = em_load(codes + 2 * i);
        for (int two = 0; two < 4; two += 2) {
            const em_pair both = em_load(weights + 4 * i + two);
            sums[two] = em_multiply_add(code, em_even_bytes(both), sums[two]);
            sums[two + 1] = em_multiply_add(code, both, sums[two + 1]);
        }
    }
#endif
}

/* codes: [inputs], filled up with any codes to a multiple of 4, aligned to 4; weights: blocks of em_rows4, the last one
 * filled up with zeros, aligned to 4; offset, multiplier: [outputs]; result: [outputs]. */
EM_INLINE void em_multiply(const int16_t *codes, int inputs, const int16_t *weights, int outputs, const int32_t *offset,
                           const int32_t *multiplier, int shift, int zero, int low, int16_t *result)
{
    const int quads = (inputs + 3) / 4;
    for (int row = 0; row < outputs; row += 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        em_rows4(codes, weights + 2 * row * quads, quads, sums);
        for (int i = 0; i < 4 && row + i < outputs; i++) {
            const int32_t first = sums[i / 2 * 2];
            /* a multiple of 256, which division takes exactly */
            const int32_t sum = i % 2 ? (int32_t)((uint32_t)sums[i / 2 * 2 + 1] - (uint32_t)first) / 256 : first;
            result[row + i] = em_requantize(sum + offset[row + i], multiplier[row + i], shift, zero, low);
        }
    }
}

/* A layer whose weights share 16 values. table: 256 words, made here; palette: [16]; bytes: blocks of
 * [pairs of inputs][4 rows], each byte the codes of two weights, the first in the lower half. */
EM_INLINE void em_multiply_palette(const int16_t *codes, int inputs, const uint8_t *bytes, const int8_t *palette,
                                   int outputs, const int32_t *offset, const int32_t *multiplier, int shift, int zero,
                                   int low, em_pair *table, int16_t *result)
{
    const int pairs = (inputs + 1) / 2;
    for (int byte = 0; byte < 256; byte++)
        table[byte] = (em_pair)(uint16_t)palette[byte % 16] | (em_pair)(uint16_t)palette[byte / 16] << 16;
    for (int row = 0; row < outputs; row += 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        const int16_t *code = codes;
        EM_UNROLL for (int i = 0; i < pairs; i++)
        {
            const em_pair two = em_load(code);
            sums[0] = em_multiply_add(two, table[bytes[0]], sums[0]);
            sums[1] = em_multiply_add(two, table[bytes[1]], sums[1]);
            sums[2] = em_multiply_add(two, table[bytes[2]], sums[2]);
            sums[3] = em_multiply_add(two, table[bytes[3]], sums[3]);
            code += 2;
            bytes += 4;
        }
        for (int i = 0; i < 4 && row + i < outputs; i++)
            result[row + i] = em_requantize(sums[i] + offset[row + i], multiplier[row + i], shift, zero, low);
    }
}

#endif
