/* The arithmetic of the default network and of interpolation, for planes as video has them.
 *
 * Two entries, both on rows `first` to `last` of one plane, so that several threads can share a picture and no result
 * depends on how it is shared:
 *
 *   vsr_chain        a chain of 3x3 convolutions in 8-bit integers, 16 channels wide, whose input is added to its
 *                    output before the sub-pixel shuffle (ECBSR, folded); AVX-512 VNNI only
 *   vsr_interpolate  a separable kernel at r x r phases, in floats; plain C
 *
 * A row goes through all layers before the next one is read: of each layer three rows are kept, 15 KB each at 960
 * columns, and nothing of a picture but its input and its output ever leaves the second-level cache. Sums are exact
 * integers, and the floats behind them are taken in one order, so a sample is the same in whatever part of a picture it
 * is computed.
 *
 * Rows outside the picture are zero for the chain, as the network was trained, and repeat the last one for
 * interpolation.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ABI_VERSION 2

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC __attribute__((visibility("default")))
#endif

/* One plane, its result, and what part of it is wanted. Strides in bytes. */
typedef struct {
    const void *in;
    void *out;
    ptrdiff_t in_stride, out_stride;
    int32_t rows, columns;
    int32_t first, last;
    int32_t wide; /* samples are 16 bit, else 8 */
    int32_t peak; /* the largest number there is */
} Plane;

/* One convolution with sixteen outputs, of which the last layer uses scale * scale.
 * weights: [3 rows][groups][16 outputs][4 inputs], a group being four bytes of a row of the input as it lies in memory;
 *          for the last layer at scale 2 [3 rows][12 groups][4 outputs][4 inputs].
 * gain, bias: sixteen each; result = sum * gain + bias. */
typedef struct {
    const int8_t *weights;
    const float *gain, *bias;
} Layer;

enum { OK = 0, NO_MEMORY = -1, UNSUPPORTED = -2 };
enum { CHANNELS = 16, MOST_LAYERS = 16, SLACK = 64 };

PUBLIC int vsr_abi_version(void) { return ABI_VERSION; }

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

#if defined(__x86_64__) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 11))
#define HAS_CHAIN 1
#include <immintrin.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) VNNI

/* Samples whose sums are in registers at a time: with one for weights and one for what is multiplied, 26 of 32. */
enum { BLOCK = 24 };
/* The same for the last layer at scale 2, four samples in a register. */
enum { QUADS = 6 };

/* The sums of BLOCK samples from column x on. */
INLINE void sum_block(const uint8_t *const rows[3], const int8_t *weights, int channels, int groups, int x,
                      __m512i sums[BLOCK]) {
#pragma GCC unroll 24
    for (int p = 0; p < BLOCK; p++) sums[p] = _mm512_setzero_si512();
    for (int dy = 0; dy < 3; dy++) {
        const uint8_t *at = rows[dy] + (size_t)x * channels;
        for (int g = 0; g < groups; g++, at += 4, weights += 64) {
            const __m512i w = _mm512_loadu_si512(weights);
            /* Hidden from the compiler, which would else keep an index register for each of the 24 places. */
            __asm__("" : "+r"(at));
#pragma GCC unroll 24
            for (int p = 0; p < BLOCK; p++) {
                __m512i four;
                /* Written out, because compilers copy every sum to another register and back. */
                __asm__("vpbroadcastd %1, %0" : "=v"(four) : "m"(*(const int32_t *)(at + p * channels)));
                __asm__("vpdpbusd %2, %1, %0" : "+v"(sums[p]) : "v"(four), "v"(w));
            }
        }
    }
}

INLINE void convolve(const uint8_t *const rows[3], const Layer *layer, int channels, int groups, int columns,
                     uint8_t *restrict out) {
    const __m512 gain = _mm512_loadu_ps(layer->gain), bias = _mm512_loadu_ps(layer->bias);
    for (int x = 0; x < columns; x += BLOCK) {
        __m512i sums[BLOCK];
        sum_block(rows, layer->weights, channels, groups, x, sums);
#pragma GCC unroll 24
        for (int p = 0; p < BLOCK; p++) {
            const __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[p]), gain, bias);
            const __m512i number = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
            _mm_storeu_si128((__m128i *)(out + (size_t)(x + p) * CHANNELS), _mm512_cvtusepi32_epi8(number));
        }
    }
}

