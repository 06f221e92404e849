/* Profiles: the bytes of edgemoe/device/profile.py, version 3.
 *
 * A profile is read twice: once to check all of it, and only then into the mixture, so that bad bytes change nothing. */
#include "em_pack.h"

#include <string.h>

#define HEADER 60
#define KNOWN_FLAGS 7u
#define GAIN_KNOWN 2u
#define WANTED_KNOWN 4u

static int finite16(const uint8_t *half) { return (em_read16(half) & 0x7c00u) != 0x7c00u; }

/* Where a profile's parts begin, all sizes being this expert's. */
typedef struct {
    size_t rows, gate, local; /* gate and local: offsets of their scales */
    size_t scales;            /* of the local expert */
    size_t end;               /* of the local expert: where the checksum begins */
} layout;

static layout layout_of(unsigned spare, unsigned local_bits, unsigned gate_bits, size_t end) {
    layout at;
    at.rows = EM_CLASSES + spare;
    at.gate = HEADER + 4 * (size_t)spare;
    at.local = at.gate + 2 + em_packed(EM_FEATURES, gate_bits);
    at.scales = local_bits == 2 ? 1 : at.rows;
    at.end = end;
    return at;
}

static int in_share(float value) { return value >= 0.0f && value <= 1.0f; }

/* The header's ranges, and whether the profile is this expert's. */
static em_status check_header(const uint8_t *profile) {
    const unsigned spare = em_read16(profile + 34), rows = em_read16(profile + 24);
    size_t i;
    if (profile[6] < 2 || profile[6] > 8 || profile[7] < 3 || profile[7] > 8 || spare > rows) return EM_FIELD;
    for (i = 36; i < HEADER; i += 4) {
        if ((em_read32(profile + i) & 0x7f800000u) == 0x7f800000u) return EM_FIELD; /* not finite */
    }
    if (!in_share(em_read_float(profile + 52)) || !in_share(em_read_float(profile + 56))) return EM_FIELD;
    if (memcmp(profile + 8, em_fingerprint, sizeof em_fingerprint) != 0) return EM_FINGERPRINT;
    if (spare > EM_SPARE || rows != EM_CLASSES + spare) return EM_SHAPE;
    if (em_read16(profile + 26) != EM_POOLED || em_read16(profile + 28) != EM_FEATURES) return EM_SHAPE;
    return EM_OK;
}

/* What lies between the header and the checksum. */
static em_status check_body(const uint8_t *profile, const layout *at) {
    const size_t codes = at->local + 2 * at->scales, count = at->rows * EM_COLUMNS;
    size_t i;
    if (at->end < codes) return EM_NO_PROFILE;
    for (i = HEADER; i < at->gate; i += 4) {
        if (!em_can_be_taught(profile + HEADER, (i - HEADER) / 4)) return EM_FIELD;
    }
    if (!finite16(profile + at->gate)) return EM_FIELD;
    for (i = at->local; i < codes; i += 2) {
        if (!finite16(profile + i)) return EM_FIELD;
    }
    if (profile[6] == 2) return em_unpack_runs(profile + codes, at->end - codes, NULL, count);
    return at->end - codes == em_packed(count, profile[6]) ? EM_OK : EM_NO_PROFILE;
}

/* Read a profile that was checked. */
static void take(const uint8_t *profile, const layout *at, em_profile *to) {
    const size_t codes = at->local + 2 * at->scales, count = at->rows * EM_COLUMNS;
    size_t i;
    memset(to, 0, sizeof *to);
    to->flags = profile[5] & KNOWN_FLAGS;
    to->local_bits = profile[6];
    to->gate_bits = profile[7];
    to->samples = em_read16(profile + 30);
    if (to->flags & WANTED_KNOWN) to->wanted = em_read16(profile + 32);
    to->spare = (uint8_t)em_read16(profile + 34);
    to->gate_bias = em_read_float(profile + 36);
    to->threshold = em_read_float(profile + 40);
    to->generic_loss = em_read_float(profile + 44);
    if (to->flags & GAIN_KNOWN) to->user_gain = em_read_float(profile + 48) + 0.0f; /* -0 is 0, as in Python */
    to->confidence = em_read_float(profile + 52);
    to->budget = em_read_float(profile + 56);
    for (i = 0; i < to->spare; i++) to->symbols[i] = em_read32(profile + HEADER + 4 * i);
    to->gate_scale = em_read16(profile + at->gate);
    em_unpack(profile + at->gate + 2, to->gate, EM_FEATURES, to->gate_bits);
    for (i = 0; i < at->scales; i++) to->local_scale[i] = em_read16(profile + at->local + 2 * i);
    if (to->local_bits == 2) {
        em_unpack_runs(profile + codes, at->end - codes, to->local[0], count);
    } else {
        em_unpack(profile + codes, to->local[0], count, to->local_bits);
    }
}

