/* A row of each layer of ESPCN, in 16 bit and in the words of one generation of processors: a part of chain_rows.h.
 *
 * Samples of even columns lie in one plane and those of odd columns in another, so that a lane holds two neighbours.
 * The 3x3 layers make both from four products where six would be due (Winograd's minimal filtering; Lavin and Gray,
 * 2016, arXiv:1509.09308). With a to d from left to right, the two in the middle being the lane's own, and weights f,
 * g, h:
 *
 *   2 (f a + g b + h c) = (a - c) 2f + (b + c)(f + g + h) + (c - b)(f - g + h)
 *   2 (f b + g c + h d) =              (b + c)(f + g + h) - (c - b)(f - g + h) - (b - d) 2h
 *
 * Nothing is rounded on the way, so the sums are those of the plain way. The four differences are what a layer hands
 * on: planes of `a - c`, then those of `b + c`, `c - b` and `b - d`.
 *
 * Sums pass through memory on their way to the rest, because compilers else run out of registers in the inner loop.
 */
#define STEP (ACROSS * LANES)
/* Registers side by side that go through tanh together: each waits for itself most of the time. */
#define TOGETHER(across) (MANY >= 8 ? (across) : 1)

typedef uint16_t NAME(shorts) __attribute__((vector_size(4 * LANES)));
typedef uint32_t NAME(words) __attribute__((vector_size(4 * LANES)));

ALWAYS void NAME(multiply_all)(const Product *product, int at, int at_once, int x, int across, NAME(sums) *out) {
    const int8_t *weights = product->weights + 4 * at;
    NAME(sums) sums[MANY][ACROSS];
    EACH (k, at_once)
        EACH (p, across) sums[k][p] = (NAME(sums)){0};
    for (int dy = 0; dy < product->height; dy++) {
        const uint8_t *group = product->rows[dy] + 4 * (ptrdiff_t)x;
        for (int g = 0; g < product->groups; g++, group += product->group_bytes)
            for (int dx = 0; dx < product->taps; dx++, weights += 4 * product->outputs) {
                NAME(inputs) inputs[ACROSS];
                EACH (p, across) inputs[p] = NAME(load)(group + 4 * dx + 4 * p * LANES);
                EACH (k, at_once) {
                    const NAME(weights) all = NAME(spread)(weights + 4 * k);
                    EACH (p, across) NAME(dot_pairs)(&sums[k][p], inputs[p], all);
                }
            }
    }
    EACH (k, at_once)
        EACH (p, across) out[k * ACROSS + p] = sums[k][p];
}

#define MULTIPLY(name, at_once, across)                                                                                \
    FUNCTION NAME(name##_##across)(const Product *product, int at, int x, NAME(sums) *out) {                           \
        NAME(multiply_all)(product, at, at_once, x, across, out);                                                      \
    }
#define MULTIPLIES(name, at_once) MULTIPLY(name, at_once, 1) MULTIPLY(name, at_once, 2) MULTIPLY(name, at_once, 3)
MULTIPLIES(multiply_3, 3)
MULTIPLIES(multiply_4, 4)
MULTIPLIES(multiply_many, MANY)
#define CHOSEN(name) (across == 1 ? NAME(name##_1) : across == 2 ? NAME(name##_2) : NAME(name##_3))

/* The sums of outputs `from` to `to`, ACROSS registers for each, at the lanes from x on: as many as `across` registers
 * hold. */
ALWAYS void NAME(sums_of)(const Product *product, int from, int to, int x, int across, NAME(sums) *out) {
    const int at_once = to - from == 4 ? 4 : (to - from) % MANY ? 3 : MANY;
    for (int at = from; at < to; at += at_once, out += at_once * ACROSS)
        (at_once == 3   ? CHOSEN(multiply_3)
         : at_once == 4 ? CHOSEN(multiply_4)
                        : CHOSEN(multiply_many))(product, at, x, out);
}

/* Of a 3x3 layer the sums of all four kinds, each of so many outputs. */
ALWAYS void NAME(quarters)(const uint8_t *const *rows, const Packed *packed, int outputs, int x, int across,
                           NAME(sums) *sums) {
    const int groups = windows[packed->layer.form].groups;
    Product product = {.height = 3,
                       .groups = groups,
                       .taps = 1,
                       .group_bytes = 4 * STEP,
                       .outputs = outputs,
                       .weights = packed->layer.weights};
    for (int q = 0; q < 4; q++, sums += outputs * ACROSS, product.weights += 4 * 3 * groups * outputs) {
        for (int dy = 0; dy < 3; dy++) product.rows[dy] = rows[dy] + 4 * (4 * (size_t)x + q * STEP) * groups;
        NAME(sums_of)(&product, 0, outputs, 0, across, sums);
    }
}

