/* Few bits to bytes and back: see em_pack.h. */
#include "em_pack.h"

#include <string.h>

#define MOST_LOW_BITS 15u

uint32_t em_crc32(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xffffffffu;
    size_t i;
    int bit;
    for (i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

uint16_t em_read16(const uint8_t *from) { return (uint16_t)(from[0] | from[1] << 8); }

uint32_t em_read32(const uint8_t *from) { return em_read16(from) | (uint32_t)em_read16(from + 2) << 16; }

float em_read_float(const uint8_t *from) {
    const uint32_t bits = em_read32(from);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void em_write16(uint8_t *to, uint32_t value) {
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

void em_write32(uint8_t *to, uint32_t value) {
    em_write16(to, value);
    em_write16(to + 2, value >> 16);
}

void em_write_float(uint8_t *to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    em_write32(to, bits);
}

size_t em_packed(size_t count, unsigned bits) { return (count * bits + 7) / 8; }

static unsigned bit_at(const uint8_t *bytes, size_t place) { return (unsigned)bytes[place / 8] >> (place % 8) & 1u; }

/* Read codes of 3 to 8 bits: two's complements without gaps, lowest bit first. bytes: em_packed(count, bits). */
void em_unpack(const uint8_t *bytes, int8_t *codes, size_t count, unsigned bits) {
    size_t i, place = 0;
    for (i = 0; i < count; i++, place += bits) {
        unsigned window = bytes[place / 8];
        if (place % 8 + bits > 8) window |= (unsigned)bytes[place / 8 + 1] << 8;
        window = window >> (place % 8) & ((1u << bits) - 1);
        codes[i] = (int8_t)((int)window - (int)((window >> (bits - 1)) << bits)); /* the top bit is the sign */
    }
}

/* Write them. bytes: em_packed(count, bits). */
void em_pack(uint8_t *bytes, const int8_t *codes, size_t count, unsigned bits) {
    size_t i, place = 0;
    memset(bytes, 0, em_packed(count, bits));
    for (i = 0; i < count; i++, place += bits) {
        const unsigned window = ((unsigned)codes[i] & ((1u << bits) - 1)) << (place % 8);
        bytes[place / 8] = (uint8_t)(bytes[place / 8] | window);
        if (window > 0xff) bytes[place / 8 + 1] = (uint8_t)(window >> 8);
    }
}

em_status em_unpack_runs(const uint8_t *bytes, size_t size, int8_t *codes, size_t count) {
    size_t code = 0, place = 8, end = 8 * size; /* in bits */
    unsigned low, i;
    if (size == 0) return EM_NO_PROFILE;
    low = bytes[0];
    if (low > MOST_LOW_BITS) return EM_FIELD;
    if (codes != NULL) memset(codes, 0, count);
    while (code < count) {
        while (place < end && bit_at(bytes, place)) {
            place++;
            code += (size_t)1 << low;
            if (code > count) return EM_FIELD;
        }
        if (end - place < low + 1) return EM_NO_PROFILE;
        for (i = 0; i < low; i++) code += (size_t)bit_at(bytes, place + 1 + i) << i;
        place += low + 1;
        if (code > count) return EM_FIELD;
        if (code == count) break;
        if (place == end) return EM_NO_PROFILE;
        if (codes != NULL) codes[code] = bit_at(bytes, place) ? -1 : 1;
        place++;
        code++;
    }
    if (end - place >= 8) return EM_FIELD; /* more than the matrix holds */
    for (; place < end; place++) {
        if (bit_at(bytes, place)) return EM_FIELD;
    }
    return EM_OK;
}

/* A bit after the other. */
typedef struct {
    uint8_t *bytes; /* NULL: count only */
    size_t place;
} bit_writer;

static void put(bit_writer *to, unsigned bit) {
    if (to->bytes != NULL) {
        uint8_t *byte = to->bytes + to->place / 8;
        if (to->place % 8 == 0) *byte = 0;
        *byte = (uint8_t)(*byte | bit << (to->place % 8));
    }
    to->place++;
}

static void put_run(bit_writer *to, size_t run, unsigned low) {
    size_t ones;
    unsigned i;
    for (ones = run >> low; ones > 0; ones--) put(to, 1);
    put(to, 0);
    for (i = 0; i < low; i++) put(to, (unsigned)(run >> i) & 1u);
}

/* The low bits with which the runs take the fewest bits. */
static unsigned best_low_bits(const int8_t *codes, size_t count) {
    size_t bits[MOST_LOW_BITS + 1] = {0};
    size_t i, run = 0;
    unsigned low, best = 0;
    for (i = 0; i <= count; i++) {
        if (i < count && codes[i] == 0) {
            run++;
        } else if (i < count || run > 0) {
            for (low = 0; low <= MOST_LOW_BITS; low++) bits[low] += (run >> low) + low;
            run = 0;
        }
    }
    for (low = 1; low <= MOST_LOW_BITS; low++) {
        if (bits[low] < bits[best]) best = low;
    }
    return best;
}

size_t em_pack_runs(uint8_t *bytes, const int8_t *codes, size_t count) {
    bit_writer to;
    const unsigned low = best_low_bits(codes, count);
    size_t i, run = 0;
    if (bytes != NULL) bytes[0] = (uint8_t)low;
    to.bytes = bytes;
    to.place = 8; /* behind the low bits */
    for (i = 0; i < count; i++) {
        if (codes[i] == 0) {
            run++;
        } else {
            put_run(&to, run, low);
            put(&to, codes[i] < 0);
            run = 0;
        }
    }
    if (run > 0) put_run(&to, run, low);
    return (to.place + 7) / 8;
}
