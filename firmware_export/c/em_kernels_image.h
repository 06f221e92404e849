/* The first layer: 5x5 windows of the image's one channel, then a 2x2 max-pool.
 *
 * A row of the image is read in pairs of pixels, from even columns on. They meet the weights of a window that starts at
 * an even column as (w0, w1), (w2, w3), (w4, 0), and those of one that starts a column later as (0, w0), (w1, w2),
 * (w3, w4). Four windows in a row share their pixels. Most of an image is background: where all that two pools see is
 * zero, their results are those of the offset alone.
 */
#ifndef EM_KERNELS_IMAGE_H
#define EM_KERNELS_IMAGE_H

typedef struct { /* all constants */
    int side, padding;    /* of the image */
    int outputs;          /* channels of the result */
    int shift, zero, low; /* em_requantize */
    int of_row, of_position, of_channel; /* int16 from one row, position, channel of the result to the next */
} em_first;

#define EM_FIRST_KERNEL 5
#define EM_FIRST_WORDS (EM_FIRST_KERNEL * 6) /* both forms of a channel's weights */
/* int16 in a row of the padded image: a multiple of 4 */
#define EM_FIRST_WIDTH(side, padding) (((side) + 2 * (padding) + 3) / 4 * 4)
#define EM_FIRST_CODES(side, padding) (((side) + 2 * (padding)) * EM_FIRST_WIDTH(side, padding))

/* image: [side][side]; padded: [side + 2 * padding][width]. */
EM_INLINE void em_pad_image(const uint8_t *image, int side, int padding, int width, int16_t *padded)
{
    memset(padded, 0, sizeof *padded * (size_t)(width * (side + 2 * padding)));
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++)
            padded[(y + padding) * width + padding + x] = image[y * side + x];
}

/* ink: [rows / 2], for each two rows of the padded image a bit for each four columns, set if a pixel is not 0. */
EM_INLINE void em_find_ink(const int16_t *padded, int rows, int width, uint16_t *ink)
{
    for (int y = 0; y < rows / 2; y++) {
        uint32_t bits = 0;
        EM_ROLLED for (int quad = width / 4 - 1; quad >= 0; quad--)
        {
            const int16_t *four = padded + 2 * y * width + 4 * quad;
            const em_pair above = em_load_pair(four) | em_load_pair(four + 2);
            const em_pair below = em_load_pair(four + width) | em_load_pair(four + width + 2);
            bits = bits << 1 | ((above | below) != 0);
        }
        ink[y] = (uint16_t)bits;
    }
}

/* The accumulators of four neighbouring windows, less the offset. codes: where the first starts, in rows of width;
 * weights: [5][3][2: the even and the odd form]. */
EM_INLINE void em_first_row(const int16_t *codes, int width, const em_pair *weights, int32_t sums[4])
{
#if EM_ASSEMBLY
    int32_t s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
    uint32_t a, b, c, d, v, w;
#define EM_TAPS(left, right)                                                                                           \
    "ldrd %[v], %[w], [%[weights]], #8\n\t"                                                                            \
    "smlad %[s0], " left ", %[v], %[s0]\n\t"                                                                           \
    "smlad %[s1], " left ", %[w], %[s1]\n\t"                                                                           \
    "smlad %[s2], " right ", %[v], %[s2]\n\t"                                                                          \
    "smlad %[s3], " right ", %[w], %[s3]\n\t"
#define EM_ROW                                                                                                         \
    "ldrd %[c], %[d], [%[codes], #8]\n\t"                                                                              \
    "ldrd %[a], %[b], [%[codes]], %[next]\n\t" EM_TAPS("%[a]", "%[b]") EM_TAPS("%[b]", "%[c]") EM_TAPS("%[c]", "%[d]")
    __asm__(EM_ROW EM_ROW EM_ROW EM_ROW EM_ROW
            : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [codes] "+r"(codes),
              [weights] "+r"(weights), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [v] "=&r"(v),
              [w] "=&r"(w)
            : [next] "i"(2 * width)
            : "memory");
#undef EM_ROW
#undef EM_TAPS
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
#else
    for (int y = 0; y < EM_FIRST_KERNEL; y++)
        for (int i = 0; i < 3; i++) {
            const int16_t *at = codes + y * width + 2 * i;
            const em_pair left = em_load_pair(at), right = em_load_pair(at + 2);
            const em_pair even = weights[6 * y + 2 * i], odd = weights[6 * y + 2 * i + 1];
            sums[0] = em_multiply_add(left, even, sums[0]);
            sums[1] = em_multiply_add(left, odd, sums[1]);
            sums[2] = em_multiply_add(right, even, sums[2]);
            sums[3] = em_multiply_add(right, odd, sums[3]);
        }
#endif
}

