/* A row of each kind of layer, in the words of one generation of processors.
 *
 * Whoever includes this has defined, each with NAME() around it where it is a type or a function:
 *
 *   TARGET              the attribute that lets the compiler use the instructions
 *   PARTS               whether weights have to be parted, see Packed
 *   LANES               samples in a register: a lane holds one sample's sum of one output
 *   ACROSS, MANY        registers side by side, and outputs, whose sums are kept in registers at a time
 *   sums                LANES sums, 32 bit each
 *   quads, weights      four inputs of LANES samples; four weights, for all lanes
 *   load, window        quads at an address; four neighbours from an address on, for LANES samples
 *   spread, begin, dot  weights from where they lie; the sums of no inputs; sums with four products more in each lane
 *   store               sums of four outputs, scaled, as LANES quads of 8 bit
 *   finish              sums of one output, scaled and added to the samples of the input, as LANES numbers of 16 bit
 */

/* Of the p-th LANES samples from an address on. */
static inline __attribute__((always_inline)) TARGET NAME(quads) NAME(read)(const uint8_t *at, int taps, int p) {
    return taps == 1 ? NAME(window)(at + p * LANES) : NAME(load)(at + 4 * p * LANES);
}

/* The sums of `outputs` outputs from `at_once` on, at the samples from column x on; taps: of a row of the window. */
static inline __attribute__((always_inline)) TARGET void NAME(sum)(const uint8_t *const rows[3], const Packed *packed,
                                                                   int outputs, int at, int at_once, int taps, int x,
                                                                   size_t group_bytes, NAME(sums) sums[][ACROSS]) {
    const int8_t *weights = packed->layer.weights + 4 * at;
    const int groups = taps == 1 ? 1 : CHANNELS / 4;
    const ptrdiff_t left = taps == 1 ? (ptrdiff_t)x - 1 : 4 * ((ptrdiff_t)x - 1);
#pragma GCC unroll 16
    for (int k = 0; k < at_once; k++)
#pragma GCC unroll 16
        for (int p = 0; p < ACROSS; p++) sums[k][p] = NAME(begin)(packed->layer.start, at + k);
    for (int dy = 0; dy < 3; dy++) {
        const uint8_t *group = rows[dy] + left;
        for (int g = 0; g < groups; g++, group += group_bytes) {
#pragma GCC unroll 3
            for (int dx = 0; dx < taps; dx++, weights += 4 * outputs) {
                NAME(quads) quads[ACROSS];
#pragma GCC unroll 16
                for (int p = 0; p < ACROSS; p++)
                    quads[p] = NAME(read)(group + (taps == 1 ? 0 : 4 * dx), taps, p);
#pragma GCC unroll 16
                for (int k = 0; k < at_once; k++) {
                    const NAME(weights) four = NAME(spread)(weights + 4 * k);
#pragma GCC unroll 16
                    for (int p = 0; p < ACROSS; p++) NAME(dot)(&sums[k][p], quads[p], four);
                }
            }
        }
    }
    if (!PARTS) return;
#pragma GCC unroll 16
    for (int k = 0; k < at_once; k++)
        for (int i = at + k ? packed->ends[at + k - 1] : 0; i < packed->ends[at + k]; i++) {
            const Rest *rest = packed->rests + i;
            const uint8_t *group = rows[rest->dy] + left + rest->group * group_bytes + 4 * rest->dx;
            const NAME(weights) four = NAME(spread)(rest->weights);
#pragma GCC unroll 16
            for (int p = 0; p < ACROSS; p++) NAME(dot)(&sums[k][p], NAME(read)(group, taps, p), four);
        }
}

