/* Chains of convolutions in whole numbers, from one plane to a larger one, for the two networks that are small enough:
 *
 *   ECBSR, folded   3x3 convolutions, 16 channels wide, with ReLU between them, in 8 bit; the input is added to the
 *                   output before the sub-pixel shuffle
 *   ESPCN           5x5 to 64 channels, tanh, 3x3 to 32, tanh, 3x3, sub-pixel shuffle, in 16 bit
 *
 * A row goes through all layers before the next one is read: of each layer a few rows are kept, at 960 columns 16 KB
 * each for 16 channels of 8 bit, and 246 KB for 64 of 16, and of a picture nothing but its input and its output goes to
 * memory. Sums are exact integers, and the floats behind them are taken in one order, so a sample is the same in
 * whatever part of a picture it is computed, and on whatever processor.
 *
 * Four channels of a sample lie side by side, or two of 16 bit, then those of the next sample: a register holds them
 * for many samples, and each of its lanes makes one sum of an output. What is read is used for many outputs, and a
 * weight for many samples; so loading, which could keep no pace with multiplying, is a half of it or less.
 *
 * Outside the picture every layer's input is zero, as the networks were trained.
 */
#include <stdlib.h>
#include <string.h>

#include "planes.h"

/* What a layer is: the first of a network with ReLU, one between, the last of ECBSR, to which the picture is added; and
 * the three of ESPCN. */
typedef enum { RELU_FIRST, RELU_HIDDEN, RESIDUAL, TANH_FIRST, TANH_HIDDEN, PLAIN, FORMS } Form;

/* One convolution.
 * weights: [rows][groups][taps][outputs][4 bytes], as the form's window has it; the bytes are four weights of a group
 *          of four inputs, or two of 16 bit. Of a first layer a group is neighbours in a row: three and one without
 *          weight; or two, of which the last of the row has no weight. Of the other layers in 16 bit they are
 *          [4][rows][groups][outputs][4 bytes], of the four kinds that chain_pairs.h tells of.
 * gain, bias: for each output, result = sum * gain + bias; or behind tanh, tanh(sum * gain + bias) * 4095.
 * totals: the sum of the weights of each output where they have 8 bit, else 0. */
typedef struct {
    int32_t form;
    const int8_t *weights;
    const float *gain, *bias;
    const int32_t *totals;
} Layer;

/* What of the layer before is multiplied for one sample: height rows of groups of inputs, in each some taps a step
 * apart from `left` on, in bytes; a sample is `unit` bytes of a group. In 16 bit chain_pairs.h knows where taps are. */
typedef struct {
    int height, groups, taps, unit, left, step;
} Window;

static const Window windows[FORMS] = {
    [RELU_FIRST] = {3, 1, 1, 1, -1, 0}, [RELU_HIDDEN] = {3, 4, 3, 4, -4, 4}, [RESIDUAL] = {3, 4, 3, 4, -4, 4},
    [TANH_FIRST] = {5, 1, 3, 0, 0, 0},  [TANH_HIDDEN] = {3, 32, 4, 0, 0, 0}, [PLAIN] = {3, 16, 4, 0, 0, 0},
};

/* Planes of four bytes a lane that a layer gives. */
static const int given[FORMS] = {[RELU_FIRST] = 4, [RELU_HIDDEN] = 4, [TANH_FIRST] = 4 * 32, [TANH_HIDDEN] = 4 * 16};

enum { MOST_LAYERS = 16, MOST_OUTPUTS = 64, MOST_PHASES = 16, MOST_ROWS = 5, LINE = 64, BLOCK = 48 };

/* Inputs of 16 bit and their weights, as [height][groups][taps][outputs]: of each group `taps` lanes. */
typedef struct {
    const uint8_t *rows[MOST_ROWS];
    int height, groups, taps, outputs;
    size_t group_bytes;
    const int8_t *weights;
} Product;

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
    int ends[MOST_OUTPUTS];
} Packed;

