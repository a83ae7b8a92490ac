/* Interpolation: a separable kernel at r x r phases, in floats. Rows outside the picture repeat its last one. */
#include <stdlib.h>

#include "planes.h"

/* With the number of taps known, the loop over them is gone and every sum stays in a register. */
static inline __attribute__((always_inline)) void weigh_some(const float *const *from, const float *weights, int taps,
                                                             int columns, float *restrict out) {
    for (int x = 0; x < columns; x++) {
        float sum = weights[0] * from[0][x];
        for (int k = 1; k < taps; k++) sum += weights[k] * from[k][x];
        out[x] = sum;
    }
}

FASTEST static void weigh(const float *const *from, const float *weights, int taps, int columns, float *restrict out) {
    switch (taps) {
    case 1: weigh_some(from, weights, 1, columns, out); break;
    case 3: weigh_some(from, weights, 3, columns, out); break;
    case 5: weigh_some(from, weights, 5, columns, out); break;
    default:
        for (int x = 0; x < columns; x++) out[x] = 0;
        for (int k = 0; k < taps; k++)
            for (int x = 0; x < columns; x++) out[x] += weights[k] * from[k][x];
    }
}

FASTEST static void widen8(const uint8_t *in, int columns, float *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = in[x];
}

FASTEST static void widen16(const uint16_t *in, int columns, float *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = in[x];
}

FASTEST static void whole(const float *in, int columns, float peak, uint16_t *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = (uint16_t)(int32_t)rounded(in[x] < 0 ? 0 : in[x] > peak ? peak : in[x]);
}

/* down, across: [scale][taps] weights, taps odd; sample y * scale + a is the sum of down[a][k] * row y + k
 * - taps / 2. */
PUBLIC int vsr_interpolate(const float *down, const float *across, int taps, int scale, const Plane *plane) {
    const int columns = plane->columns, margin = taps / 2;
    if (taps < 1 || taps % 2 == 0 || scale < 1) return UNSUPPORTED;
    const size_t apart = (size_t)columns + 2 * margin;
    /* Rows of floats: the taps, their sum, and what becomes of it; then the phases in the plane's own type. */
    float *memory = malloc((taps + 2) * apart * sizeof(float) + scale * apart * sizeof(uint16_t));
    const float **rows = malloc(2 * taps * sizeof(float *)), **places = rows + taps;
    if (!memory || !rows) {
        free(memory);
        free(rows);
        return NO_MEMORY;
    }
    float *sum = memory + taps * apart, *values = sum + apart;
    uint16_t *phases = (uint16_t *)(values + apart);
    for (int k = 0; k < taps; k++) places[k] = sum + k;
    int next = most(0, plane->first - margin);
    for (int y = plane->first; y < plane->last; y++) {
        for (; next <= least(plane->rows - 1, y + margin); next++) {
            const uint8_t *from = (const uint8_t *)plane->in + (ptrdiff_t)next * plane->in_stride;
            float *to = memory + (next % taps) * apart;
            if (plane->wide)
                widen16((const uint16_t *)from, columns, to);
            else
                widen8(from, columns, to);
        }
        for (int k = 0; k < taps; k++)
            rows[k] = memory + (most(0, least(plane->rows - 1, y + k - margin)) % taps) * apart;
        for (int a = 0; a < scale; a++) {
            uint8_t *to = (uint8_t *)plane->out + ((ptrdiff_t)y * scale + a) * plane->out_stride;
            weigh(rows, down + a * taps, taps, columns, sum + margin);
            for (int k = 0; k < margin; k++)
                sum[k] = sum[margin], sum[margin + columns + k] = sum[margin + columns - 1];
            for (int b = 0; b < scale; b++) {
                weigh(places, across + b * taps, taps, columns, values);
                whole(values, columns, (float)plane->peak, phases + b * apart);
            }
            vsr_interleave(phases, apart, scale, columns, plane->wide, to);
        }
    }
    free(memory);
    free(rows);
    return OK;
}