static inline __attribute__((always_inline)) TARGET void NAME(convolve)(const uint8_t *const rows[3],
                                                                        const Packed *packed, int taps, int columns,
                                                                        size_t group_bytes, uint8_t *out) {
    for (int x = 0; x < columns; x += ACROSS * LANES)
        for (int at = 0; at < CHANNELS; at += MANY) {
            NAME(sums) sums[MANY][ACROSS];
            NAME(sum)(rows, packed, CHANNELS, at, MANY, taps, x, group_bytes, sums);
#pragma GCC unroll 16
            for (int k = 0; k < MANY; k += 4)
#pragma GCC unroll 16
                for (int p = 0; p < ACROSS; p++) {
                    uint8_t *to = out + (size_t)(at + k) / 4 * group_bytes + 4 * (size_t)(x + p * LANES);
                    const NAME(sums) four[4] = {sums[k][p], sums[k + 1][p], sums[k + 2][p], sums[k + 3][p]};
                    NAME(store)(four, packed->layer.gain + at + k, packed->layer.bias + at + k, to);
                }
        }
}

static __attribute__((noinline)) TARGET void NAME(first)(const uint8_t *const rows[3], const Packed *packed, int columns,
                                                         size_t group_bytes, uint8_t *out) {
    NAME(convolve)(rows, packed, 1, columns, group_bytes, out);
}

static __attribute__((noinline)) TARGET void NAME(hidden)(const uint8_t *const rows[3], const Packed *packed,
                                                          int columns, size_t group_bytes, uint8_t *out) {
    NAME(convolve)(rows, packed, 3, columns, group_bytes, out);
}

static inline __attribute__((always_inline)) TARGET void NAME(phases)(const uint8_t *const rows[3], const Packed *packed,
                                                                      int outputs, int at_once, const uint16_t *own,
                                                                      int columns, size_t group_bytes, int peak,
                                                                      uint16_t *out, size_t apart) {
    for (int x = 0; x < columns; x += ACROSS * LANES)
        for (int at = 0; at < outputs; at += at_once) {
            NAME(sums) sums[MANY][ACROSS];
            NAME(sum)(rows, packed, outputs, at, at_once, 3, x, group_bytes, sums);
#pragma GCC unroll 16
            for (int k = 0; k < at_once; k++)
#pragma GCC unroll 16
                for (int p = 0; p < ACROSS; p++)
                    NAME(finish)(sums[k][p], packed->layer.gain[at + k], packed->layer.bias[at + k], own + x + p * LANES, peak,
                                 out + (at + k) * apart + x + p * LANES);
        }
}

static __attribute__((noinline)) TARGET void NAME(last)(const uint8_t *const rows[3], const Packed *packed, int outputs,
                                                        const uint16_t *own, int columns, size_t group_bytes, int peak,
                                                        uint16_t *out, size_t apart) {
    if (outputs == 4)
        NAME(phases)(rows, packed, 4, 4, own, columns, group_bytes, peak, out, apart);
    else if (outputs == 9)
        NAME(phases)(rows, packed, 9, 3, own, columns, group_bytes, peak, out, apart);
    else
        NAME(phases)(rows, packed, 16, MANY, own, columns, group_bytes, peak, out, apart);
}

enum { NAME(chains) = 12 };

static __attribute__((noinline)) TARGET void NAME(multiply)(int64_t rounds) {
    const uint8_t ones[64] = {1, 1, 1, 1};
    volatile uint8_t kept[sizeof(NAME(sums))];
    const int32_t start[1] = {0};
    const NAME(quads) quads = NAME(load)(ones);
    const NAME(weights) four = NAME(spread)((const int8_t *)ones);
    NAME(sums) sums[NAME(chains)];
#pragma GCC unroll 16
    for (int i = 0; i < NAME(chains); i++) sums[i] = NAME(begin)(start, 0);
    for (; rounds > 0; rounds--) {
#pragma GCC unroll 16
        for (int i = 0; i < NAME(chains); i++) NAME(dot)(&sums[i], quads, four);
    }
#pragma GCC unroll 16
    for (int i = 0; i < NAME(chains); i++) memcpy((void *)kept, &sums[i], sizeof kept);
}

static const Kind NAME(kind) = {
    .name = KIND,
    .present = NAME(present),
    .first = NAME(first),
    .hidden = NAME(hidden),
    .last = NAME(last),
    .parts = PARTS,
    .multiply = NAME(multiply),
    .multiplications = NAME(chains) * LANES * 4,
};

#undef KIND
#undef NAME
#undef TARGET
#undef INLINE
#undef PARTS
#undef LANES
#undef ACROSS
#undef MANY