/* The arithmetic of one generation of processors; all are chain_rows.h in other words. */
typedef struct {
    const char *name;
    int (*present)(void);
    void (*layers[FORMS])(const uint8_t *const *rows, const Packed *packed, int columns, size_t group_bytes,
                          uint8_t *between, uint8_t *out);
    void (*lasts[FORMS])(const uint8_t *const *rows, const Packed *packed, int scale, const uint16_t *own, int columns,
                         size_t group_bytes, int peak, uint16_t *out, size_t apart);
    int parts; /* whether weights have to be parted */
    void (*multiply)(int64_t rounds);
    int multiplications; /* in a round */
} Kind;

/* A loop whose end is known and that is written out, or what is indexed in it stays in memory. */
#ifndef EACH
#if defined(__clang__)
#define EACH(i, count) _Pragma("clang loop unroll(full)") for (int i = 0; i < (count); i++)
#else
#define EACH(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)
#endif
#endif

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

/* One step of the way of a row, the first being to read it. */
typedef struct {
    Packed packed;
    int reach;  /* rows of the step before that it needs above and below */
    int behind; /* rows that it is behind the reading */
    int beyond; /* rows beyond those asked for that the steps behind it need */
    int kept;   /* rows that are kept of it */
    size_t row_bytes;
    uint8_t *ring[MOST_ROWS], *zeros;
} Stage;

/* What one thread works in. */
typedef struct {
    uint8_t *memory, *between;
    uint16_t *own, *phases;
    Stage stages[MOST_LAYERS + 1];
    int count, scale;
    int columns; /* that share a lane, for which a layer has a plane each */
    size_t group_bytes, apart;
} Work;

/* A row of four bytes a sample with zeros to its left and room for whole blocks. An odd number of cache lines, for rows
 * that are a power of two apart would take one another's place in the cache. */
static size_t group_size(int lanes) {
    const size_t lines = (4 * ((size_t)lanes + BLOCK + 1) + LINE - 1) / LINE + 1;
    return (lines | 1) * LINE;
}

static int is_pairs(Form form) { return form >= TANH_FIRST; }

static int outputs_of(Form form, int scale) {
    const int outputs[FORMS] = {16, 16, scale * scale, 64, 32, scale * scale};
    return outputs[form];
}

static size_t weights_of(Form form, int scale) {
    const Window window = windows[form];
    return (size_t)window.height * window.groups * window.taps * outputs_of(form, scale);
}

/* Part two weights, so that no two numbers of 8 bit times them are more than 16 bit hold: together they are
 * 128 at most. */
static int part(int8_t pair[2], int8_t rest[2]) {
    const int sum = pair[0] + pair[1], same = (pair[0] < 0) == (pair[1] < 0);
    const int over = !same ? 0 : sum > 128 ? sum - 128 : sum < -128 ? sum + 128 : 0;
    pair[0] = (int8_t)(pair[0] - over), rest[0] = (int8_t)over, rest[1] = 0;
    return over != 0;
}

static void part_all(Packed *packed, int scale, int8_t *weights, Rest *rests) {
    const Form form = packed->layer.form;
    const Window window = windows[form];
    const int outputs = outputs_of(form, scale);
    int count = 0;
    memcpy(weights, packed->layer.weights, 4 * weights_of(form, scale));
    packed->layer.weights = weights, packed->rests = rests;
    for (int k = 0; k < outputs; k++) {
        for (int i = 0; i < window.height * window.groups * window.taps; i++) {
            int8_t *four = weights + 4 * (i * outputs + k);
            const int dy = i / window.taps / window.groups, group = i / window.taps % window.groups,
                      dx = i % window.taps;
            Rest rest = {.dy = dy, .group = group, .dx = dx};
            if (part(four, rest.weights) | part(four + 2, rest.weights + 2)) rests[count++] = rest;
        }
        packed->ends[k] = count;
    }
}

