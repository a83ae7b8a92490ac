/* A chain of 3x3 convolutions in 8-bit integers, 16 channels wide, whose input is added to its output before the
 * sub-pixel shuffle (ECBSR, folded).
 *
 * A row goes through all layers before the next one is read: of each layer three rows are kept, 16 KB each at 960
 * columns, and nothing of a picture but its input and its output ever leaves the second-level cache. Sums are exact
 * integers, and the floats behind them are taken in one order, so a sample is the same in whatever part of a picture it
 * is computed, and on whatever processor.
 *
 * Four channels of a sample lie side by side, then those of the next sample: a register holds them for many samples,
 * and each of its lanes makes one sum of an output. What is read is used for many outputs, and a weight for many samples;
 * so loading, which could keep no pace with multiplying, is a half of it or less.
 *
 * Outside the picture everything is zero, as the network was trained.
 */
#include <stdlib.h>
#include <string.h>

#include "planes.h"

/* One convolution with sixteen outputs, or as the last layer with scale * scale.
 * weights: [3 rows][groups][taps][outputs][4 inputs]; of the first layer, which has one channel, the four inputs are
 *          neighbours in a row, the last without weight; of all others there are 4 groups of four channels, and 3 taps.
 * gain, bias: result = sum * gain + bias, for each output.
 * start: 128 times the sum of the weights of each output. */
typedef struct {
    const int8_t *weights;
    const float *gain, *bias;
    const int32_t *start;
} Layer;

enum { CHANNELS = 16, MOST_LAYERS = 16, LINE = 64, BLOCK = 48, QUADS = 3 * CHANNELS / 4 * 3 * CHANNELS };

/* What was taken from four weights, and their place in the window. */
typedef struct {
    int8_t weights[4];
    int16_t dy, group, dx;
} Rest;

/* A layer as it is worked with. Some processors add two products in 16 bit: weights that could make them overflow are
 * parted there, and the rests of output k are those from ends[k - 1] to ends[k]. */
typedef struct {
    Layer layer;
    const Rest *rests;
    int ends[CHANNELS];
} Packed;

/* The arithmetic of one generation of processors; all are chain_rows.h in other words. */
typedef struct {
    const char *name;
    int (*present)(void);
    void (*first)(const uint8_t *const rows[3], const Packed *packed, int columns, size_t group_bytes, uint8_t *out);
    void (*hidden)(const uint8_t *const rows[3], const Packed *packed, int columns, size_t group_bytes, uint8_t *out);
    void (*last)(const uint8_t *const rows[3], const Packed *packed, int outputs, const uint16_t *own, int columns,
                 size_t group_bytes, int peak, uint16_t *out, size_t apart);
    int parts; /* whether weights have to be parted */
    void (*multiply)(int64_t rounds);
    int multiplications; /* in a round */
} Kind;

#if defined(__x86_64__) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 11))
#include "chain_avx512.h"
#include "chain_avx2.h"
#include "chain_avxvnni.h"
static const Kind *const kinds[] = {&kind_avx512, &kind_avxvnni, &kind_avx2, NULL};
#elif defined(__aarch64__) && defined(__GNUC__)
#include "chain_neon.h"
static const Kind *const kinds[] = {&kind_neon, NULL};
#else
static const Kind *const kinds[] = {NULL};
#endif

/* What one thread works in. */
typedef struct {
    uint8_t *memory, *zeros;
    uint16_t *own, *phases;
    uint8_t *ring[MOST_LAYERS][3];
    Packed layers[MOST_LAYERS];
    size_t group_bytes, apart;
} Workspace;

/* A row of four channels with zeros to its left and room for whole blocks. An odd number of cache lines, for rows that
 * are a power of two apart would take one another's place in the cache. */
static size_t group_size(int columns) {
    const size_t lines = (4 * ((size_t)columns + BLOCK + 1) + LINE - 1) / LINE + 1;
    return (lines | 1) * LINE;
}

/* Part two weights, so that no two numbers of 8 bit times them are more than 16 bit hold: together they are 128 at most. */
static int part(int8_t pair[2], int8_t rest[2]) {
    const int sum = pair[0] + pair[1], same = (pair[0] < 0) == (pair[1] < 0);
    const int over = !same ? 0 : sum > 128 ? sum - 128 : sum < -128 ? sum + 128 : 0;
    pair[0] = (int8_t)(pair[0] - over), rest[0] = (int8_t)over, rest[1] = 0;
    return over != 0;
}

static void part_all(Packed *packed, int layer, int outputs, int8_t *weights, Rest *rests) {
    const int taps = layer == 0 ? 1 : 3, groups = layer == 0 ? 1 : CHANNELS / 4;
    int count = 0;
    memcpy(weights, packed->layer.weights, 4 * (size_t)(3 * groups * taps * outputs));
    packed->layer.weights = weights, packed->rests = rests;
    for (int k = 0; k < outputs; k++) {
        for (int i = 0; i < 3 * groups * taps; i++) {
            int8_t *four = weights + 4 * (i * outputs + k);
            Rest rest = {.dy = i / taps / groups, .group = i / taps % groups, .dx = i % taps};
            if (part(four, rest.weights) | part(four + 2, rest.weights + 2)) rests[count++] = rest;
        }
        packed->ends[k] = count;
    }
}

