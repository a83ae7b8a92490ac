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

/* Of 8 bit, what is multiplied has a sign: it is 128 less than there is, so sums begin with 128 times their weights. */
typedef int32x4_t sums_neon;
typedef float32x4_t floats_neon;
typedef uint8x16_t inputs_neon;
typedef int8x16_t weights_neon;

INLINE uint8x16_t load_neon(const uint8_t *at) { return vld1q_u8(at); }

INLINE uint8x16_t window_neon(const uint8_t *at) {
    static const uint8_t order[16] = {0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6};
    return vqtbl1q_u8(vld1q_u8(at), vld1q_u8(order));
}

INLINE int8x16_t spread_neon(const int8_t *at) { return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)at)); }

/* Written out, because older compilers know the function only where all of the program may use the instruction. */
INLINE void dot_neon(int32x4_t *sums, uint8x16_t inputs, int8x16_t weights) {
    const uint8x16_t less = veorq_u8(inputs, vdupq_n_u8(128));
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(*sums) : "w"(less), "w"(weights));
}

INLINE void dot_pairs_neon(int32x4_t *sums, uint8x16_t inputs, int8x16_t weights) {
    const int16x8_t a = vreinterpretq_s16_u8(inputs), b = vreinterpretq_s16_s8(weights);
    const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
    *sums = vaddq_s32(*sums, vpaddq_s32(low, high));
}

INLINE int32x4_t begin_neon(const Layer *layer, int output) { return vdupq_n_s32(128 * layer->totals[output]); }

INLINE float32x4_t same_neon(float number) { return vdupq_n_f32(number); }
INLINE float32x4_t multiply_neon(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
INLINE float32x4_t multiply_add_neon(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }

INLINE float32x4_t within_neon(float32x4_t value, float low, float high) {
    return vminq_f32(vmaxq_f32(value, same_neon(low)), same_neon(high));
}

INLINE float32x4_t scaled_neon(int32x4_t sums, float gain, float bias) {
    return vfmaq_f32(same_neon(bias), vcvtq_f32_s32(sums), same_neon(gain));
}

INLINE int32x4_t whole_neon(float32x4_t value) { return vcvtnq_s32_f32(value); }

INLINE void pack_neon(const int32x4_t numbers[4], uint8_t *out) {
    const int16x8_t low = vcombine_s16(vqmovn_s32(numbers[0]), vqmovn_s32(numbers[1]));
    const int16x8_t high = vcombine_s16(vqmovn_s32(numbers[2]), vqmovn_s32(numbers[3]));
    static const uint8_t by_sample[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vst1q_u8(out, vqtbl1q_u8(vcombine_u8(vqmovun_s16(low), vqmovun_s16(high)), vld1q_u8(by_sample)));
}

INLINE void pack_pairs_neon(const int32x4_t numbers[2], uint8_t *out) {
    vst1q_u8(out, vreinterpretq_u8_s32(vsliq_n_s32(numbers[0], numbers[1], 16)));
}

INLINE float32x4_t add_own_neon(float32x4_t value, const uint16_t *own) {
    return vaddq_f32(value, vcvtq_f32_u32(vmovl_u16(vld1_u16(own))));
}

INLINE void store_wide_neon(int32x4_t numbers, uint16_t *out) { vst1_u16(out, vqmovun_s32(numbers)); }

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