static int is_chain(const Layer *layers, int count, int scale) {
    if (count < 2 || count > MOST_LAYERS || scale < 2 || scale > 4) return 0;
    if (layers[0].form == TANH_FIRST) return count == 3 && layers[1].form == TANH_HIDDEN && layers[2].form == PLAIN;
    for (int i = 0; i < count; i++)
        if (layers[i].form != (i == 0 ? RELU_FIRST : i == count - 1 ? RESIDUAL : RELU_HIDDEN)) return 0;
    return 1;
}

static void plan(Work *work, const Layer *layers) {
    const int count = work->count;
    Stage *stages = work->stages;
    memset(stages, 0, sizeof work->stages);
    for (int i = 1; i <= count; i++) {
        stages[i].packed.layer = layers[i - 1];
        stages[i].reach = windows[layers[i - 1].form].height / 2;
        stages[i].behind = stages[i - 1].behind + stages[i].reach;
    }
    for (int i = count - 1; i >= 0; i--) {
        stages[i].beyond = stages[i + 1].beyond + stages[i + 1].reach;
        stages[i].kept = 2 * stages[i + 1].reach + 1;
        stages[i].row_bytes = (i ? given[layers[i - 1].form] : 1) * work->group_bytes;
    }
}

static int prepare(Work *work, const Kind *kind, const Layer *layers, int count, int columns, int scale) {
    work->count = count, work->scale = scale, work->columns = is_pairs(layers[0].form) ? 2 : 1;
    const int lanes = (columns + work->columns - 1) / work->columns, phases = work->columns * scale * scale;
    work->group_bytes = group_size(lanes);
    work->apart = ((size_t)lanes + BLOCK + LINE) / LINE * LINE;
    plan(work, layers);
    const size_t own = work->columns * work->apart,
                 between = is_pairs(layers[0].form) ? LINE + 32 * work->group_bytes : 0;
    size_t bytes = LINE + between + (own + phases * work->apart) * sizeof(uint16_t);
    for (int i = 0; i < count; i++) bytes += (work->stages[i].kept + 1) * work->stages[i].row_bytes;
    for (int i = 0; kind->parts && i < count; i++) bytes += weights_of(layers[i].form, scale) * (4 + sizeof(Rest));
    uint8_t *at = work->memory = malloc(bytes);
    if (!at) return NO_MEMORY;
    at += LINE - (uintptr_t)at % LINE;
    for (int i = 0; i < count; i++) {
        Stage *stage = work->stages + i;
        memset(at, 0, (stage->kept + 1) * stage->row_bytes);
        /* A row begins a cache line behind its memory, which is zero. */
        for (int k = 0; k < stage->kept; k++, at += stage->row_bytes) stage->ring[k] = at + LINE;
        stage->zeros = at + LINE, at += stage->row_bytes;
    }
    memset(at, 0, between);
    work->between = at + LINE, at += between;
    work->own = (uint16_t *)at, at += own * sizeof(uint16_t);
    work->phases = (uint16_t *)at, at += phases * work->apart * sizeof(uint16_t);
    for (int i = 0; kind->parts && i < count; i++) {
        const size_t fours = weights_of(layers[i].form, scale);
        if (!is_pairs(layers[i].form))
            part_all(&work->stages[i + 1].packed, scale, (int8_t *)at, (Rest *)(at + 4 * fours));
        at += fours * (4 + sizeof(Rest));
    }
    return OK;
}

/* The grid of the first layer: number * step + start, rounded; the largest numbers of 10 bit are beyond it. */
FASTEST static void quantise(uint16_t *numbers, int columns, float step, float start, float peak) {
    for (int x = 0; x < columns; x++) {
        const float value = numbers[x] * step + start;
        numbers[x] = (uint16_t)(int32_t)rounded(value > peak ? peak : value);
    }
}

