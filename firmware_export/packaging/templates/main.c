/* Recognizes the images of vectors.h and compares the answers with those of the Python side: prints PASS or FAIL. */
#include "edgemoe.h"
#include "vectors.h"

#ifdef EM_BOARD
#include "em_board.h"
#else /* with an operating system, or a C library that prints somewhere */
#include <stdio.h>
static void em_board_print(const char *text) { fputs(text, stdout); }
static void em_board_report(const char *name, long number) { printf("%s %ld\n", name, number); }
#endif

static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];

static em_status check(int *wrong) {
    em *moe;
    em_answer answer;
    em_status status = em_init(&moe, arena, sizeof arena);
#if EM_VECTOR_PROFILE_BYTES > 0
    if (status == EM_OK) status = em_load(moe, em_vector_profile, EM_VECTOR_PROFILE_BYTES);
#endif
    for (int k = 0; k < EM_VECTORS && status == EM_OK; k++) {
        status = em_predict(moe, em_vector_image[k], &answer);
        *wrong += status == EM_OK && answer.label != em_vector_label[k];
    }
    return status;
}

int main(void) {
    int wrong = 0;
    const em_status status = check(&wrong);
    em_board_report("images", EM_VECTORS);
    em_board_report("wrong", wrong);
    em_board_report("status", status);
    em_board_print(status == EM_OK && wrong == 0 ? "PASS\n" : "FAIL\n");
    return status == EM_OK && wrong == 0 ? 0 : 1;
}
