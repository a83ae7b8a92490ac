/* A row of each form of layer, in the words of one generation of processors.
 *
 * Whoever includes this has defined, each with NAME() around it where it is a type or a function:
 *
 *   TARGET               the attribute that lets the compiler use the instructions
 *   PARTS                whether weights of 8 bit have to be parted, see Packed
 *   LANES                samples in a register: a lane holds one sample's sum of one output
 *   ACROSS, MANY         registers side by side, and outputs, whose sums are kept in registers at a time; at the end of
 *                        a row one register, where that is enough
 *   sums, floats         LANES numbers of 32 bit
 *   inputs, weights      four inputs of 8 bit, or two of 16, of LANES samples; as many weights, for all lanes
 *   load, window         inputs at an address; four neighbours of 8 bit from an address on, for LANES samples
 *   spread, begin        weights from where they lie; sums of no inputs
 *   dot, dot_pairs       sums with four products more in each lane; with two of 16 bit
 *   scaled, whole        sums * gain + bias; rounded to whole numbers, halves to even ones
 *   same, multiply_add   a number for all lanes; a * b + c
 *   within               no less than one number and no more than another
 *   pack, pack_pairs     four outputs as LANES times four bytes, saturated; two as LANES times two numbers of 16 bit
 *   add_own, store_wide  floats plus the samples of the input; LANES numbers of 16 bit into memory
 */
#define ALWAYS static inline __attribute__((always_inline)) TARGET

/* Of the p-th LANES samples from an address on. */
ALWAYS NAME(inputs) NAME(read)(const uint8_t *at, Window window, int p) {
    return window.unit == 1 ? NAME(window)(at + p * LANES) : NAME(load)(at + 4 * p * LANES);
}

ALWAYS void NAME(add)(NAME(sums) sums[ACROSS], const NAME(inputs) inputs[ACROSS], const int8_t *weights, int across) {
    const NAME(weights) all = NAME(spread)(weights);
    EACH (p, across) NAME(dot)(&sums[p], inputs[p], all);
}

/* The sums of `at_once` of a layer's outputs from `at` on, at the samples from column x on. */
ALWAYS void NAME(sum)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int at, int at_once,
                      int x, int across, size_t group_bytes, NAME(sums) sums[][ACROSS]) {
    const int8_t *weights = packed->layer.weights + 4 * at;
    const ptrdiff_t left = window.unit * (ptrdiff_t)x + window.left;
    NAME(inputs) inputs[ACROSS];
    EACH (k, at_once)
        EACH (p, across) sums[k][p] = NAME(begin)(&packed->layer, at + k);
    for (int dy = 0; dy < window.height; dy++) {
        const uint8_t *group = rows[dy] + left;
        for (int g = 0; g < window.groups; g++, group += group_bytes) {
            EACH (dx, window.taps) {
                EACH (p, across) inputs[p] = NAME(read)(group + window.step * dx, window, p);
                EACH (k, at_once) NAME(add)(sums[k], inputs, weights + 4 * k, across);
                weights += 4 * outputs;
            }
        }
    }
    if (!PARTS) return;
    EACH (k, at_once)
        for (int i = at + k ? packed->ends[at + k - 1] : 0; i < packed->ends[at + k]; i++) {
            const Rest *rest = packed->rests + i;
            const uint8_t *group = rows[rest->dy] + left + rest->group * group_bytes + window.step * rest->dx;
            EACH (p, across) inputs[p] = NAME(read)(group, window, p);
            NAME(add)(sums[k], inputs, rest->weights, across);
        }
}

/* Four outputs from `output` on, of LANES samples, as inputs of the next layer. */
ALWAYS void NAME(hand_on)(const NAME(sums) *sums, const Packed *packed, int output, uint8_t *out) {
    const Layer *layer = &packed->layer;
    NAME(sums) numbers[4];
    EACH (i, 4) numbers[i] = NAME(whole)(NAME(scaled)(sums[i], layer->gain[output + i], layer->bias[output + i]));
    NAME(pack)(numbers, out);
}

/* A block of a layer that is not the last, with ReLU: `across` registers of samples from column x on. */
ALWAYS void NAME(block)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int x, int across,
                        size_t group_bytes, uint8_t *out) {
    for (int at = 0; at < outputs; at += MANY) {
        NAME(sums) sums[MANY][ACROSS], kept[ACROSS][MANY];
        uint8_t *const to = out + (size_t)at / 4 * group_bytes + 4 * (size_t)x;
        NAME(sum)(rows, packed, window, outputs, at, MANY, x, across, group_bytes, sums);
        EACH (p, across)
            EACH (k, MANY) kept[p][k] = sums[k][p];
        EACH (p, across)
            EACH (g, MANY / 4) {
                NAME(hand_on)(kept[p] + 4 * g, packed, at + 4 * g, to + g * group_bytes + 4 * p * LANES);
            }
    }
}

ALWAYS void NAME(convolve)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int columns,
                           size_t group_bytes, uint8_t *out) {
    int x = 0;
    for (; x + LANES < columns; x += ACROSS * LANES)
        NAME(block)(rows, packed, window, outputs, x, ACROSS, group_bytes, out);
    if (x < columns) NAME(block)(rows, packed, window, outputs, x, 1, group_bytes, out);
}

