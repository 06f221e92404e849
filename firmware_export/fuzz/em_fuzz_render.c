/* em_render: any strokes are drawn, with ink, or refused. An input is the number of strokes, the points of each, and
 * coordinates; those that it lacks are 0. */
#include "em_fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t image[EM_PIXELS];
    uint16_t *lengths;
    float *points;
    size_t strokes, count = 0, bytes, i;
    uint8_t most = 0;
    em_status status;
    if (size == 0 || size < 1 + (size_t)data[0]) return 0;
    strokes = data[0];
    lengths = (uint16_t *)malloc(strokes * sizeof *lengths + 1);
    for (i = 0; lengths != NULL && i < strokes; i++) count += lengths[i] = data[1 + i];
    bytes = 2 * count * sizeof(float);
    points = (float *)calloc(bytes + 1, 1);
    if (lengths == NULL || points == NULL) abort();
    size -= 1 + strokes;
    memcpy(points, data + 1 + strokes, size < bytes ? size : bytes);
    status = em_render(points, lengths, strokes, image);
    if (status == EM_OK) {
        for (i = 0; i < EM_PIXELS; i++) most = image[i] > most ? image[i] : most;
        if (most < 128) abort(); /* some point of the pen lies within a pixel */
    } else if (status != EM_STROKES) {
        abort();
    }
    free(lengths);
    free(points);
    return 0;
}