static __attribute__((noinline)) VNNI void convolve_first(const uint8_t *const rows[3], const Layer *layer, int columns,
                                                          uint8_t *out) {
    convolve(rows, layer, 1, 1, columns, out);
}

static __attribute__((noinline)) VNNI void convolve_hidden(const uint8_t *const rows[3], const Layer *layer, int columns,
                                                           uint8_t *out) {
    convolve(rows, layer, CHANNELS, 3 * CHANNELS / 4, columns, out);
}

INLINE __m512i finished(__m512i sums, __m512 gain, __m512 bias, __m512i numbers, __m512i peak) {
    const __m512 detail = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), gain, bias);
    const __m512i number = _mm512_cvtps_epi32(_mm512_add_ps(detail, _mm512_cvtepi32_ps(numbers)));
    return _mm512_min_epi32(_mm512_max_epi32(number, _mm512_setzero_si512()), peak);
}

/* Four samples of the input as 32-bit integers. */
INLINE __m128i four_of(const void *row, int x, int wide) {
    if (wide) return _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)((const uint16_t *)row + x)));
    return _mm_cvtepu8_epi32(_mm_loadu_si32((const uint8_t *)row + x));
}

/* The last layer at scale 2. A register holds four outputs of four samples, so none of its lanes is idle. */
INLINE void last_twice(const uint8_t *const rows[3], const Layer *layer, const void *input, int columns, int wide,
                       int peak, uint8_t *restrict above, uint8_t *restrict below) {
    const __m512 gain = _mm512_broadcast_f32x4(_mm_loadu_ps(layer->gain));
    const __m512 bias = _mm512_broadcast_f32x4(_mm_loadu_ps(layer->bias));
    const __m512i four_times = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m128i by_row = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256i by_row_wide = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    const __m512i highest = _mm512_set1_epi32(peak);
    for (int x = 0; x < columns; x += 4 * QUADS) {
        const int8_t *weights = layer->weights;
        __m512i sums[QUADS];
        for (int q = 0; q < QUADS; q++) sums[q] = _mm512_setzero_si512();
        for (int dy = 0; dy < 3; dy++) {
            for (int dx = 0; dx < 3; dx++, weights += 64) {
                const uint8_t *at = rows[dy] + (size_t)(x + dx) * CHANNELS;
                const __m512i w0 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)weights));
                const __m512i w1 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(weights + 16)));
                const __m512i w2 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(weights + 32)));
                const __m512i w3 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(weights + 48)));
#pragma GCC unroll 6
                for (int q = 0; q < QUADS; q++) {
                    const __m512i four = _mm512_loadu_si512(at + 4 * CHANNELS * q);
                    sums[q] = _mm512_dpbusd_epi32(sums[q], _mm512_shuffle_epi32(four, 0x00), w0);
                    sums[q] = _mm512_dpbusd_epi32(sums[q], _mm512_shuffle_epi32(four, 0x55), w1);
                    sums[q] = _mm512_dpbusd_epi32(sums[q], _mm512_shuffle_epi32(four, 0xAA), w2);
                    sums[q] = _mm512_dpbusd_epi32(sums[q], _mm512_shuffle_epi32(four, 0xFF), w3);
                }
            }
        }
#pragma GCC unroll 6
        for (int q = 0; q < QUADS; q++) {
            const __m512i own = _mm512_castsi128_si512(four_of(input, x + 4 * q, wide));
            const __m512i numbers = _mm512_permutexvar_epi32(four_times, own);
            const __m512i number = finished(sums[q], gain, bias, numbers, highest);
            const size_t to = (size_t)(x + 4 * q) * 2;
            if (wide) {
                const __m256i both = _mm256_permutevar8x32_epi32(_mm512_cvtusepi32_epi16(number), by_row_wide);
                _mm_storeu_si128((__m128i *)(above + 2 * to), _mm256_castsi256_si128(both));
                _mm_storeu_si128((__m128i *)(below + 2 * to), _mm256_extracti128_si256(both, 1));
            } else {
                const __m128i both = _mm_shuffle_epi8(_mm512_cvtusepi32_epi8(number), by_row);
                _mm_storel_epi64((__m128i *)(above + to), both);
                _mm_storel_epi64((__m128i *)(below + to), _mm_unpackhi_epi64(both, both));
            }
        }
    }
}

