#include "planes.h"

#include <string.h>

/* With the scale known, what is inside the loops becomes shuffles of whole registers. */
static inline __attribute__((always_inline)) void narrow(const uint16_t *phases, size_t apart, int scale, int columns,
                                                         uint8_t *restrict out) {
    for (int x = 0; x < columns; x++)
        for (int b = 0; b < scale; b++) out[scale * x + b] = (uint8_t)phases[b * apart + x];
}

static inline __attribute__((always_inline)) void same(const uint16_t *phases, size_t apart, int scale, int columns,
                                                       uint16_t *restrict out) {
    for (int x = 0; x < columns; x++)
        for (int b = 0; b < scale; b++) out[scale * x + b] = phases[b * apart + x];
}

/* Two samples as one number, which compilers know how to store many of. */
static inline __attribute__((always_inline)) void narrow_twice(const uint16_t *phases, size_t apart, int columns,
                                                               uint8_t *restrict out) {
    for (int x = 0; x < columns; x++) {
        const uint16_t both = (uint16_t)(phases[x] | phases[apart + x] << 8);
        memcpy(out + 2 * x, &both, sizeof both);
    }
}

FASTEST void vsr_interleave(const uint16_t *phases, size_t apart, int scale, int columns, int wide, void *out) {
    switch (wide ? scale : -scale) {
    case -2: narrow_twice(phases, apart, columns, out); break;
    case -3: narrow(phases, apart, 3, columns, out); break;
    case -4: narrow(phases, apart, 4, columns, out); break;
    case -6: narrow(phases, apart, 6, columns, out); break;
    case -8: narrow(phases, apart, 8, columns, out); break;
    case 2: same(phases, apart, 2, columns, out); break;
    case 3: same(phases, apart, 3, columns, out); break;
    case 4: same(phases, apart, 4, columns, out); break;
    case 6: same(phases, apart, 6, columns, out); break;
    case 8: same(phases, apart, 8, columns, out); break;
    default:
        if (wide)
            same(phases, apart, scale, columns, out);
        else
            narrow(phases, apart, scale, columns, out);
    }
}

PUBLIC int vsr_abi_version(void) { return 5; }
