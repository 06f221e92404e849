/* Runs a fuzzer's inputs, the files of its arguments, without libFuzzer: for valgrind, and to look into a finding. */
#include "em_fuzz.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **paths) {
    static uint8_t input[1 << 16];
    int i;
    for (i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        size_t size;
        if (file == NULL) return 2;
        size = fread(input, 1, sizeof input, file);
        fclose(file);
        LLVMFuzzerTestOneInput(input, size);
    }
    return 0;
}