em_status em_check(const uint8_t *profile, size_t bytes) {
    em_status status;
    layout at;
    if (bytes < HEADER + 4 || memcmp(profile, "EDGM", 4) != 0) return EM_NO_PROFILE;
    if (profile[4] != EM_PROFILE_VERSION) return EM_VERSION;
    if (em_crc32(profile, bytes - 4) != em_read32(profile + bytes - 4)) return EM_CHECKSUM;
    status = check_header(profile);
    if (status != EM_OK) return status;
    at = layout_of(em_read16(profile + 34), profile[6], profile[7], bytes - 4);
    return check_body(profile, &at);
}

em_status em_load(em *moe, const uint8_t *profile, size_t bytes) {
    em_status status;
    layout at;
    if (moe == NULL || profile == NULL) return EM_NULL;
    status = em_check(profile, bytes);
    if (status != EM_OK) return status;
    at = layout_of(em_read16(profile + 34), profile[6], profile[7], bytes - 4);
    take(profile, &at, &moe->profile);
    moe->exact = 0;
    em_fold(moe);
    return em_session_start(moe);
}

/* Where em_save writes: all but the weights. */
static void give_header(uint8_t *profile, const em_profile *from) {
    size_t i;
    memcpy(profile, "EDGM", 4);
    profile[4] = EM_PROFILE_VERSION;
    profile[5] = from->flags;
    profile[6] = from->local_bits;
    profile[7] = from->gate_bits;
    memcpy(profile + 8, em_fingerprint, sizeof em_fingerprint);
    em_write16(profile + 24, EM_CLASSES + (uint32_t)from->spare);
    em_write16(profile + 26, EM_POOLED);
    em_write16(profile + 28, EM_FEATURES);
    em_write16(profile + 30, from->samples);
    em_write16(profile + 32, from->wanted);
    em_write16(profile + 34, from->spare);
    em_write_float(profile + 36, from->gate_bias);
    em_write_float(profile + 40, from->threshold);
    em_write_float(profile + 44, from->generic_loss);
    em_write_float(profile + 48, from->user_gain);
    em_write_float(profile + 52, from->confidence);
    em_write_float(profile + 56, from->budget);
    for (i = 0; i < from->spare; i++) em_write32(profile + HEADER + 4 * i, from->symbols[i]);
}

em_status em_save(em *moe, uint8_t *profile, size_t capacity, size_t *bytes) {
    const em_profile *from;
    layout at;
    size_t codes, count, i;
    if (moe == NULL || profile == NULL || bytes == NULL) return EM_NULL;
    from = &moe->profile;
    if (from->local_bits == 0) return EM_NO_PROFILE; /* none was loaded, and none learnt */
    count = (EM_CLASSES + (size_t)from->spare) * EM_COLUMNS;
    codes = from->local_bits == 2 ? em_pack_runs(NULL, from->local[0], count) : em_packed(count, from->local_bits);
    at = layout_of(from->spare, from->local_bits, from->gate_bits, 0);
    at.end = at.local + 2 * at.scales + codes;
    if (capacity < at.end + 4) return EM_CAPACITY;
    give_header(profile, from);
    em_write16(profile + at.gate, from->gate_scale);
    em_pack(profile + at.gate + 2, from->gate, EM_FEATURES, from->gate_bits);
    for (i = 0; i < at.scales; i++) em_write16(profile + at.local + 2 * i, from->local_scale[i]);
    if (from->local_bits == 2) {
        em_pack_runs(profile + at.end - codes, from->local[0], count);
    } else {
        em_pack(profile + at.end - codes, from->local[0], count, from->local_bits);
    }
    em_write32(profile + at.end, em_crc32(profile, at.end));
    *bytes = at.end + 4;
    return EM_OK;
}