/* The last layer at scale 3 and 4: the outputs of one sample are the lanes of a register. */
INLINE void last_more(const uint8_t *const rows[3], const Layer *layer, const void *input, int columns, int wide,
                      int peak, int scale, uint8_t *restrict out, size_t row_bytes) {
    const __m512 gain = _mm512_loadu_ps(layer->gain), bias = _mm512_loadu_ps(layer->bias);
    const __m512i highest = _mm512_set1_epi32(peak);
    for (int x = 0; x < columns; x += BLOCK) {
        __m512i sums[BLOCK];
        sum_block(rows, layer->weights, CHANNELS, 3 * CHANNELS / 4, x, sums);
#pragma GCC unroll 24
        for (int p = 0; p < BLOCK; p++) {
            const int own = wide ? ((const uint16_t *)input)[x + p] : ((const uint8_t *)input)[x + p];
            const __m512i number = finished(sums[p], gain, bias, _mm512_set1_epi32(own), highest);
            uint8_t *to = out + (size_t)(x + p) * scale * (wide ? 2 : 1);
            /* Of three samples four are stored: the next ones write over what is too much, at the end there is room. */
            if (wide) {
                const __m256i lanes = _mm512_cvtusepi32_epi16(number);
                for (int i = 0; i < scale; i++) {
                    const __m256i order = _mm256_setr_epi16(scale * i, scale * i + 1, scale * i + 2, scale * i + 3, 0, 0, 0,
                                                            0, 0, 0, 0, 0, 0, 0, 0, 0);
                    const __m256i row = _mm256_permutexvar_epi16(order, lanes);
                    _mm_storel_epi64((__m128i *)(to + i * row_bytes), _mm256_castsi256_si128(row));
                }
            } else {
                const __m128i lanes = _mm512_cvtusepi32_epi8(number);
                _mm_storeu_si32(to, lanes);
                _mm_storeu_si32(to + row_bytes, scale == 3 ? _mm_srli_si128(lanes, 3) : _mm_srli_si128(lanes, 4));
                _mm_storeu_si32(to + 2 * row_bytes, scale == 3 ? _mm_srli_si128(lanes, 6) : _mm_srli_si128(lanes, 8));
                if (scale == 4) _mm_storeu_si32(to + 3 * row_bytes, _mm_srli_si128(lanes, 12));
            }
        }
    }
}

static __attribute__((noinline)) VNNI void finish_row(const uint8_t *const rows[3], const Layer *layer,
                                                      const void *input, const Plane *plane, int scale, uint8_t *out,
                                                      size_t row_bytes) {
    const int columns = plane->columns;
    if (scale == 2 && plane->wide)
        last_twice(rows, layer, input, columns, 1, plane->peak, out, out + row_bytes);
    else if (scale == 2)
        last_twice(rows, layer, input, columns, 0, plane->peak, out, out + row_bytes);
    else if (scale == 3 && plane->wide)
        last_more(rows, layer, input, columns, 1, plane->peak, 3, out, row_bytes);
    else if (scale == 3)
        last_more(rows, layer, input, columns, 0, plane->peak, 3, out, row_bytes);
    else if (plane->wide)
        last_more(rows, layer, input, columns, 1, plane->peak, 4, out, row_bytes);
    else
        last_more(rows, layer, input, columns, 0, plane->peak, 4, out, row_bytes);
}

