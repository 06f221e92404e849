/* em_store_load and em_store_save: whatever two slots hold, and whenever power is lost. An input is a byte of which the
 * lowest two bits tell whose slot's checksums are made right, a number of bytes after which power is lost, and then the
 * slots, one byte of each in turn. */
#include "em_fuzz.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t slots[2][EM_SLOT_BYTES];
    size_t power; /* bytes that may still be erased or programmed */
} memory;

static int erase(void *context, int slot) {
    memory *flash = (memory *)context;
    const size_t count = flash->power < EM_SLOT_BYTES ? flash->power : EM_SLOT_BYTES;
    memset(flash->slots[slot], 0xff, count);
    flash->power -= count;
    return count < EM_SLOT_BYTES;
}

static int program(void *context, int slot, size_t offset, const uint8_t *bytes, size_t count) {
    memory *flash = (memory *)context;
    size_t i;
    if (offset > EM_SLOT_BYTES || count > EM_SLOT_BYTES - offset) abort();
    for (i = 0; i < count && flash->power > 0; i++, flash->power--) flash->slots[slot][offset + i] &= bytes[i];
    return i < count;
}

static const uint8_t *read_slot(void *context, int slot) { return ((memory *)context)->slots[slot]; }

static void make_right(uint8_t *slot) {
    const size_t bytes = em_read32(slot + 8);
    memcpy(slot, "EDGS", 4);
    em_write32(slot + 12, em_crc32(slot, 12));
    if (bytes >= 4 && bytes <= EM_SLOT_BYTES - 16) em_write32(slot + 12 + bytes, em_crc32(slot + 16, bytes - 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
    memory *flash = (memory *)malloc(sizeof *flash);
    em_flash driver;
    em *moe;
    uint8_t *buffer = (uint8_t *)malloc(EM_SLOT_BYTES);
    em_status saved;
    size_t i;
    if (flash == NULL || buffer == NULL || em_init(&moe, arena, sizeof arena) != EM_OK) abort();
    driver.context = flash;
    driver.slot_bytes = EM_SLOT_BYTES;
    driver.erase = erase;
    driver.program = program;
    driver.read = read_slot;
    memset(flash->slots, 0xff, sizeof flash->slots);
    for (i = 3; i < size && i < 3 + sizeof flash->slots; i++) flash->slots[(i - 3) % 2][(i - 3) / 2] = data[i];
    for (i = 0; i < 2; i++) {
        if (size > 0 && data[0] >> i & 1) make_right(flash->slots[i]);
    }
    if (em_store_load(moe, &driver) == EM_OK) {
        em_fuzz_use(moe);
        flash->power = size < 3 ? 0 : em_read16(data + 1);
        saved = em_store_save(moe, &driver, buffer, EM_SLOT_BYTES);
        if (saved != EM_OK && saved != EM_FLASH) abort();
        if (em_store_load(moe, &driver) != EM_OK) abort(); /* the old one or the new one is there */
        flash->power = 2 * EM_SLOT_BYTES;
        if (em_store_save(moe, &driver, buffer, EM_SLOT_BYTES) != EM_OK) abort();
    }
    free(flash);
    free(buffer);
    return 0;
}
