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
EM_INLINE void em_rows4(const int16_t *codes, const int16_t *weights, unsigned quads, int32_t sums[4])
{
#if EM_HELIUM
    for (unsigned i = 0; i < quads; i += 2, codes += 8, weights += 16) {
        /* codes behind the last are 0 here: the weights there are the next rows', or what fills the array up */
        const mve_pred16_t there = vctp16q(4 * (quads - i));
        const int16x8_t code = vldrhq_z_s16(codes, there);
        const uint32x4x2_t both = vld2q_u32((const uint32_t *)(const void *)weights);
        const int16x8_t first = vreinterpretq_s16_u32(both.val[0]), second = vreinterpretq_s16_u32(both.val[1]);
        sums[0] = vmladavaq_s16(sums[0], code, vmovlbq_s8(vreinterpretq_s8_s16(first)));
        sums[1] = vmladavaq_s16(sums[1], code, first);
        sums[2] = vmladavaq_s16(sums[2], code, vmovlbq_s8(vreinterpretq_s8_s16(second)));
        sums[3] = vmladavaq_s16(sums[3], code, second);
    }
#elif EM_ASSEMBLY
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t a, b, v, w, even;
#define EM_PAIR4(code)                                                                                                 \
    "ldrd %[v], %[w], [%[weights]], #8\n\t"                                                                            \
    "sxtb16 %[even], %[v]\n\t"                                                                                         \
    "smlad %[s1], " code ", %[v], %[s1]\n\t"                                                                           \
    "smlad %[s0], " code ", %[even], %[s0]\n\t"                                                                        \
    "sxtb16 %[even], %[w]\n\t"                                                                                         \
    "smlad %[s3], " code ", %[w], %[s3]\n\t"                                                                           \
    "smlad %[s2], " code ", %[even], %[s2]\n\t"
#define EM_QUAD4 "ldrd %[a], %[b], [%[codes]], #8\n\t" EM_PAIR4("%[a]") EM_PAIR4("%[b]")
#define EM_ROWS4(quads_of_it)                                                                                          \
    __asm__(quads_of_it                                                                                                \
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [codes] "+r"(codes),                         \
              [weights] "+r"(weights), [a] "=&r"(a), [b] "=&r"(b), [v] "=&r"(v), [w] "=&r"(w), [even] "=&r"(even)      \
            :                                                                                                          \
            : "memory")
    if (quads % 2)
        EM_ROWS4(EM_QUAD4);
    for (unsigned i = quads / 2; i > 0; i--)
        EM_ROWS4(EM_QUAD4 EM_QUAD4);
#undef EM_ROWS4
#undef EM_QUAD4
#undef EM_PAIR4
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (unsigned i = 0; i < 2 * quads; i++) {
        const em_pair code = em_load_pair(codes + 2 * i);
        for (int two = 0; two < 4; two += 2) {
            const em_pair both = em_load_pair(weights + 4 * i + two);
            sums[two] = em_multiply_add(code, em_even_bytes(both), sums[two]);
            sums[two + 1] = em_multiply_wrap(code, both, sums[two + 1]);
        }
    }
#endif
}

typedef struct {
    int inputs, outputs;
    int shift, zero, low;      /* em_requantize */
    const void *weights;       /* of em_multiply or em_multiply_palette */
    const int8_t *palette;     /* [16], or NULL */
    const int32_t *offset;     /* [outputs]: what accumulators start with */
    const int32_t *multiplier; /* [outputs] */
} em_dense;

/* The second row's sum, of 24 bits, from the first one's and that of first + 256 * second. */
EM_INLINE int32_t em_second_row(int32_t first, int32_t both)
{
    return (int32_t)((uint32_t)both - (uint32_t)first) / 256; /* exact: it is a multiple */
}

EM_INLINE void em_finish_rows4(const em_dense *layer, int row, const int32_t sums[4], int16_t *result)
{
    for (int i = 0; i < 4 && row + i < layer->outputs; i++) {
        const int32_t sum = sums[i] + layer->offset[row + i];
        result[row + i] = em_requantize(sum, layer->multiplier[row + i], layer->shift, layer->zero, layer->low);
    }
}

/* codes: [inputs], filled up with any codes to a multiple of 4, aligned to 4; weights: blocks of em_rows4, the last one
 * filled up with zeros, aligned to 4; result: [outputs]. */
EM_SHARED void em_multiply(const em_dense *layer, const int16_t *codes, int16_t *result)
{
    const unsigned quads = ((unsigned)layer->inputs + 3) / 4;
    const int16_t *weights = (const int16_t *)layer->weights;
    EM_ROLLED for (int row = 0; row < layer->outputs; row += 4)
    {
        int32_t sums[4] = {0, 0, 0, 0};
        em_rows4(codes, weights, quads, sums);
        weights += 8 * quads;
        sums[1] = em_second_row(sums[0], sums[1]);
        sums[3] = em_second_row(sums[2], sums[3]);
        em_finish_rows4(layer, row, sums, result);
    }
}

/* A layer whose weights share 16 values. weights: blocks of [pairs of inputs][4 rows], each byte the codes of two
 * weights, the first in the lower half; table: 256 words, made here. */
EM_SHARED void em_multiply_palette(const em_dense *layer, const int16_t *codes, em_pair *table, int16_t *result)
{
    const int pairs = (layer->inputs + 1) / 2;
    const uint8_t *bytes = (const uint8_t *)layer->weights;
    for (int byte = 0; byte < 256; byte++)
        table[byte] = (em_pair)(uint16_t)layer->palette[byte % 16] | (em_pair)(uint16_t)layer->palette[byte / 16] << 16;
    EM_ROLLED for (int row = 0; row < layer->outputs; row += 4)
    {
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        const int16_t *code = codes;
        for (const uint8_t *const end = bytes + 4 * pairs; bytes != end; bytes += 4, code += 2) {
            const em_pair two = em_load_pair(code);
            s0 = em_multiply_add(two, table[bytes[0]], s0);
            s1 = em_multiply_add(two, table[bytes[1]], s1);
            s2 = em_multiply_add(two, table[bytes[2]], s2);
            s3 = em_multiply_add(two, table[bytes[3]], s3);
        }
        const int32_t sums[4] = {s0, s1, s2, s3};
        em_finish_rows4(layer, row, sums, result);
    }
}

#endif
