/* em_load: any bytes are a profile or an error, and an error changes nothing. The first byte of an input tells whether
 * the checksum is made right, without which an input would seldom get past it. */
#include "em_fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    em_word arena[EM_WORDS(EM_ARENA_PREDICT)], before[EM_WORDS(EM_ARENA_PREDICT)];
    em *moe;
    uint8_t *profile;
    if (size == 0) return 0;
    profile = em_fuzz_copy(data + 1, --size);
    if (data[0] & 1 && size >= 4) em_write32(profile + size - 4, em_crc32(profile, size - 4));
    memset(arena, 0, sizeof arena);
    if (em_init(&moe, arena, sizeof arena) != EM_OK) abort();
    memcpy(before, arena, sizeof arena);
    if (em_load(moe, profile, size) == EM_OK) {
        em_fuzz_use(moe);
    } else if (memcmp(before, arena, sizeof arena) != 0) {
        abort();
    }
    free(profile);
    return 0;
}
