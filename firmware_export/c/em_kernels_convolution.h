/* Convolution of a channel-last map, stride 1, with ReLU by clamping and, if wanted, 2x2 max-pooling. */
#ifndef EM_KERNELS_CONVOLUTION_H
#define EM_KERNELS_CONVOLUTION_H

typedef struct { /* all constants */
    int rows, columns, channels; /* of the padded input map */
    int kernel;                  /* rows and columns of the window */
    int outputs;                 /* channels of the result */
    int pool;                    /* 1: a 2x2 max-pool follows */
    int shift, zero, low;        /* em_requantize */
    int of_row, of_position, of_channel; /* int16 from one row, position, channel of the result to the next */
} em_convolution;

/* Pairs of codes in one row of a window; the last is half a pair where their number is odd. */
#define EM_WINDOW_PAIRS(kernel, channels) (((kernel) * (channels) + 1) / 2)
/* The same in whole vectors of eight codes. */
#define EM_WINDOW_CODES(kernel, channels) (((kernel) * (channels) + 7) / 8 * 8)

/* The weights of four channels as int16. weights: [kernel][pairs][2 pairs of channels] words of four bytes: the first
 * code's weight for either channel, then the second one's; wide: [kernel][pairs][4] pairs, or, for Helium,
 * [2 pairs of channels][kernel][vectors][2][8] codes. */
EM_INLINE void em_widen4(const em_convolution *layer, const int8_t *weights, em_pair *wide)
{
    const int pairs = EM_WINDOW_PAIRS(layer->kernel, layer->channels);
#if EM_HELIUM
    const int row = EM_WINDOW_CODES(layer->kernel, layer->channels); /* pairs of two channels */
    for (int i = 0; i < 2 * layer->kernel * row; i++)
        wide[i] = 0;
    for (int y = 0; y < layer->kernel; y++)
        for (int i = 0; i < 2 * pairs; i++, weights += 4) {
            em_pair *first = wide + (i % 2 * layer->kernel + y) * row + i / 8 * 8 + i / 2 % 4;
            first[0] = em_even_bytes(em_load_pair(weights));
            first[4] = em_odd_bytes(em_load_pair(weights));
        }
#else
    for (int i = 0; i < 2 * layer->kernel * pairs; i++) {
        const uint32_t bytes = em_load_pair(weights + 4 * i);
        wide[2 * i] = em_even_bytes(bytes);
        wide[2 * i + 1] = em_odd_bytes(bytes);
    }
#endif
}

/* The accumulators of two neighbouring positions, for four output channels. codes: where the first one's window starts,
 * and next from there to the second one's; weights: of em_widen4; offset: [4]; sums: [position][channel]. */
EM_INLINE void em_window4(const em_convolution *layer, const int16_t *codes, int next, const em_pair *weights,
                          const int32_t *offset, int32_t sums[8])
{
#if EM_HELIUM
    const int row = EM_WINDOW_CODES(layer->kernel, layer->channels);
    const int16_t *w = (const int16_t *)(const void *)weights;
    EM_ROLLED for (int i = 0; i < 4; i += 2) /* two channels at a time: VMLADAVA takes even registers alone */
    {
        const int16_t *at = codes;
        int32_t s0 = offset[i], s1 = offset[i + 1], s4 = s0, s5 = s1;
        EM_ROLLED for (int y = layer->kernel; y > 0; y--, at += layer->columns * layer->channels - row)
            EM_UNROLLED for (int vector = 0; vector < row / 8; vector++)
            {
                int16x8_t here, beside, w0, w1;
                if (EM_ASSEMBLY && next <= 128) /* what the last load's offset may be */
                    __asm__("vldrh.16 %q[here], [%[at]], #16\n\t"
                            "vldrh.16 %q[w0], [%[w]], #16\n\t"
                            "vldrh.16 %q[w1], [%[w]], #16\n\t"
                            "vldrh.16 %q[beside], [%[at], %[next]]\n\t"
                            "vmladava.s16 %[s0], %q[here], %q[w0]\n\t"
                            "vmladava.s16 %[s1], %q[here], %q[w1]\n\t"
                            "vmladava.s16 %[s4], %q[beside], %q[w0]\n\t"
                            "vmladava.s16 %[s5], %q[beside], %q[w1]\n\t"
                            : [s0] "+Te"(s0), [s1] "+Te"(s1), [s4] "+Te"(s4), [s5] "+Te"(s5), [at] "+r"(at),
                              [w] "+r"(w), [here] "=&w"(here), [beside] "=&w"(beside), [w0] "=&w"(w0), [w1] "=&w"(w1)
                            : [next] "i"(2 * next - 16)
                            : "memory");
                else {
                    here = vldrhq_s16(at), beside = vldrhq_s16(at + next), w0 = vldrhq_s16(w), w1 = vldrhq_s16(w + 8);
                    s0 = vmladavaq_s16(s0, here, w0), s1 = vmladavaq_s16(s1, here, w1);
                    s4 = vmladavaq_s16(s4, beside, w0), s5 = vmladavaq_s16(s5, beside, w1);
                    at += 8, w += 16;
                }
            }
        sums[i] = s0, sums[i + 1] = s1, sums[4 + i] = s4, sums[5 + i] = s5;
    }
#else
    const int pairs = EM_WINDOW_PAIRS(layer->kernel, layer->channels);
    const int rest = layer->columns * layer->channels - 2 * pairs; /* from one row of the window to the next */
#if EM_ASSEMBLY
    int32_t s0 = offset[0], s1 = offset[1], s2 = offset[2], s3 = offset[3], s4 = s0, s5 = s1, s6 = s2, s7 = s3;
    uint32_t a, b, v, w; /* with these and the pointers, all 14 registers are in use: 12 instructions for 16 products */
    EM_ROLLED for (int row = layer->kernel; row > 0; row--, codes += rest)
        EM_UNROLLED for (int i = 0; i < pairs; i++)
            __asm__("ldrd %[v], %[w], [%[weights]], #8\n\t"
                    "ldr %[b], [%[codes], %[next]]\n\t"
                    "ldr %[a], [%[codes]], #4\n\t"
                    "smlad %[s0], %[a], %[v], %[s0]\n\t"
                    "smlad %[s1], %[a], %[w], %[s1]\n\t"
                    "smlad %[s4], %[b], %[v], %[s4]\n\t"
                    "smlad %[s5], %[b], %[w], %[s5]\n\t"
                    "ldrd %[v], %[w], [%[weights]], #8\n\t"
                    "smlad %[s2], %[a], %[v], %[s2]\n\t"
                    "smlad %[s3], %[a], %[w], %[s3]\n\t"
                    "smlad %[s6], %[b], %[v], %[s6]\n\t"
                    "smlad %[s7], %[b], %[w], %[s7]\n\t"
                    : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [s4] "+r"(s4), [s5] "+r"(s5),
                      [s6] "+r"(s6), [s7] "+r"(s7), [codes] "+r"(codes), [weights] "+r"(weights), [a] "=&r"(a),
                      [b] "=&r"(b), [v] "=&r"(v), [w] "=&r"(w)
                    : [next] "i"(2 * next)
                    : "memory");
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
#else
    EM_ROLLED for (int i = 0; i < 4; i += 2) /* two channels at a time: more accumulators leave no registers */
    {
        const int16_t *at = codes;
        const em_pair *w = weights + i;
        int32_t s0 = offset[i], s1 = offset[i + 1], s4 = s0, s5 = s1;
        EM_ROLLED for (int row = layer->kernel; row > 0; row--, at += rest)
            EM_ROLLED for (int pair = 0; pair < pairs; pair++, at += 2, w += 4)
            {
                const em_pair here = em_load_pair(at), beside = em_load_pair(at + next);
                s0 = em_multiply_add(here, w[0], s0);
                s1 = em_multiply_add(here, w[1], s1);
                s4 = em_multiply_add(beside, w[0], s4);
                s5 = em_multiply_add(beside, w[1], s5);
            }
        sums[i] = s0, sums[i + 1] = s1, sums[4 + i] = s4, sums[5 + i] = s5;
    }
#endif
#endif
}