/* A block of the last layer: numbers of the larger plane, a row for each place in the square that a sample becomes. */
ALWAYS void NAME(ends)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int at_once,
                       const uint16_t *own, int x, int across, size_t group_bytes, int peak, uint16_t *out,
                       size_t apart) {
    for (int at = 0; at < outputs; at += at_once) {
        NAME(sums) sums[MANY][ACROSS];
        NAME(sum)(rows, packed, window, outputs, at, at_once, x, across, group_bytes, sums);
        EACH (k, at_once)
            EACH (p, across) {
                NAME(floats) value = NAME(scaled)(sums[k][p], packed->layer.gain[at + k], packed->layer.bias[at + k]);
                value = NAME(add_own)(value, own + x + p * LANES);
                NAME(store_wide)(NAME(whole)(NAME(within)(value, 0.0f, (float)peak)),
                                 out + (at + k) * apart + x + p * LANES);
            }
    }
}

ALWAYS void NAME(phases)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int at_once,
                         const uint16_t *own, int columns, size_t group_bytes, int peak, uint16_t *out, size_t apart) {
    int x = 0;
    for (; x + LANES < columns; x += ACROSS * LANES)
        NAME(ends)(rows, packed, window, outputs, at_once, own, x, ACROSS, group_bytes, peak, out, apart);
    if (x < columns) NAME(ends)(rows, packed, window, outputs, at_once, own, x, 1, group_bytes, peak, out, apart);
}

ALWAYS void NAME(last)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs,
                       const uint16_t *own, int columns, size_t group_bytes, int peak, uint16_t *out, size_t apart) {
    if (outputs == 4)
        NAME(phases)(rows, packed, window, 4, 4, own, columns, group_bytes, peak, out, apart);
    else if (outputs == 9)
        NAME(phases)(rows, packed, window, 9, 3, own, columns, group_bytes, peak, out, apart);
    else
        NAME(phases)(rows, packed, window, 16, MANY, own, columns, group_bytes, peak, out, apart);
}

#define FUNCTION static __attribute__((noinline)) TARGET void
#define LAYER                                                                                                          \
    const uint8_t *const *rows, const Packed *packed, int columns, size_t group_bytes, uint8_t *between, uint8_t *out
#define LAST                                                                                                           \
    const uint8_t *const *rows, const Packed *packed, int scale, const uint16_t *own, int columns, size_t group_bytes, \
        int peak, uint16_t *out, size_t apart

/* A form of layer without tanh, of 16 outputs. */
ALWAYS void NAME(relu)(const uint8_t *const *rows, const Packed *packed, Window window, int columns, size_t group_bytes,
                       uint8_t *out) {
    NAME(convolve)(rows, packed, window, 16, columns, group_bytes, out);
    /* Blocks are computed whole, and beside the picture everything is zero. */
    for (int g = 0; g < 4; g++) memset(out + g * group_bytes + 4 * (size_t)columns, 0, 4);
}

FUNCTION NAME(relu_first)(LAYER) {
    (void)between;
    NAME(relu)(rows, packed, windows[RELU_FIRST], columns, group_bytes, out);
}

FUNCTION NAME(relu_hidden)(LAYER) {
    (void)between;
    NAME(relu)(rows, packed, windows[RELU_HIDDEN], columns, group_bytes, out);
}

FUNCTION NAME(residual)(LAST) {
    NAME(last)(rows, packed, windows[RESIDUAL], scale * scale, own, columns, group_bytes, peak, out, apart);
}

#include "chain_pairs.h"

enum { NAME(chains) = 12 };

/* Nothing but multiplications and additions. */
FUNCTION NAME(multiplications)(int64_t rounds) {
    const uint8_t ones[64] = {1, 1, 1, 1};
    const int32_t none[1] = {0};
    const Layer layer = {.totals = none};
    volatile uint8_t kept[sizeof(NAME(sums))];
    const NAME(inputs) inputs = NAME(load)(ones);
    const NAME(weights) four = NAME(spread)((const int8_t *)ones);
    NAME(sums) sums[NAME(chains)];
    EACH (i, NAME(chains)) sums[i] = NAME(begin)(&layer, 0);
    for (; rounds > 0; rounds--) {
        EACH (i, NAME(chains)) NAME(dot)(&sums[i], inputs, four);
    }
    EACH (i, NAME(chains)) memcpy((void *)kept, &sums[i], sizeof kept);
}

static const Kind NAME(kind) = {
    .name = KIND,
    .present = NAME(present),
    .layers = {[RELU_FIRST] = NAME(relu_first),
               [RELU_HIDDEN] = NAME(relu_hidden),
               [TANH_FIRST] = NAME(tanh_first),
               [TANH_HIDDEN] = NAME(tanh_hidden)},
    .lasts = {[RESIDUAL] = NAME(residual), [PLAIN] = NAME(plain)},
    .parts = PARTS,
    .multiply = NAME(multiplications),
    .multiplications = NAME(chains) *LANES * 4,
};

#undef KIND
#undef NAME
#undef TARGET
#undef INLINE
#undef ALWAYS
#undef FUNCTION
#undef LAYER
#undef LAST
#undef PARTS
#undef LANES
#undef ACROSS
#undef MANY
