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

ALWAYS void NAME(add)(NAME(sums) sums[ACROSS], const NAME(inputs) inputs[ACROSS], const int8_t *weights, Window window,
                      int across) {
    const NAME(weights) all = NAME(spread)(weights);
#pragma GCC unroll 16
    for (int p = 0; p < across; p++) {
        if (window.pairs)
            NAME(dot_pairs)(&sums[p], inputs[p], all);
        else
            NAME(dot)(&sums[p], inputs[p], all);
    }
}

/* The sums of `at_once` of a layer's outputs from `at` on, at the samples from column x on. */
ALWAYS void NAME(sum)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int at, int at_once,
                      int x, int across, size_t group_bytes, NAME(sums) sums[][ACROSS]) {
    const int8_t *weights = packed->layer.weights + 4 * at;
    const ptrdiff_t left = window.unit * (ptrdiff_t)x + window.left;
    NAME(inputs) inputs[ACROSS];
#pragma GCC unroll 16
    for (int k = 0; k < at_once; k++)
#pragma GCC unroll 16
        for (int p = 0; p < across; p++) sums[k][p] = NAME(begin)(&packed->layer, at + k);
    for (int dy = 0; dy < window.height; dy++) {
        const uint8_t *group = rows[dy] + left;
        for (int g = 0; g < window.groups; g++, group += group_bytes) {
#pragma GCC unroll 3
            for (int dx = 0; dx < window.taps; dx++, weights += 4 * outputs) {
#pragma GCC unroll 16
                for (int p = 0; p < across; p++) inputs[p] = NAME(read)(group + window.step * dx, window, p);
#pragma GCC unroll 16
                for (int k = 0; k < at_once; k++) NAME(add)(sums[k], inputs, weights + 4 * k, window, across);
            }
        }
    }
    if (!PARTS || window.pairs) return;
#pragma GCC unroll 16
    for (int k = 0; k < at_once; k++)
        for (int i = at + k ? packed->ends[at + k - 1] : 0; i < packed->ends[at + k]; i++) {
            const Rest *rest = packed->rests + i;
            const uint8_t *group = rows[rest->dy] + left + rest->group * group_bytes + window.step * rest->dx;
#pragma GCC unroll 16
            for (int p = 0; p < across; p++) inputs[p] = NAME(read)(group, window, p);
            NAME(add)(sums[k], inputs, rest->weights, window, across);
        }
}

/* tanh as x times a polynomial of (x / 4.5)^2, taken from -1 to 1: 1.1e-4 off at most, a half of what 16 bits hold
 * here. Beyond 4.5, where it is 1 but for 2.5e-4, it stays as it is there. */
ALWAYS NAME(floats) NAME(squash)(NAME(floats) x) {
    static const float terms[] = {0.196579471f,  -0.243650103f,  -0.323778685f, 0.394137093f,  0.27822662f,
                                  -0.329634456f, -0.0419867966f, 0.0400742168f, 0.0797202862f, -0.0967344886f,
                                  0.108765017f,  -0.15272053f,   0.313193934f};
    x = NAME(within)(x, -4.5f, 4.5f);
    const NAME(floats) part = NAME(multiply)(x, NAME(same)(2 / (4.5f * 4.5f)));
    const NAME(floats) v = NAME(multiply_add)(x, part, NAME(same)(-1.0f));
    NAME(floats) sum = NAME(same)(terms[0]);
#pragma GCC unroll 16
    for (int i = 1; i < (int)(sizeof terms / sizeof *terms); i++)
        sum = NAME(multiply_add)(sum, v, NAME(same)(terms[i]));
    return NAME(multiply)(sum, x);
}

/* Outputs from `output` on, of LANES samples, as inputs of the next layer: behind tanh two in 16 bit, else four in
 * 8. */
ALWAYS void NAME(hand_on)(const NAME(sums) *sums, const Packed *packed, int output, int tanh, uint8_t *out) {
    const int by = tanh ? 2 : 4;
    const Layer *layer = &packed->layer;
    NAME(sums) numbers[4];
#pragma GCC unroll 4
    for (int i = 0; i < by; i++) {
        NAME(floats) value = NAME(scaled)(sums[i], layer->gain[output + i], layer->bias[output + i]);
        if (tanh) value = NAME(multiply)(NAME(squash)(value), NAME(same)(4095.0f));
        numbers[i] = NAME(whole)(value);
    }
    if (tanh)
        NAME(pack_pairs)(numbers, out);
    else
        NAME(pack)(numbers, out);
}

