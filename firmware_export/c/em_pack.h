/* Few bits to bytes and back: what profiles are made of. */
#ifndef EM_PACK_H
#define EM_PACK_H

#include "em_internal.h"

/* Little-endian fields, at any address; of em_write16 the lower half of the value. */
uint16_t em_read16(const uint8_t *from);
uint32_t em_read32(const uint8_t *from);
float em_read_float(const uint8_t *from);
void em_write16(uint8_t *to, uint32_t value);
void em_write32(uint8_t *to, uint32_t value);
void em_write_float(uint8_t *to, float value);

/* Codes of 3 to 8 bits: two's complements without gaps, lowest bit first. bytes: em_packed(count, bits) of them. */
size_t em_packed(size_t count, unsigned bits);
void em_unpack(const uint8_t *bytes, int8_t *codes, size_t count, unsigned bits);
void em_pack(uint8_t *bytes, const int8_t *codes, size_t count, unsigned bits);

/* Codes of -1, 0 and 1 as runs, as edgemoe/device/runs.py defines them. Reading takes exactly size bytes, else it is
 * EM_NO_PROFILE (they end too soon) or EM_FIELD (they hold more codes); codes may be NULL, to check only. Writing
 * returns how many bytes it takes; bytes may be NULL, to count only. */
em_status em_unpack_runs(const uint8_t *bytes, size_t size, int8_t *codes, size_t count);
size_t em_pack_runs(uint8_t *bytes, const int8_t *codes, size_t count);

/* em_symbols.c: whether a symbol, number index of code points of four bytes each, may be taught: it can be printed, is
 * no class, and none of the symbols before it. */
int em_can_be_taught(const uint8_t *symbols, size_t index);

#endif