/* Four output channels, or the last few. weights, wide: of em_widen4; offset, multiplier: [4]; here: how many of the
 * four there are; result: where its first channel is. */
EM_INLINE void em_convolve4(const em_convolution *layer, const int16_t *map, const int8_t *weights,
                            const int32_t *offset, const int32_t *multiplier, int here, em_pair *wide, int16_t *result)
{
    const int step = 1 + layer->pool;
    const int rows = layer->rows - layer->kernel + 1, columns = layer->columns - layer->kernel + 1;
    const int next = columns > 1 ? layer->channels : 0; /* from one position's codes to its neighbour's */
    em_widen4(layer, weights, wide);
    EM_ROLLED for (int y = 0; y + step <= rows; y += step)
    {
        EM_ROLLED for (int x = 0; x + step <= columns; x += 2)
        {
            /* an odd last position goes with the one before it, computed again */
            const int at = layer->pool || x + 2 <= columns || columns == 1 ? x : x - 1;
            int16_t *to = result + y / step * layer->of_row + at / step * layer->of_position;
            int32_t sums[8], best[4] = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
            EM_ROLLED for (int row = y; row < y + step; row++)
            {
                em_window4(layer, map + (row * layer->columns + at) * layer->channels, next, wide, offset, sums);
                best[0] = em_greater(best[0], em_greater(sums[0], sums[4]));
                best[1] = em_greater(best[1], em_greater(sums[1], sums[5]));
                best[2] = em_greater(best[2], em_greater(sums[2], sums[6]));
                best[3] = em_greater(best[3], em_greater(sums[3], sums[7]));
            }
            for (int channel = 0; channel < here; channel++, to += layer->of_channel) {
                const int32_t by = multiplier[channel], sum = layer->pool ? best[channel] : sums[channel];
                to[0] = em_requantize(sum, by, layer->shift, layer->zero, layer->low);
                if (!layer->pool && columns > 1)
                    to[layer->of_position] =
                        em_requantize(sums[4 + channel], by, layer->shift, layer->zero, layer->low);
            }
        }
    }
}

/* map: [rows][columns][channels], and 8 codes more; weights: of em_widen4, a block for each four channels, the last one
 * filled up with zeros; offset, multiplier: [outputs], filled up to a multiple of 4; wide: room for
 * 2 * kernel * EM_WINDOW_CODES pairs. */
EM_INLINE void em_convolve(const em_convolution layer, const int16_t *map, const int8_t *weights,
                           const int32_t *offset, const int32_t *multiplier, em_pair *wide, int16_t *result)
{
    const int whole = layer.outputs / 4 * 4, block = 8 * layer.kernel * EM_WINDOW_PAIRS(layer.kernel, layer.channels);
    EM_ROLLED for (int output = 0; output < layer.outputs; output += 4)
        em_convolve4(&layer, map, weights + output / 4 * block, offset + output, multiplier + output,
                     output < whole ? 4 : layer.outputs - whole, wide, result + output * layer.of_channel);
}

#endif
