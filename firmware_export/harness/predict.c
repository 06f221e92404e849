/* Links what recognition needs, and no more. */
#include "edgemoe.h"
#include "em_board.h"

static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];

int main(void) {
    em *moe;
    em_answer answer;
    uint8_t image[EM_PIXELS] = {0};
    return em_init(&moe, arena, sizeof arena) | em_predict(moe, image, &answer);
}
