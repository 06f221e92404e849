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
/* Words of the widened weights of 4 channels. */
#define EM_WIDENED(kernel, channels) (4 * (kernel) * EM_WINDOW_PAIRS(kernel, channels))

/* One row of the windows of two neighbouring positions, for four output channels.
 * codes: 2 * pairs, and step more; weights: [pairs][4]; sums: [position 0, 1][channel 0 to 3]. */
EM_INLINE void em_window_row4(const int16_t *codes, int step, const em_pair *weights, int pairs, int32_t sums[8])
{
#if EM_ASSEMBLY
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    int32_t s4 = sums[4], s5 = sums[5], s6 = sums[6], s7 = sums[7];
    uint32_t a, b, v, w; /* with these and the pointers, all 14 registers are in use: 12 instructions for 16 products */
#define EM_ROW4(times)                                                                                                 \
    __asm__(".rept %c[count]\n\t"                                                                                      \
            "ldrd %[v], %[w], [%[weights]], #8\n\t"                                                                    \
            "ldr %[b], [%[codes], %[next]]\n\t"                                                                        \
            "ldr %[a], [%[codes]], #4\n\t"                                                                             \
            "smlad %[s0], %[a], %[v], %[s0]\n\t"                                                                       \
            "smlad %[s1], %[a], %[w], %[s1]\n\t"                                                                       \
            "smlad %[s4], %[b], %[v], %[s4]\n\t"                                                                       \
            "smlad %[s5], %[b], %[w], %[s5]\n\t"                                                                       \
            "ldrd %[v], %[w], [%[weights]], #8\n\t"                                                                    \
            "smlad %[s2], %[a], %[v], %[s2]\n\t"                                                                       \
            "smlad %[s3], %[a], %[w], %[s3]\n\t"                                                                       \
            "smlad %[s6], %[b], %[v], %[s6]\n\t"                                                                       \
            "smlad %[s7], %[b], %[w], %[s7]\n\t"                                                                       \
            ".endr"                                                                                                    \
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [s4] "+r"(s4), [s5] "+r"(s5),                \
              [s6] "+r"(s6), [s7] "+r"(s7), [codes] "+r"(codes), [weights] "+r"(weights), [a] "=&r"(a),                \
              [b] "=&r"(b), [v] "=&r"(v), [w] "=&r"(w)                                                                 \
            : [count] "i"(times), [next] "i"(2 * step)                                                                 \
            : "memory")
    const int loops = (pairs + 15) / 16; /* unrolled up to 16 times */
    for (int i = 0; i < loops; i++)
        EM_ROW4(pairs / loops);
    EM_ROW4(pairs % loops);
#undef EM_ROW4
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
#else
    for (int i = 0; i < pairs; i++) {
        const em_pair here = em_load(codes + 2 * i), next = em_load(codes + step + 2 * i);
        for (int channel = 0; channel < 4; channel++) {
            sums[channel] = em_multiply_add(here, weights[4 * i + channel], sums[channel]);
            sums[4 + channel] = em_multiply_add(next, weights[4 * i + channel], sums[4 + channel]);
        }
    }
#endif
}

/* The accumulators of two neighbouring positions. codes: where the first one's window starts; offset: [4]. */
EM_INLINE void em_window4(const em_convolution *layer, const int16_t *codes, const em_pair *weights,
                          const int32_t *offset, int step, int32_t sums[8])
{
    const int pairs = EM_WINDOW_PAIRS(layer->kernel, layer->channels);
    for (int channel = 0; channel < 4; channel++)
        sums[channel] = sums[4 + channel] = offset[channel];
    for (int row = 0; row < layer->kernel; row++)
        em_window_row4(codes + row * layer->columns * layer->channels, step, weights + 4 * row * pairs, pairs, sums);
}

/* Four output channels, or the last few. weights: [kernel][pairs][2 pairs of channels] words of four bytes: the first
 * code's weight for either channel, then the second one's. wide: EM_WIDENED words. result: where its first channel is;
 * offset, multiplier: [4]; here: how many of the four there are. */
EM_INLINE void em_convolve4(const em_convolution *layer, const int16_t *map, const int8_t *weights,
                            const int32_t *offset, const int32_t *multiplier, int here, em_pair *wide, int16_t *result)
{
    const int pairs = EM_WINDOW_PAIRS(layer->kernel, layer->channels), step = 1 + layer->pool;
    const int rows = layer->rows - layer->kernel + 1, columns = layer->columns - layer->kernel + 1;
    const int next = columns > 1 ? layer->channels : 0; /* from one position's codes to its neighbour's */
    for (int i = 0; i < 2 * layer->kernel * pairs; i++) {
        const uint32_t bytes = em_load(weights + 4 * i);
        wide[2 * i] = em_even_bytes(bytes);
        wide[2 * i + 1] = em_odd_bytes(bytes);
    }
    for (int y = 0; y + step <= rows; y += step) {
        for (int x = 0; x + step <= columns; x += 2) {
            /* an odd last position goes with the one before it, computed again */
            const int at = layer->pool || x + 2 <= columns || columns == 1 ? x : x - 1;
            const int16_t *codes = map + (y * layer->columns + at) * layer->channels;
            int16_t *out = result + y / step * layer->of_row + at / step * layer->of_position;
            int32_t sums[8];
            em_window4(layer, codes, wide, offset, next, sums);
            if (layer->pool) {
                int32_t above[4];
                for (int channel = 0; channel < 4; channel++)
                    above[channel] = em_greater(sums[channel], sums[4 + channel]);
                em_window4(layer, codes + layer->columns * layer->channels, wide, offset, next, sums);
                for (int channel = 0; channel < 4; channel++)
                    sums[channel] = em_greater(above[channel], em_greater(sums[channel], sums[4 + channel]));
            }
            for (int channel = 0; channel < here; channel++) {
                const int32_t by = multiplier[channel];
                int16_t *to = out + channel * layer->of_channel;
                to[0] = em_requantize(sums[channel], by, layer->shift, layer->zero, layer->low);
                if (!layer->pool && columns > 1)
                    to[layer->of_position] = em_requantize(sums[4 + channel], by, layer->shift, layer->zero, layer->low);
            }
        }
    }
}

/* map: [rows][columns][channels], and one code more; weights: of em_convolve4, one such block after another, the last
 * one filled up with zeros; offset, multiplier: [outputs], filled up to a multiple of 4; wide: EM_WIDENED words. */
EM_INLINE void em_convolve(const em_convolution layer, const int16_t *map, const int8_t *weights,
                           const int32_t *offset, const int32_t *multiplier, em_pair *wide, int16_t *result)
{
    const int whole = layer.outputs / 4 * 4, block = 4 * EM_WIDENED(layer.kernel, layer.channels) / 2;
    for (int output = 0; output < layer.outputs; output += 4)
        em_convolve4(&layer, map, weights + output / 4 * block, offset + output, multiplier + output,
                     output < whole ? 4 : layer.outputs - whole, wide, result + output * layer.of_channel);
}

#endif
