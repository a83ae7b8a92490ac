/* AVX2: any x86 processor since 2013 but the smallest. */
#include <immintrin.h>

#define KIND "AVX2"
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
enum { lanes_avx2 = 8, across_avx2 = 3, many_avx2 = 4 };
#define PARTS 1
#define LANES lanes_avx2
#define ACROSS across_avx2
#define MANY many_avx2

typedef __m256i sums_avx2, inputs_avx2, weights_avx2;
typedef __m256 floats_avx2;

/* Written out and in this order, because compilers else begin with more than there are registers for. */
INLINE __m256i load_avx2(const uint8_t *at) {
    __m256i inputs;
    __asm__ volatile("vmovdqu %1, %0" : "=x"(inputs) : "m"(*(const __m256i_u *)at));
    return inputs;
}

INLINE __m256i window_avx2(const uint8_t *at) {
    const __m256i order = _mm256_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6, 4, 5, 6, 7, 5, 6, 7, 8, 6, 7,
                                           8, 9, 7, 8, 9, 10);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)at)), order);
}

INLINE __m256i spread_avx2(const int8_t *at) {
    __m256i all;
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(all) : "m"(*(const int32_t *)at));
    return all;
}

INLINE void dot_avx2(__m256i *sums, __m256i inputs, __m256i weights) {
    __m256i products;
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
                     : "+x"(*sums), "=&x"(products)
                     : "x"(inputs), "x"(weights), "x"(_mm256_set1_epi16(1)));
}

INLINE void dot_pairs_avx2(__m256i *sums, __m256i inputs, __m256i weights) {
    __m256i products;
    __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
                     : "+x"(*sums), "=&x"(products)
                     : "x"(inputs), "x"(weights));
}

INLINE __m256i begin_avx2(const Layer *layer, int output) {
    (void)layer, (void)output;
    return _mm256_setzero_si256();
}

INLINE __m256 same_avx2(float number) { return _mm256_set1_ps(number); }
INLINE __m256 multiply_avx2(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
INLINE __m256 multiply_add_avx2(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }

INLINE __m256 within_avx2(__m256 value, float low, float high) {
    return _mm256_min_ps(_mm256_max_ps(value, same_avx2(low)), same_avx2(high));
}

INLINE __m256 scaled_avx2(__m256i sums, float gain, float bias) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), same_avx2(gain), same_avx2(bias));
}

INLINE __m256i whole_avx2(__m256 value) { return _mm256_cvtps_epi32(value); }

INLINE void pack_avx2(const __m256i numbers[4], uint8_t *out) {
    const __m256i by_sample =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m256i low = _mm256_packs_epi32(numbers[0], numbers[1]), high = _mm256_packs_epi32(numbers[2], numbers[3]);
    _mm256_storeu_si256((__m256i *)out, _mm256_shuffle_epi8(_mm256_packus_epi16(low, high), by_sample));
}

INLINE void pack_pairs_avx2(const __m256i numbers[2], uint8_t *out) {
    _mm256_storeu_si256((__m256i *)out, _mm256_blend_epi16(numbers[0], _mm256_slli_epi32(numbers[1], 16), 0xAA));
}

INLINE __m256 add_own_avx2(__m256 value, const uint16_t *own) {
    const __m256i numbers = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)own));
    return _mm256_add_ps(value, _mm256_cvtepi32_ps(numbers));
}

INLINE void store_wide_avx2(__m256i numbers, uint16_t *out) {
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(numbers, numbers), 0x08);
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(both));
}

static int present_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#include "chain_rows.h"
