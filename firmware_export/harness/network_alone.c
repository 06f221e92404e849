/* Links what the network needs, its input and its results, and no more. */
#include "em_internal.h"

static uint8_t image[EM_PIXELS], features[EM_FEATURES], logits[EM_CLASSES];
static em_word scratch[EM_WORDS(EM_NETWORK_SCRATCH)];

int main(void) {
    em_network(image, features, logits, scratch);
    return logits[0];
}
