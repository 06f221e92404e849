/* Links every function of the library, so that its flash can be counted. */
#include "edgemoe.h"
#include "em_board.h"

static em_word arena[EM_WORDS(EM_ARENA_TRAIN)];

int main(void) {
    em *moe;
    em_answer answer;
    em_sample sample;
    em_verdict verdict;
    em_flash flash = {0, 0, 0, 0, 0};
    uint8_t image[EM_PIXELS];
    size_t bytes;
    float points[2] = {0.0f, 0.0f};
    uint16_t length = 1;
    int bad = em_init(&moe, arena, sizeof arena);
    bad |= em_render(points, &length, 1, image) | em_predict(moe, image, &answer);
    bad |= em_session_start(moe) | em_session_predict(moe, image, &answer);
    bad |= em_observe(moe, image, 0, &sample) | em_train(moe, &sample, 1, 2) | em_learn(moe, image, 0);
    bad |= em_save(moe, image, sizeof image, &bytes) | em_load(moe, image, bytes) | em_verdict_of(moe, &verdict);
    bad |= em_store_save(moe, &flash, image, sizeof image) | em_store_load(moe, &flash);
    return bad + (int)em_character(moe, 0);
}
