/* Links what recognition needs, and no more. */
#include "edgemoe.h"
#include "em_board.h"

static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
static uint8_t image[EM_PIXELS];

int main(void) {
    em *moe;
    em_answer answer;
    return em_init(&moe, arena, sizeof arena) | em_predict(moe, image, &answer);
}