/* The sum that belongs to even columns, or to odd ones; `apart` is from one kind of sums to the next, 0 where there is
 * one kind. */
ALWAYS NAME(sums) NAME(joined)(const NAME(sums) *sums, int apart, int odd) {
    if (!apart) return *sums;
    const NAME(words) both = (NAME(words))sums[apart], differing = (NAME(words))sums[2 * apart];
    if (odd) return (NAME(sums))(both - differing - (NAME(words))sums[3 * apart]);
    return (NAME(sums))((NAME(words))*sums + both + differing);
}

/* tanh as x times a polynomial of (x / 4.5)^2, taken from -1 to 1: 1.1e-4 off at most, a half of what 16 bits hold
 * here. Beyond 4.5, where it is 1 but for 2.5e-4, it stays as it is there. */
ALWAYS void NAME(squash)(NAME(floats) *values, int count) {
    enum { TERMS = 13 };
    static const float terms[TERMS] = {0.196579471f,  -0.243650103f,  -0.323778685f, 0.394137093f,  0.27822662f,
                                       -0.329634456f, -0.0419867966f, 0.0400742168f, 0.0797202862f, -0.0967344886f,
                                       0.108765017f,  -0.15272053f,   0.313193934f};
    NAME(floats) squares[2 * ACROSS], sums[2 * ACROSS];
    EACH (i, count) {
        values[i] = NAME(within)(values[i], -4.5f, 4.5f);
        const NAME(floats) part = NAME(multiply)(values[i], NAME(same)(2 / (4.5f * 4.5f)));
        squares[i] = NAME(multiply_add)(values[i], part, NAME(same)(-1.0f));
        sums[i] = NAME(same)(terms[0]);
    }
    EACH (k, TERMS - 1)
        EACH (i, count) sums[i] = NAME(multiply_add)(sums[i], squares[i], NAME(same)(terms[k + 1]));
    EACH (i, count) values[i] = NAME(multiply)(sums[i], values[i]);
}

/* tanh of sums, two outputs at a time as pairs into every other of the planes at `out`. */
ALWAYS void NAME(behind_tanh)(const NAME(sums) *sums, int apart, int odd, const Layer *layer, int from, int to,
                              int across, size_t group_bytes, uint8_t *out) {
    const int together = TOGETHER(across);
    for (int k = from; k < to; k += 2, sums += 2 * ACROSS, out += 2 * group_bytes)
        for (int p = 0; p < across; p += together) {
            NAME(floats) values[2 * ACROSS];
            EACH (i, 2 * together) {
                const NAME(sums) sum = NAME(joined)(sums + i % 2 * ACROSS + p + i / 2, apart, odd);
                values[i] = NAME(scaled)(sum, layer->gain[k + i % 2], layer->bias[k + i % 2]);
            }
            NAME(squash)(values, 2 * together);
            EACH (i, together) {
                NAME(sums) numbers[2];
                for (int j = 0; j < 2; j++)
                    numbers[j] = NAME(whole)(NAME(multiply)(values[2 * i + j], NAME(same)(4095.0f)));
                NAME(pack_pairs)(numbers, out + 4 * (p + i) * LANES);
            }
        }
}

/* Hand on pairs `from` to `to` of so many: planes of even columns and of odd ones, in turn. What is handed on lies
 * block by block, so that what is multiplied together is side by side. */
ALWAYS void NAME(hand_on_pairs)(uint8_t *planes, int from, int to, int whole, int columns, size_t group_bytes,
                                uint8_t *out) {
    for (int i = from; i < to; i++, planes += 2 * group_bytes) {
        const uint8_t *even = planes, *odd = planes + group_bytes;
        /* Blocks are computed whole, and beside the picture everything is zero. */
        memset(planes + columns % 2 * group_bytes + 4 * (size_t)(columns / 2), 0, 4);
        for (int x = 0; x < (columns + 1) / 2; x += LANES) {
            const int at = 4 * x, within = x % STEP;
            const NAME(shorts) a = (NAME(shorts))NAME(load)(odd + at - 4), b = (NAME(shorts))NAME(load)(even + at),
                               c = (NAME(shorts))NAME(load)(odd + at), d = (NAME(shorts))NAME(load)(even + at + 4);
            const NAME(shorts) four[] = {a - c, b + c, c - b, b - d};
            EACH (q, 4)
                memcpy(out + 4 * ((4 * (size_t)(x - within) + q * STEP) * whole + i * STEP + within), four + q,
                       sizeof *four);
        }
    }
}