/* weights: [5][5] of one channel; words: [5][3][2]. */
EM_INLINE void em_first_weights(const int8_t *weights, em_pair *words)
{
    EM_ROLLED for (int y = 0; y < EM_FIRST_KERNEL; y++)
    {
        int before = 0;
        for (int i = 0; i < 3; i++) {
            const int w = weights[5 * y + 2 * i], after = i < 2 ? weights[5 * y + 2 * i + 1] : 0;
            words[6 * y + 2 * i] = (em_pair)(uint16_t)w | (em_pair)(uint16_t)after << 16;
            words[6 * y + 2 * i + 1] = (em_pair)(uint16_t)before | (em_pair)(uint16_t)w << 16;
            before = after;
        }
    }
}

/* image: [side][side]; weights: [outputs][5][5]; offset, multiplier: [outputs]; padded: EM_FIRST_CODES int16;
 * words: EM_FIRST_WORDS; ink: a uint16_t for each two rows of the padded image. */
EM_INLINE void em_convolve_image(const em_first layer, const uint8_t *image, const int8_t *weights,
                                 const int32_t *offset, const int32_t *multiplier, int16_t *padded, em_pair *words,
                                 uint16_t *ink, int16_t *result)
{
    const int width = EM_FIRST_WIDTH(layer.side, layer.padding), rows = layer.side + 2 * layer.padding;
    const int pooled = (rows - EM_FIRST_KERNEL + 1) / 2;
    em_pad_image(image, layer.side, layer.padding, width, padded);
    em_find_ink(padded, rows, width, ink);
    EM_ROLLED for (int output = 0; output < layer.outputs; output++)
    {
        const int32_t start = offset[output], by = multiplier[output];
        const int16_t empty = em_requantize(start, by, layer.shift, layer.zero, layer.low);
        em_first_weights(weights + 25 * output, words);
        EM_ROLLED for (int y = 0; y < pooled; y++)
        {
            const uint32_t seen = (uint32_t)ink[y] | ink[y + 1] | ink[y + 2];
            EM_ROLLED for (int i = 0; i < pooled; i += 2)
            {
                const int x = i + 2 <= pooled ? i : pooled - 2; /* an odd last pool goes with the one before it */
                int16_t *to = result + output * layer.of_channel + y * layer.of_row + x * layer.of_position;
                to[0] = to[layer.of_position] = empty;
                /* eight columns from 2 * x on: two or three fours */
                if (seen >> (x / 2) & (x % 2 ? 7u : 3u)) {
                    const int16_t *codes = padded + 2 * y * width + 2 * x;
                    int32_t left = INT32_MIN, right = INT32_MIN;
                    for (int line = 0; line < 2; line++, codes += width) {
                        int32_t sums[4] = {start, start, start, start};
                        em_first_row(codes, width, words, sums);
                        left = em_greater(left, em_greater(sums[0], sums[1]));
                        right = em_greater(right, em_greater(sums[2], sums[3]));
                    }
                    to[0] = em_requantize(left, by, layer.shift, layer.zero, layer.low);
                    to[layer.of_position] = em_requantize(right, by, layer.shift, layer.zero, layer.low);
                }
            }
        }
    }
}

#endif