/* The 8-bit grid of the first layer: number * step + start, rounded. */
static VNNI void quantise(const void *input, int columns, int wide, float step, float start, uint8_t *restrict out) {
    const __m512 steps = _mm512_set1_ps(step), starts = _mm512_set1_ps(start);
    for (int x = 0; x < columns; x += 16) {
        const __m512i number = wide ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)((const uint16_t *)input + x)))
                                    : _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)((const uint8_t *)input + x)));
        const __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(number), steps, starts);
        _mm_storeu_si128((__m128i *)(out + x), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(value)));
    }
}

/* What one thread works in. Every row has a sample of zeros to its left and right, and room for whole blocks. */
typedef struct {
    uint8_t *memory, *zeros, *input, *output;
    uint8_t *ring[MOST_LAYERS][3];
    size_t output_bytes;
} Workspace;

static size_t row_bytes(int columns, int channels) { return ((size_t)(columns + 2 + BLOCK) * channels + 2 * SLACK) / SLACK * SLACK; }

static int prepare(Workspace *work, int layers, int columns, int scale) {
    const size_t first = row_bytes(columns, 1), hidden = row_bytes(columns, CHANNELS);
    const size_t input = row_bytes(columns, 2);
    work->output_bytes = row_bytes(columns * scale + BLOCK * scale, 2);
    const size_t cleared = hidden + 3 * first + 3 * (layers - 1) * hidden + input;
    uint8_t *at = work->memory = malloc(cleared + scale * work->output_bytes);
    if (!at) return NO_MEMORY;
    memset(at, 0, cleared);
    work->zeros = at, at += hidden;
    work->input = at, at += input;
    for (int i = 0; i < layers; i++)
        for (int k = 0; k < 3; k++, at += i ? hidden : first) work->ring[i][k] = at;
    work->output = at;
    return OK;
}

/* Stage 0 reads rows, stage i applies layer i - 1; in step t stage i makes its row t - i. */
static VNNI void run_chain(Workspace *work, const Layer *layers, int count, int scale, float step, float start,
                           const Plane *plane) {
    const int columns = plane->columns, size = plane->wide ? 2 : 1, exact = !plane->wide && step == 1 && start == 0;
    const uint8_t *in = plane->in;
    for (int t = most(0, plane->first - count); t < plane->last + count; t++) {
        for (int i = 0; i <= count; i++) {
            const int y = t - i, reach = count - i;
            if (y < most(0, plane->first - reach) || y >= least(plane->rows, plane->last + reach)) continue;
            const uint8_t *source = in + (ptrdiff_t)y * plane->in_stride;
            if (i == 0 && exact) {
                memcpy(work->ring[0][y % 3] + 1, source, columns);
                continue;
            }
            if (i == 0 || i == count) {
                /* Blocks are read whole, and the plane may end where its memory does. */
                memcpy(work->input, source, (size_t)columns * size);
            }
            if (i == 0) {
                uint8_t *row = work->ring[0][y % 3] + 1;
                quantise(work->input, columns, plane->wide, step, start, row);
                row[columns] = 0;
                continue;
            }
            const uint8_t *rows[3];
            for (int d = 0; d < 3; d++) {
                const int from = y + d - 1;
                rows[d] = from < 0 || from >= plane->rows ? work->zeros : work->ring[i - 1][from % 3];
            }
            if (i < count) {
                uint8_t *row = work->ring[i][y % 3] + CHANNELS;
                (i == 1 ? convolve_first : convolve_hidden)(rows, layers + i - 1, columns, row);
                memset(row + (size_t)columns * CHANNELS, 0, CHANNELS);
                continue;
            }
            finish_row(rows, layers + i - 1, work->input, plane, scale, work->output, work->output_bytes);
            for (int k = 0; k < scale; k++)
                memcpy((uint8_t *)plane->out + ((ptrdiff_t)y * scale + k) * plane->out_stride,
                       work->output + k * work->output_bytes, (size_t)columns * scale * size);
        }
    }
}

static __attribute__((noinline)) VNNI void multiply(int64_t rounds) {
    __m512i sums[16];
    const __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_si512();
    for (; rounds > 0; rounds--) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sums[i]) : "v"(a), "v"(b));
    }
}
#endif

/* Whether vsr_chain can work on this processor. */
PUBLIC int vsr_has_chain(void) {
#ifdef HAS_CHAIN
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}