/* At the lanes from x on, as many as `across` registers hold. */
ALWAYS void NAME(first_block)(int x, int across, const Product *product, const Layer *layer, int at, int odd,
                              size_t group_bytes, uint8_t *out) {
    NAME(sums) sums[MANY * ACROSS];
    NAME(sums_of)(product, at, at + MANY, x, across, sums);
    NAME(behind_tanh)(sums, 0, odd, layer, at, at + MANY, across, group_bytes, out + 4 * x);
}

ALWAYS void NAME(hidden_block)(int x, int across, const uint8_t *const *rows, const Packed *packed, size_t group_bytes,
                               uint8_t *out) {
    NAME(sums) sums[4 * 32 * ACROSS];
    NAME(quarters)(rows, packed, 32, x, across, sums);
    for (int odd = 0; odd < 2; odd++)
        NAME(behind_tanh)(sums, 32 * ACROSS, odd, &packed->layer, 0, 32, across, group_bytes,
                          out + odd * group_bytes + 4 * x);
}

ALWAYS void NAME(plain_block)(int x, int across, const uint8_t *const *rows, const Packed *packed, int scale, int peak,
                              uint16_t *out, size_t apart) {
    const Layer *layer = &packed->layer;
    const int outputs = scale * scale;
    NAME(sums) sums[4 * MOST_PHASES * ACROSS];
    NAME(quarters)(rows, packed, outputs, x, across, sums);
    for (int k = 0; k < outputs; k++)
        for (int odd = 0; odd < 2; odd++)
            for (int p = 0; p < across; p++) {
                const NAME(sums) sum = NAME(joined)(sums + k * ACROSS + p, outputs * ACROSS, odd);
                const NAME(floats) value = NAME(scaled)(sum, layer->gain[k], layer->bias[k]);
                NAME(store_wide)(NAME(whole)(NAME(within)(value, 0.0f, (float)peak)),
                                 out + ((k / scale * 2 + odd) * scale + k % scale) * apart + x + p * LANES);
            }
}

/* A function for every block of a row, the last with no more registers than it takes. */
#define BLOCKS(block, ...)                                                                                             \
    for (int x = 0, left = (columns + 1) / 2; left > 0; x += STEP, left -= STEP)                                       \
        if (left > 2 * LANES)                                                                                          \
            NAME(block)(x, ACROSS, __VA_ARGS__);                                                                       \
        else if (left > LANES)                                                                                         \
            NAME(block)(x, 2, __VA_ARGS__);                                                                            \
        else                                                                                                           \
            NAME(block)(x, 1, __VA_ARGS__)

FUNCTION NAME(tanh_first)(LAYER) {
    Product product = {.height = 5, .groups = 1, .taps = 3, .outputs = 64, .weights = packed->layer.weights};
    for (int at = 0; at < 64; at += MANY) {
        for (int odd = 0; odd < 2; odd++) {
            for (int dy = 0; dy < 5; dy++) product.rows[dy] = rows[dy] + 2 * odd - 4;
            BLOCKS(first_block, &product, &packed->layer, at, odd, group_bytes, between + odd * group_bytes);
        }
        NAME(hand_on_pairs)(between, at / 2, (at + MANY) / 2, 32, columns, group_bytes, out);
    }
}

FUNCTION NAME(tanh_hidden)(LAYER) {
    BLOCKS(hidden_block, rows, packed, group_bytes, between);
    NAME(hand_on_pairs)(between, 0, 16, 16, columns, group_bytes, out);
}

FUNCTION NAME(plain)(LAST) {
    (void)own, (void)group_bytes;
    BLOCKS(plain_block, rows, packed, scale, peak, out, apart);
}

#undef BLOCKS
#undef CHOSEN
#undef MULTIPLIES
#undef STEP
#undef TOGETHER
#undef MULTIPLY
