/* AVX-VNNI: Intel's processors since 2021 that have no AVX-512. What is not multiplication is that of AVX2. */
#include <cpuid.h>

#define KIND "AVX-VNNI"
#define NAME(x) x##_avxvnni
#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
enum { lanes_avxvnni = 8, across_avxvnni = 3, many_avxvnni = 4 };
#define PARTS 0
#define LANES lanes_avxvnni
#define ACROSS across_avxvnni
#define MANY many_avxvnni

typedef __m256i sums_avxvnni, inputs_avxvnni, weights_avxvnni;
typedef __m256 floats_avxvnni;
#define load_avxvnni load_avx2
#define window_avxvnni window_avx2
#define spread_avxvnni spread_avx2
#define begin_avxvnni begin_avx2
#define same_avxvnni same_avx2
#define multiply_avxvnni multiply_avx2
#define multiply_add_avxvnni multiply_add_avx2
#define within_avxvnni within_avx2
#define scaled_avxvnni scaled_avx2
#define whole_avxvnni whole_avx2
#define pack_avxvnni pack_avx2
#define pack_pairs_avxvnni pack_pairs_avx2
#define add_own_avxvnni add_own_avx2
#define store_wide_avxvnni store_wide_avx2

INLINE void dot_avxvnni(__m256i *sums, __m256i inputs, __m256i weights) {
    __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*sums) : "x"(inputs), "x"(weights));
}

INLINE void dot_pairs_avxvnni(__m256i *sums, __m256i inputs, __m256i weights) {
    __asm__ volatile("%{vex%} vpdpwssd %2, %1, %0" : "+x"(*sums) : "x"(inputs), "x"(weights));
}

static int present_avxvnni(void) {
    unsigned a, b, c, d;
    return present_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

#include "chain_rows.h"
