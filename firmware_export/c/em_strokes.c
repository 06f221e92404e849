/* Pen strokes as an image: edgemoe/data/strokes.py, bit by bit.
 *
 * Each point is scaled and rounded once to a grid of an eighth of a pixel; from there on all quantities are integers
 * below 2**24 up to the squared distance and its ink, a handful of float32 operations in the Python's order. Ink only
 * falls with the distance, each of those operations keeps the order, so that the ink of the nearest segment is the most
 * of all segments' ink: the image itself is all the memory that this takes. A segment reaches the pixels within REACH of
 * the box around it, at most 784 of them, and there are at most EM_POINTS_MOST segments. */
#include "em_internal.h"

#include <string.h>

#define GRID 8                     /* steps in a pixel */
#define CENTRE (27 * GRID / 2)     /* of the image, from the middle of its first pixel */
#define SCALE (21.6f * GRID / 2)   /* the longer side fills 21.6 pixels; in steps in half a unit */
#define REACH (3 * GRID)           /* steps from the pen's path at which its ink ends */
#define SMALLEST 3.0f              /* units: a smaller character is drawn smaller */
#define FARTHEST 4194304.0f        /* 2**22 */
#define ROUNDER 12582912.0f        /* 1.5 * 2**23: added, it leaves no bits behind the point */

typedef struct {
    int x, y;
} place; /* on the grid, y up */

typedef struct {
    float scale, middle[2]; /* of the path's ends, twice their mean */
} frame;

static int imin(int a, int b) { return a < b ? a : b; }
static int imax(int a, int b) { return a > b ? a : b; }

/* point: x, y. */
static place on_grid(const float *point, const frame *box) {
    const float x = (2.0f * point[0] - box->middle[0]) * box->scale;
    const float y = (2.0f * point[1] - box->middle[1]) * box->scale;
    place result;
    result.x = (int)((x + ROUNDER) - ROUNDER);
    result.y = (int)((y + ROUNDER) - ROUNDER);
    return result;
}

/* Ink from 0 to 255 at a squared distance in steps. */
static uint8_t ink_at(float distance) {
    const float bell = 1.0f - distance * (1.0f / (REACH * REACH));
    if (bell <= 0.0f) return 0;
    return (uint8_t)((bell * bell * 255.0f + ROUNDER) - ROUNDER);
}

/* The first of the 28 pixels whose middle is not left of a place on the grid; below 0 or above 27 outside the image. */
static int pixel_from(int place_on_axis) {
    const int shifted = place_on_axis + CENTRE + GRID - 1 + (1 << 12) * GRID; /* not negative, for the division */
    return shifted / GRID - (1 << 12);
}

/* Draw the segment from a to b, or a dot. image: EM_PIXELS, of which the inkiest stays. */
static void draw(place a, place b, uint8_t *image) {
    const int step_x = b.x - a.x, step_y = b.y - a.y;
    const int length = step_x * step_x + step_y * step_y; /* squared */
    const float inverse = 1.0f / (float)imax(length, 1);
    const int left = imax(pixel_from(imin(a.x, b.x) - REACH), 0);
    const int right = imin(pixel_from(imax(a.x, b.x) + REACH + 1), EM_SIDE);
    const int top = imax(pixel_from(-imax(a.y, b.y) - REACH), 0); /* rows go down */
    const int bottom = imin(pixel_from(-imin(a.y, b.y) + REACH + 1), EM_SIDE);
    int row, column;
    for (row = top; row < bottom; row++) {
        const int y = CENTRE - row * GRID - a.y;
        for (column = left; column < right; column++) {
            const int x = column * GRID - CENTRE - a.x;
            const int product = x * step_x + y * step_y;
            const int along = imin(imax(product, 0), length);
            const float gain = (float)along * (float)(2 * product - along) * inverse;
            const uint8_t ink = ink_at((float)(x * x + y * y) - gain);
            uint8_t *pixel = image + row * EM_SIDE + column;
            if (ink > *pixel) *pixel = ink;
        }
    }
}

/* Count the points, or return 0 if strokes or points are not what they must be. */
static size_t count_points(const float *points, const uint16_t *stroke_length, size_t strokes) {
    size_t count = 0, i;
    for (i = 0; i < strokes; i++) {
        if (stroke_length[i] == 0 || stroke_length[i] > EM_POINTS_MOST - count) return 0;
        count += stroke_length[i];
    }
    for (i = 0; i < 2 * count; i++) {
        if (!(points[i] >= -FARTHEST && points[i] <= FARTHEST)) return 0; /* NaN is neither */
    }
    return count;
}

/* points: x, y of count. */
static frame frame_of(const float *points, size_t count) {
    float low[2], high[2], side;
    frame result;
    size_t i, axis;
    for (axis = 0; axis < 2; axis++) {
        low[axis] = high[axis] = points[axis];
        for (i = 1; i < count; i++) {
            const float value = points[2 * i + axis];
            if (value < low[axis]) low[axis] = value;
            if (value > high[axis]) high[axis] = value;
        }
        result.middle[axis] = low[axis] + high[axis];
    }
    side = high[0] - low[0];
    if (high[1] - low[1] > side) side = high[1] - low[1];
    result.scale = SCALE / (side > SMALLEST ? side : SMALLEST);
    return result;
}

em_status em_render(const float *points, const uint16_t *stroke_length, size_t strokes, uint8_t *image) {
    size_t count, i, j;
    frame box;
    if (points == NULL || stroke_length == NULL || image == NULL) return EM_NULL;
    count = count_points(points, stroke_length, strokes);
    if (count == 0) return EM_STROKES;
    box = frame_of(points, count);
    memset(image, 0, EM_PIXELS);
    for (i = 0; i < strokes; i++) {
        place before = on_grid(points, &box);
        draw(before, before, image); /* for strokes that are dots */
        for (j = 1; j < stroke_length[i]; j++) {
            const place now = on_grid(points + 2 * j, &box);
            if (now.x != before.x || now.y != before.y) draw(before, now, image);
            before = now;
        }
        points += 2 * (size_t)stroke_length[i];
    }
    return EM_OK;
}
