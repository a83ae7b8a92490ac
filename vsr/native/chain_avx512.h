/* AVX-512 with VNNI: Intel's servers since 2019, AMD since Zen 4. */
#include <immintrin.h>

#define KIND "AVX-512 VNNI"
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline)) TARGET
enum { lanes_avx512 = 16, across_avx512 = 3, many_avx512 = 8 };
#define PARTS 0
#define LANES lanes_avx512
#define ACROSS across_avx512
#define MANY many_avx512

typedef __m512i sums_avx512, inputs_avx512, weights_avx512;
typedef __m512 floats_avx512;

INLINE __m512i load_avx512(const uint8_t *at) { return _mm512_loadu_si512(at); }

INLINE __m512i window_avx512(const uint8_t *at) {
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
    const __m512i apart = _mm512_setr_epi32(0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4);
    const __m512i all = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)at));
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(apart, all), order);
}

/* Written out, because compilers copy every sum to another register and back, and read weights twice. */
INLINE __m512i spread_avx512(const int8_t *at) {
    __m512i all;
    __asm__("vpbroadcastd %1, %0" : "=v"(all) : "m"(*(const int32_t *)at));
    return all;
}

INLINE void dot_avx512(__m512i *sums, __m512i inputs, __m512i weights) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(inputs), "v"(weights));
}

INLINE void dot_pairs_avx512(__m512i *sums, __m512i inputs, __m512i weights) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(*sums) : "v"(inputs), "v"(weights));
}

INLINE __m512i begin_avx512(const Layer *layer, int output) {
    (void)layer, (void)output;
    return _mm512_setzero_si512();
}

INLINE __m512 same_avx512(float number) { return _mm512_set1_ps(number); }
INLINE __m512 multiply_avx512(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
INLINE __m512 multiply_add_avx512(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }

INLINE __m512 within_avx512(__m512 value, float low, float high) {
    return _mm512_min_ps(_mm512_max_ps(value, same_avx512(low)), same_avx512(high));
}

INLINE __m512 scaled_avx512(__m512i sums, float gain, float bias) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), same_avx512(gain), same_avx512(bias));
}

INLINE __m512i whole_avx512(__m512 value) { return _mm512_cvtps_epi32(value); }

INLINE void pack_avx512(const __m512i numbers[4], uint8_t *out) {
    const __m512i by_sample =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i low = _mm512_packs_epi32(numbers[0], numbers[1]), high = _mm512_packs_epi32(numbers[2], numbers[3]);
    _mm512_storeu_si512(out, _mm512_shuffle_epi8(_mm512_packus_epi16(low, high), by_sample));
}

INLINE void pack_pairs_avx512(const __m512i numbers[2], uint8_t *out) {
    _mm512_storeu_si512(out, _mm512_mask_blend_epi16(0xAAAAAAAAu, numbers[0], _mm512_slli_epi32(numbers[1], 16)));
}

INLINE __m512 add_own_avx512(__m512 value, const uint16_t *own) {
    const __m512i numbers = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)own));
    return _mm512_add_ps(value, _mm512_cvtepi32_ps(numbers));
}

INLINE void store_wide_avx512(__m512i numbers, uint16_t *out) {
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi32_epi16(numbers));
}

static int present_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

#include "chain_rows.h"
