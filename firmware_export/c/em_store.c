/* Two flash slots, of which one always holds a whole profile.
 *
 * A slot holds "EDGS", a sequence number, the profile's length, the CRC-32 of these twelve bytes, and the profile, which
 * ends with a CRC-32 of its own; all little-endian. A save goes to the slot that does not hold the newest profile of this
 * expert: one erase, one programming. Power lost on the way leaves a slot whose header or profile fails its check, and
 * the other slot as it was; both wear alike. */
#include "em_pack.h"

#include <string.h>

#define SLOT_HEADER 16
#define NONE (-1)

/* A slot as it is found. */
typedef struct {
    const uint8_t *profile;
    size_t bytes;
    uint32_t sequence;
    em_status status; /* EM_OK: em_load takes the profile; EM_EMPTY: there is no whole one */
} found;

/* slot: slot_bytes, at least EM_SLOT_BYTES. */
static found look(const uint8_t *slot, size_t slot_bytes) {
    found here;
    here.profile = slot + SLOT_HEADER;
    here.bytes = em_read32(slot + 8);
    here.sequence = em_read32(slot + 4);
    here.status = EM_EMPTY;
    if (memcmp(slot, "EDGS", 4) != 0 || em_crc32(slot, 12) != em_read32(slot + 12)) return here;
    if (here.bytes < 4 || here.bytes > slot_bytes - SLOT_HEADER) return here;
    if (em_crc32(here.profile, here.bytes - 4) != em_read32(here.profile + here.bytes - 4)) return here;
    here.status = em_check(here.profile, here.bytes); /* another version, say, but whole */
    return here;
}

static int usable(const em_flash *flash) {
    return flash != NULL && flash->erase != NULL && flash->program != NULL && flash->read != NULL;
}

/* Look into both slots; last: the one with the newest profile that em_load takes, or NONE. */
static em_status look_into(const em_flash *flash, found slots[2], int *last) {
    int slot;
    for (slot = 0; slot < 2; slot++) {
        const uint8_t *bytes = flash->read(flash->context, slot);
        if (bytes == NULL) return EM_FLASH;
        slots[slot] = look(bytes, flash->slot_bytes);
    }
    *last = slots[0].status == EM_OK ? 0 : NONE;
    if (slots[1].status == EM_OK) { /* the number after the last is 0 again */
        if (*last == NONE || slots[1].sequence - slots[0].sequence < 0x80000000u) *last = 1;
    }
    return EM_OK;
}

em_status em_store_save(em *moe, const em_flash *flash, uint8_t *buffer, size_t capacity) {
    found slots[2];
    const uint8_t *written;
    size_t bytes;
    em_status status;
    int last, slot;
    if (moe == NULL || !usable(flash) || buffer == NULL) return EM_NULL;
    if (capacity < SLOT_HEADER || flash->slot_bytes < EM_SLOT_BYTES) return EM_CAPACITY;
    status = em_save(moe, buffer + SLOT_HEADER, capacity - SLOT_HEADER, &bytes);
    if (status == EM_OK) status = look_into(flash, slots, &last);
    if (status != EM_OK) return status;
    slot = last == 0;
    memcpy(buffer, "EDGS", 4);
    em_write32(buffer + 4, last == NONE ? 0 : slots[last].sequence + 1);
    em_write32(buffer + 8, (uint32_t)bytes);
    em_write32(buffer + 12, em_crc32(buffer, 12));
    for (bytes += SLOT_HEADER; bytes % EM_FLASH_UNIT != 0; bytes++) {
        if (bytes == capacity) return EM_CAPACITY;
        buffer[bytes] = 0xff; /* as erased flash reads */
    }
    if (flash->erase(flash->context, slot) != 0) return EM_FLASH;
    if (flash->program(flash->context, slot, 0, buffer, bytes) != 0) return EM_FLASH;
    written = flash->read(flash->context, slot);
    return written != NULL && memcmp(written, buffer, bytes) == 0 ? EM_OK : EM_FLASH;
}

/* Where no slot has a profile for this expert, the status tells whether one has another's. */
em_status em_store_load(em *moe, const em_flash *flash) {
    found slots[2];
    em_status status;
    int last;
    if (moe == NULL || !usable(flash)) return EM_NULL;
    if (flash->slot_bytes < EM_SLOT_BYTES) return EM_CAPACITY;
    status = look_into(flash, slots, &last);
    if (status != EM_OK) return status;
    if (last != NONE) return em_load(moe, slots[last].profile, slots[last].bytes);
    return slots[0].status != EM_EMPTY ? slots[0].status : slots[1].status;
}
