/* Arm with dot products: Apple's processors since 2019 (M1, A13), Arm's since 2018. */
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#define KIND "NEON dot product"
#define NAME(x) x##_neon
#if defined(__clang__)
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#define INLINE static inline __attribute__((always_inline)) TARGET
enum { lanes_neon = 4, across_neon = 3, many_neon = 8 };
#define PARTS 0
#define LANES lanes_neon
#define ACROSS across_neon
#define MANY many_neon

/* What is multiplied has a sign: 128 less than there is, for which sums begin with 128 times their weights. */
typedef int32x4_t sums_neon;
typedef int8x16_t quads_neon, weights_neon;

INLINE int8x16_t less_neon(uint8x16_t bytes) { return vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128))); }

INLINE int8x16_t load_neon(const uint8_t *at) { return less_neon(vld1q_u8(at)); }

INLINE int8x16_t window_neon(const uint8_t *at) {
    static const uint8_t order[16] = {0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6};
    return less_neon(vqtbl1q_u8(vld1q_u8(at), vld1q_u8(order)));
}

INLINE int8x16_t spread_neon(const int8_t *at) { return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)at)); }

INLINE int32x4_t begin_neon(const int32_t *start, int output) { return vdupq_n_s32(start[output]); }

/* Written out, because older compilers know the function only where all of the program may use the instruction. */
INLINE void dot_neon(int32x4_t *sums, int8x16_t quads, int8x16_t four) {
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(*sums) : "w"(quads), "w"(four));
}

INLINE float32x4_t scaled_neon(int32x4_t sums, float gain, float bias) {
    return vfmaq_n_f32(vdupq_n_f32(bias), vcvtq_f32_s32(sums), gain);
}

INLINE void store_neon(const int32x4_t sums[4], const float *gain, const float *bias, uint8_t *out) {
    int16x4_t numbers[4];
    for (int i = 0; i < 4; i++) numbers[i] = vqmovn_s32(vcvtnq_s32_f32(scaled_neon(sums[i], gain[i], bias[i])));
    const uint8x8_t low = vqmovun_s16(vcombine_s16(numbers[0], numbers[1]));
    const uint8x8_t high = vqmovun_s16(vcombine_s16(numbers[2], numbers[3]));
    static const uint8_t by_sample[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vst1q_u8(out, vqtbl1q_u8(vcombine_u8(low, high), vld1q_u8(by_sample)));
}

INLINE void finish_neon(int32x4_t sums, float gain, float bias, const uint16_t *own, int peak, uint16_t *out) {
    const float32x4_t numbers = vcvtq_f32_u32(vmovl_u16(vld1_u16(own)));
    const int32x4_t number = vcvtnq_s32_f32(vaddq_f32(scaled_neon(sums, gain, bias), numbers));
    vst1_u16(out, vqmovun_s32(vminq_s32(number, vdupq_n_s32(peak))));
}

static int present_neon(void) {
#if defined(__APPLE__)
    return 1;
#elif defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}

#include "chain_rows.h"