FASTEST static void take_numbers(const Plane *plane, int y, uint16_t *restrict out) {
    const uint8_t *row = (const uint8_t *)plane->in + (ptrdiff_t)y * plane->in_stride;
    if (plane->wide)
        memcpy(out, row, plane->columns * sizeof(uint16_t));
    else
        for (int x = 0; x < plane->columns; x++) out[x] = row[x];
}

/* Numbers of 8 bit side by side. */
FASTEST static void as_bytes(const uint16_t *numbers, int columns, uint8_t *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = (uint8_t)numbers[x];
}

static void read_row(Work *work, const Plane *plane, int y, float step, float start, uint8_t *out) {
    const int pairs = is_pairs(work->stages[1].packed.layer.form);
    take_numbers(plane, y, work->own);
    if (step != 1 || start != 0) quantise(work->own, plane->columns, step, start, pairs ? 64 * 255 : 255);
    if (pairs)
        memcpy(out, work->own, plane->columns * sizeof(uint16_t));
    else
        as_bytes(work->own, plane->columns, out);
}

static void write_row(Work *work, const Kind *kind, const uint8_t *const *rows, const Plane *plane, int y) {
    const Packed *packed = &work->stages[work->count].packed;
    const int scale = work->scale, columns = plane->columns, each = work->columns, phases = each * scale;
    if (packed->layer.form == RESIDUAL) take_numbers(plane, y, work->own);
    kind->lasts[packed->layer.form](rows, packed, scale, work->own, columns, work->group_bytes, plane->peak,
                                    work->phases, work->apart);
    for (int k = 0; k < scale; k++) {
        const uint16_t *from = work->phases + (size_t)k * phases * work->apart;
        uint8_t *out = (uint8_t *)plane->out + ((ptrdiff_t)y * scale + k) * plane->out_stride;
        const int lanes = columns / each, done = lanes * phases;
        vsr_interleave(from, work->apart, phases, lanes, plane->wide, out);
        /* Of the last lane one column may be there and not the other. */
        if (columns % each)
            vsr_interleave(from + lanes, work->apart, scale, 1, plane->wide, out + done * (plane->wide + 1));
    }
}

/* In step t every stage makes the row that is as much behind as it is. */
static void run(Work *work, const Kind *kind, float step, float start, const Plane *plane) {
    const Stage *stages = work->stages, *last = stages + work->count;
    for (int t = most(0, plane->first - stages->beyond); t < plane->last + last->behind; t++) {
        for (const Stage *stage = stages; stage <= last; stage++) {
            const int y = t - stage->behind;
            if (y < most(0, plane->first - stage->beyond) || y >= least(plane->rows, plane->last + stage->beyond))
                continue;
            if (stage == stages) {
                read_row(work, plane, y, step, start, stage->ring[y % stage->kept]);
                continue;
            }
            const Stage *before = stage - 1;
            const uint8_t *rows[MOST_ROWS];
            for (int d = 0; d < before->kept; d++) {
                const int from = y + d - stage->reach;
                rows[d] = from < 0 || from >= plane->rows ? before->zeros : before->ring[from % before->kept];
            }
            if (stage < last)
                kind->layers[stage->packed.layer.form](rows, &stage->packed, plane->columns, work->group_bytes,
                                                       work->between, stage->ring[y % stage->kept]);
            else
                write_row(work, kind, rows, plane, y);
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

/* kind: as vsr_kind names it. step, start: number * step + start is what the first layer sees, in 0..255, or in
 * 0..16320 where it is in 16 bit. The gain and bias of the last layer are in numbers of the plane. */
PUBLIC int vsr_chain(const char *kind_name, const Layer *layers, int count, int scale, float step, float start,
                     const Plane *plane) {
    const Kind *kind = kind_of(kind_name);
    if (!kind || !is_chain(layers, count, scale)) return UNSUPPORTED;
    Work work;
    if (prepare(&work, kind, layers, count, plane->columns, scale)) return NO_MEMORY;
    run(&work, kind, step, start, plane);
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
