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

typedef __m256i sums_avx2, quads_avx2, weights_avx2;

/* Written out and in this order, because compilers else begin with more than there are registers for. */
INLINE __m256i load_avx2(const uint8_t *at) {
    __m256i quads;
    __asm__ volatile("vmovdqu %1, %0" : "=x"(quads) : "m"(*(const __m256i_u *)at));
    return quads;
}

INLINE __m256i window_avx2(const uint8_t *at) {
    const __m256i order = _mm256_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6, 4, 5, 6, 7, 5, 6, 7, 8, 6, 7,
                                           8, 9, 7, 8, 9, 10);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)at)), order);
}

INLINE __m256i spread_avx2(const int8_t *at) {
    __m256i four;
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(four) : "m"(*(const int32_t *)at));
    return four;
}

INLINE __m256i begin_avx2(const int32_t *start, int output) {
    (void)start, (void)output;
    return _mm256_setzero_si256();
}

INLINE void dot_avx2(__m256i *sums, __m256i quads, __m256i four) {
    __m256i products;
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"
            : "+x"(*sums), "=&x"(products)
            : "x"(quads), "x"(four), "x"(_mm256_set1_epi16(1)));
}

INLINE __m256 scaled_avx2(__m256i sums, float gain, float bias) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(gain), _mm256_set1_ps(bias));
}

INLINE void store_avx2(const __m256i sums[4], const float *gain, const float *bias, uint8_t *out) {
    const __m256i by_sample = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m256i numbers[4];
    for (int i = 0; i < 4; i++) numbers[i] = _mm256_cvtps_epi32(scaled_avx2(sums[i], gain[i], bias[i]));
    const __m256i low = _mm256_packs_epi32(numbers[0], numbers[1]), high = _mm256_packs_epi32(numbers[2], numbers[3]);
    _mm256_storeu_si256((__m256i *)out, _mm256_shuffle_epi8(_mm256_packus_epi16(low, high), by_sample));
}

INLINE void finish_avx2(__m256i sums, float gain, float bias, const uint16_t *own, int peak, uint16_t *out) {
    const __m256i numbers = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)own));
    const __m256 value = _mm256_add_ps(scaled_avx2(sums, gain, bias), _mm256_cvtepi32_ps(numbers));
    const __m256i number = _mm256_max_epi32(_mm256_cvtps_epi32(value), _mm256_setzero_si256());
    const __m256i within = _mm256_min_epi32(number, _mm256_set1_epi32(peak));
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(within, within), 0x08);
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(both));
}

static int present_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#include "chain_rows.h"
