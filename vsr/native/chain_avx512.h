/* AVX-512 with VNNI: Intel's servers since 2019, AMD since Zen 4. */
#include <immintrin.h>

#define KIND "AVX-512 VNNI"
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
enum { lanes_avx512 = 16, across_avx512 = 3, many_avx512 = 8 };
#define PARTS 0
#define LANES lanes_avx512
#define ACROSS across_avx512
#define MANY many_avx512

typedef __m512i sums_avx512, quads_avx512, weights_avx512;
#define INLINE static inline __attribute__((always_inline)) TARGET

INLINE __m512i load_avx512(const uint8_t *at) { return _mm512_loadu_si512(at); }

INLINE __m512i window_avx512(const uint8_t *at) {
    const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));
    const __m512i apart = _mm512_setr_epi32(0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4);
    const __m512i all = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)at));
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(apart, all), order);
}

/* Written out, because compilers copy every sum to another register and back, and read weights twice. */
INLINE __m512i spread_avx512(const int8_t *at) {
    __m512i four;
    __asm__("vpbroadcastd %1, %0" : "=v"(four) : "m"(*(const int32_t *)at));
    return four;
}

INLINE __m512i begin_avx512(const int32_t *start, int output) {
    (void)start, (void)output;
    return _mm512_setzero_si512();
}

INLINE void dot_avx512(__m512i *sums, __m512i quads, __m512i four) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sums) : "v"(quads), "v"(four));
}

INLINE __m512 scaled_avx512(__m512i sums, float gain, float bias) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(gain), _mm512_set1_ps(bias));
}

INLINE void store_avx512(const __m512i sums[4], const float *gain, const float *bias, uint8_t *out) {
    const __m512i by_sample = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i numbers[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) numbers[i] = _mm512_cvtps_epi32(scaled_avx512(sums[i], gain[i], bias[i]));
    const __m512i low = _mm512_packs_epi32(numbers[0], numbers[1]), high = _mm512_packs_epi32(numbers[2], numbers[3]);
    _mm512_storeu_si512(out, _mm512_shuffle_epi8(_mm512_packus_epi16(low, high), by_sample));
}

INLINE void finish_avx512(__m512i sums, float gain, float bias, const uint16_t *own, int peak, uint16_t *out) {
    const __m512i numbers = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)own));
    const __m512 value = _mm512_add_ps(scaled_avx512(sums, gain, bias), _mm512_cvtepi32_ps(numbers));
    const __m512i number = _mm512_max_epi32(_mm512_cvtps_epi32(value), _mm512_setzero_si512());
    const __m512i within = _mm512_min_epi32(number, _mm512_set1_epi32(peak));
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi32_epi16(within));
}

static int present_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

#include "chain_rows.h"