/* step, start: number * step + start is what the first layer sees, in 0..255.
 * The gain and bias of the last layer are in numbers of the plane. */
PUBLIC int vsr_chain(const Layer *layers, int count, int scale, float step, float start, const Plane *plane) {
    if (!vsr_has_chain() || count < 2 || count > MOST_LAYERS || scale < 2 || scale > 4) return UNSUPPORTED;
#ifdef HAS_CHAIN
    Workspace work;
    if (prepare(&work, count, plane->columns, scale)) return NO_MEMORY;
    run_chain(&work, layers, count, scale, step, start, plane);
    free(work.memory);
#endif
    return OK;
}

/* As fast as this processor multiplies and adds 8-bit integers: rounds * 1024 multiplications, nothing else. */
PUBLIC int vsr_multiply(int64_t rounds) {
    if (!vsr_has_chain()) return UNSUPPORTED;
#ifdef HAS_CHAIN
    multiply(rounds);
#endif
    return OK;
}

/* To the nearest whole number, halves to the even one, for what is not negative: the sum has no bits left for less. */
static inline float rounded(float value) { return (value + 8388608.0f) - 8388608.0f; }

/* One version for each generation of processors, chosen when the library is loaded; the GNU C library can do that. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__GLIBC__)
#define FASTEST __attribute__((optimize("O3"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FASTEST
#endif

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

FASTEST static void whole8(const float *in, int columns, float peak, uint8_t *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = (uint8_t)(int32_t)rounded(in[x] < 0 ? 0 : in[x] > peak ? peak : in[x]);
}

FASTEST static void whole16(const float *in, int columns, float peak, uint16_t *restrict out) {
    for (int x = 0; x < columns; x++) out[x] = (uint16_t)(int32_t)rounded(in[x] < 0 ? 0 : in[x] > peak ? peak : in[x]);
}

/* phases: [scale] rows `apart` samples from one another; out: their samples in turn. */
FASTEST static void interleave8(const uint8_t *phases, size_t apart, int scale, int columns, uint8_t *restrict out) {
    if (scale == 2)
        for (int x = 0; x < columns; x++) out[2 * x] = phases[x], out[2 * x + 1] = phases[apart + x];
    else
        for (int x = 0; x < columns; x++)
            for (int b = 0; b < scale; b++) out[scale * x + b] = phases[b * apart + x];
}

FASTEST static void interleave16(const uint16_t *phases, size_t apart, int scale, int columns, uint16_t *restrict out) {
    if (scale == 2)
        for (int x = 0; x < columns; x++) out[2 * x] = phases[x], out[2 * x + 1] = phases[apart + x];
    else
        for (int x = 0; x < columns; x++)
            for (int b = 0; b < scale; b++) out[scale * x + b] = phases[b * apart + x];
}

/* down, across: [scale][taps] weights, taps odd; sample y * scale + a is the sum of down[a][k] * row y + k - taps / 2. */
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
    void *phases = values + apart;
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
        for (int k = 0; k < taps; k++) rows[k] = memory + (most(0, least(plane->rows - 1, y + k - margin)) % taps) * apart;
        for (int a = 0; a < scale; a++) {
            uint8_t *to = (uint8_t *)plane->out + ((ptrdiff_t)y * scale + a) * plane->out_stride;
            weigh(rows, down + a * taps, taps, columns, sum + margin);
            for (int k = 0; k < margin; k++) sum[k] = sum[margin], sum[margin + columns + k] = sum[margin + columns - 1];
            for (int b = 0; b < scale; b++) {
                weigh(places, across + b * taps, taps, columns, values);
                if (plane->wide)
                    whole16(values, columns, (float)plane->peak, (uint16_t *)phases + b * apart);
                else
                    whole8(values, columns, (float)plane->peak, (uint8_t *)phases + b * apart);
            }
            if (plane->wide)
                interleave16(phases, apart, scale, columns, (uint16_t *)to);
            else
                interleave8(phases, apart, scale, columns, to);
        }
    }
    free(memory);
    free(rows);
    return OK;
}