/* A block of a layer that is not the last, with ReLU or tanh: `across` registers of samples from column x on. */
ALWAYS void NAME(block)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int tanh, int x,
                        int across, size_t group_bytes, uint8_t *out) {
    const int by = tanh ? 2 : 4;
    for (int at = 0; at < outputs; at += MANY) {
        NAME(sums) sums[MANY][ACROSS], kept[ACROSS][MANY];
        uint8_t *const to = out + (size_t)at / by * group_bytes + 4 * (size_t)x;
        NAME(sum)(rows, packed, window, outputs, at, MANY, x, across, group_bytes, sums);
#pragma GCC unroll 16
        for (int p = 0; p < across; p++)
#pragma GCC unroll 16
            for (int k = 0; k < MANY; k++) kept[p][k] = sums[k][p];
        if (tanh) {
            /* Not all at once: there are not registers enough. */
            for (int p = 0; p < across; p++)
                for (int k = 0; k < MANY; k += by)
                    NAME(hand_on)(kept[p] + k, packed, at + k, 1, to + k / by * group_bytes + 4 * p * LANES);
            continue;
        }
#pragma GCC unroll 16
        for (int p = 0; p < across; p++)
#pragma GCC unroll 16
            for (int k = 0; k < MANY; k += by)
                NAME(hand_on)(kept[p] + k, packed, at + k, 0, to + k / by * group_bytes + 4 * p * LANES);
    }
}

ALWAYS void NAME(convolve)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int tanh,
                           int columns, size_t group_bytes, uint8_t *out) {
    int x = 0;
    for (; x + LANES < columns; x += ACROSS * LANES)
        NAME(block)(rows, packed, window, outputs, tanh, x, ACROSS, group_bytes, out);
    if (x < columns) NAME(block)(rows, packed, window, outputs, tanh, x, 1, group_bytes, out);
}

/* A block of the last layer: numbers of the larger plane, a row for each place in the square that a sample becomes. */
ALWAYS void NAME(ends)(const uint8_t *const *rows, const Packed *packed, Window window, int outputs, int at_once,
                       const uint16_t *own, int x, int across, size_t group_bytes, int peak, uint16_t *out,
                       size_t apart) {
    for (int at = 0; at < outputs; at += at_once) {
        NAME(sums) sums[MANY][ACROSS];
        NAME(sum)(rows, packed, window, outputs, at, at_once, x, across, group_bytes, sums);
#pragma GCC unroll 16
        for (int k = 0; k < at_once; k++)
#pragma GCC unroll 16
            for (int p = 0; p < across; p++) {
                NAME(floats) value = NAME(scaled)(sums[k][p], packed->layer.gain[at + k], packed->layer.bias[at + k]);
                if (!window.pairs) value = NAME(add_own)(value, own + x + p * LANES);
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
#define LAYER const uint8_t *const *rows, const Packed *packed, int columns, size_t group_bytes, uint8_t *out
#define LAST                                                                                                           \
    const uint8_t *const *rows, const Packed *packed, int outputs, const uint16_t *own, int columns,                   \
        size_t group_bytes, int peak, uint16_t *out, size_t apart

FUNCTION NAME(relu_first)(LAYER) {
    NAME(convolve)(rows, packed, windows[RELU_FIRST], 16, 0, columns, group_bytes, out);
}

FUNCTION NAME(relu_hidden)(LAYER) {
    NAME(convolve)(rows, packed, windows[RELU_HIDDEN], 16, 0, columns, group_bytes, out);
}

FUNCTION NAME(residual)(LAST) {
    NAME(last)(rows, packed, windows[RESIDUAL], outputs, own, columns, group_bytes, peak, out, apart);
}

FUNCTION NAME(tanh_first)(LAYER) {
    NAME(convolve)(rows, packed, windows[TANH_FIRST], 64, 1, columns, group_bytes, out);
}

FUNCTION NAME(tanh_hidden)(LAYER) {
    NAME(convolve)(rows, packed, windows[TANH_HIDDEN], 32, 1, columns, group_bytes, out);
}

FUNCTION NAME(plain)(LAST) {
    NAME(last)(rows, packed, windows[PLAIN], outputs, own, columns, group_bytes, peak, out, apart);
}

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
#pragma GCC unroll 16
    for (int i = 0; i < NAME(chains); i++) sums[i] = NAME(begin)(&layer, 0);
    for (; rounds > 0; rounds--) {
#pragma GCC unroll 16
        for (int i = 0; i < NAME(chains); i++) NAME(dot)(&sums[i], inputs, four);
    }
#pragma GCC unroll 16
    for (int i = 0; i < NAME(chains); i++) memcpy((void *)kept, &sums[i], sizeof kept);
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
    .multiplications = NAME(chains) * LANES * 4,
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
