/* What the parts of the library have in common: one plane, its result, and what part of it is wanted. */
#ifndef VSR_PLANES_H
#define VSR_PLANES_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* One version for each generation of processors, chosen when the library is loaded; the GNU C library can do that. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__GLIBC__)
#define FASTEST __attribute__((optimize("O3"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTEST
#endif

enum { OK = 0, NO_MEMORY = -1, UNSUPPORTED = -2 };

/* Rows `first` to `last` are asked for, in rows of the input; so several threads can share a picture. Strides in
 * bytes. */
typedef struct {
    const void *in;
    void *out;
    ptrdiff_t in_stride, out_stride;
    int32_t rows, columns;
    int32_t first, last;
    int32_t wide; /* samples are 16 bit, else 8 */
    int32_t peak; /* the largest number there is */
} Plane;

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

/* To the nearest whole number, halves to the even one, for what is not negative: the sum has no bits left for less. */
static inline float rounded(float value) { return (value + 8388608.0f) - 8388608.0f; }

/* phases: [scale] rows of samples, `apart` from one another, to be taken in turn; out: 8-bit samples, or 16-bit
 * ones. */
void vsr_interleave(const uint16_t *phases, size_t apart, int scale, int columns, int wide, void *out);

#endif
