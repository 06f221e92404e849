/* What the fuzzers share. libFuzzer calls LLVMFuzzerTestOneInput with one input after the other. */
#ifndef EM_FUZZ_H
#define EM_FUZZ_H

#include "em_pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy in memory of exactly its size, for the address sanitizer to see every byte read beyond; the caller frees it. */
uint8_t *em_fuzz_copy(const uint8_t *data, size_t size);

/* End the program if the mixture's answers are none, or if what it saves is not what it loads. */
void em_fuzz_use(em *moe);

#endif