static int prepare(Workspace *work, const Kind *kind, const Layer *layers, int count, int columns, int scale) {
    const size_t group = work->group_bytes = group_size(columns), row = CHANNELS / 4 * group;
    const int outputs = scale * scale;
    work->apart = ((size_t)columns + BLOCK + LINE) / LINE * LINE;
    /* The first layer reads bytes, for which the room of a group is plenty. */
    const size_t cleared = row + 3 * group + 3 * (count - 1) * row;
    const size_t numbers = (1 + outputs) * work->apart * sizeof(uint16_t);
    const size_t parts = kind->parts ? QUADS * (sizeof(Rest) + 4) : 0;
    uint8_t *at = work->memory = malloc(cleared + numbers + count * parts + LINE);
    if (!at) return NO_MEMORY;
    at += LINE - (uintptr_t)at % LINE;
    memset(at, 0, cleared);
    /* A row begins a cache line behind its memory, which is zero. */
    work->zeros = at + LINE, at += row;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < 3; k++, at += i ? row : group) work->ring[i][k] = at + LINE;
    work->own = (uint16_t *)at, at += work->apart * sizeof(uint16_t);
    work->phases = (uint16_t *)at, at += outputs * work->apart * sizeof(uint16_t);
    for (int i = 0; i < count; i++, at += parts) {
        work->layers[i] = (Packed){.layer = layers[i]};
        if (kind->parts)
            part_all(work->layers + i, i, i == count - 1 ? outputs : CHANNELS, (int8_t *)at, (Rest *)(at + 4 * QUADS));
    }
    return OK;
}

/* The 8-bit grid of the first layer: number * step + start, rounded; the largest numbers of 10 bit are beyond it. */
FASTEST static void quantise(const uint16_t *in, int columns, float step, float start, uint8_t *restrict out) {
    for (int x = 0; x < columns; x++) {
        const float value = in[x] * step + start;
        out[x] = (uint8_t)(int32_t)rounded(value > 255 ? 255 : value);
    }
}

static void take_numbers(const Plane *plane, int y, uint16_t *restrict out) {
    const uint8_t *row = (const uint8_t *)plane->in + (ptrdiff_t)y * plane->in_stride;
    if (plane->wide)
        memcpy(out, row, plane->columns * sizeof(uint16_t));
    else
        for (int x = 0; x < plane->columns; x++) out[x] = row[x];
}

/* Stage 0 reads rows, stage i applies layer i - 1; in step t stage i makes its row t - i. */
static void run(Workspace *work, const Kind *kind, int count, int scale, float step, float start, const Plane *plane) {
    const int columns = plane->columns, outputs = scale * scale, exact = !plane->wide && step == 1 && start == 0;
    const size_t group = work->group_bytes;
    for (int t = most(0, plane->first - count); t < plane->last + count; t++) {
        for (int i = 0; i <= count; i++) {
            const int y = t - i, reach = count - i;
            if (y < most(0, plane->first - reach) || y >= least(plane->rows, plane->last + reach)) continue;
            if (i == 0) {
                uint8_t *row = work->ring[0][y % 3];
                if (exact) {
                    memcpy(row, (const uint8_t *)plane->in + (ptrdiff_t)y * plane->in_stride, columns);
                } else {
                    take_numbers(plane, y, work->own);
                    quantise(work->own, columns, step, start, row);
                }
                continue;
            }
            const uint8_t *rows[3];
            for (int d = 0; d < 3; d++) {
                const int from = y + d - 1;
                rows[d] = from < 0 || from >= plane->rows ? work->zeros : work->ring[i - 1][from % 3];
            }
            const Packed *layer = work->layers + i - 1;
            if (i < count) {
                uint8_t *row = work->ring[i][y % 3];
                (i == 1 ? kind->first : kind->hidden)(rows, layer, columns, group, row);
                for (int g = 0; g < CHANNELS / 4; g++) memset(row + g * group + 4 * (size_t)columns, 0, 4);
                continue;
            }
            take_numbers(plane, y, work->own);
            kind->last(rows, layer, outputs, work->own, columns, group, plane->peak, work->phases, work->apart);
            for (int k = 0; k < scale; k++)
                vsr_interleave(work->phases + (size_t)k * scale * work->apart, work->apart, scale, columns, plane->wide,
                               (uint8_t *)plane->out + ((ptrdiff_t)y * scale + k) * plane->out_stride);
        }
    }
}

/* The name of the index-th kind of arithmetic, fastest first, that this processor can do; NULL behind the last. */
PUBLIC const char *vsr_kind(int index) {
    for (const Kind *const *kind = kinds; *kind; kind++)
        if ((*kind)->present() && index-- == 0) return (*kind)->name;
    return NULL;
}

static const Kind *kind_of(const char *name) {
    for (const Kind *const *kind = kinds; *kind; kind++)
        if (!strcmp((*kind)->name, name) && (*kind)->present()) return *kind;
    return NULL;
}

/* kind: as vsr_kind names it. step, start: number * step + start is what the first layer sees, in 0..255.
 * The gain and bias of the last layer are in numbers of the plane. */
PUBLIC int vsr_chain(const char *kind_name, const Layer *layers, int count, int scale, float step, float start,
                     const Plane *plane) {
    const Kind *kind = kind_of(kind_name);
    if (!kind || count < 2 || count > MOST_LAYERS || scale < 2 || scale > 4) return UNSUPPORTED;
    Workspace work;
    if (prepare(&work, kind, layers, count, plane->columns, scale)) return NO_MEMORY;
    run(&work, kind, count, scale, step, start, plane);
    free(work.memory);
    return OK;
}

/* Nothing but multiplications and additions of 8-bit integers; how many they were, or UNSUPPORTED. */
PUBLIC int64_t vsr_multiply(const char *kind_name, int64_t rounds) {
    const Kind *kind = kind_of(kind_name);
    if (!kind) return UNSUPPORTED;
    kind->multiply(rounds);
    return rounds * kind->multiplications;
}
