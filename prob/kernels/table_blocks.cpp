#include <tapestry/prob/kernels/table_blocks.hpp>

#include <tapestry/autodiff/kernels/math.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <std::size_t... lane>
struct Lanes {};
template <std::size_t n, std::size_t... lane>
struct Count : Count<n - 1, n - 1, lane...> {};
template <std::size_t... lane>
struct Count<0, lane...> {
  using type = Lanes<lane...>;
};
template <std::size_t n>
using FirstLanes = typename Count<n>::type;
using AllLanes = FirstLanes<lanes<double>>;

struct Copy {
  template <class V>
  static V apply(V m, V) {
    return m;
  }
  static constexpr bool reads = false;
};
struct Product {
  template <class V>
  static V apply(V m, V p) {
    return p * m;
  }
  static constexpr bool reads = true;
};
struct Addition {
  template <class V>
  static V apply(V m, V p) {
    return p + m;
  }
  static constexpr bool reads = true;
};

struct Sum {
  template <class V>
  static V apply(V a, V b) {
    return a + b;
  }
};
struct Max {
  template <class V>
  static V apply(V a, V b) {
    return a > b ? a : b;
  }
};

/// Vector v of a table x[..][N][Inner] out of one vector of m[..][Inner].
template <std::size_t N, std::size_t Inner, std::size_t v, std::size_t... lane>
TAPESTRY_INLINE Vec<double> spread_lanes(Vec<double> m, Lanes<lane...>) {
  return __builtin_shufflevector(
      m, m, ((v * lanes<double> + lane) / (N * Inner) * Inner + (v * lanes<double> + lane) % Inner)...);
}

template <class Combine, std::size_t N, std::size_t Inner, std::size_t... v>
TAPESTRY_INLINE void combine_vectors(double* x, Vec<double> m, const double* p, Lanes<v...>) {
  (store<double>(x + v * lanes<double>,
                 Combine::apply(spread_lanes<N, Inner, v>(m, AllLanes{}),
                                Combine::reads ? load<double>(p + v * lanes<double>) : Vec<double>{})),
   ...);
}

/// Inner axes shorter than a vector: several outer settings at once, so that vectors are full.
template <class Combine, std::size_t N, std::size_t Inner>
void combine_short(double* x, std::size_t outer, const double* m, const double* p) {
  if constexpr (Inner < lanes<double>) {
    constexpr std::size_t together = lanes<double> / Inner, step = N * lanes<double>;
    for (; outer >= together; outer -= together, m += lanes<double>, x += step, p += step)
      combine_vectors<Combine, N, Inner>(x, load<double>(m), p, FirstLanes<N>{});
  }
  for (; outer > 0; --outer, m += Inner, x += N * Inner, p += N * Inner)
    for (std::size_t i = 0; i < N * Inner; ++i) x[i] = Combine::apply(m[i % Inner], Combine::reads ? p[i] : 0.0);
}

/// The inner axis as some whole vectors.
template <class Combine, std::size_t vectors>
void combine_whole(double* x, std::size_t outer, std::size_t n, const double* m, const double* p) {
  constexpr std::size_t inner = vectors * lanes<double>;
  for (std::size_t o = 0; o < outer; ++o, m += inner) {
    Vec<double> value[vectors];
    for (std::size_t v = 0; v < vectors; ++v) value[v] = load<double>(m + v * lanes<double>);
    for (std::size_t k = 0; k < n; ++k, x += inner, p += inner)
      for (std::size_t v = 0; v < vectors; ++v)
        store<double>(x + v * lanes<double>,
                      Combine::apply(value[v], Combine::reads ? load<double>(p + v * lanes<double>) : Vec<double>{}));
  }
}

template <class Combine>
void combine(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m, const double* p) {
  if (n == 2 && inner <= 4) {
    if (inner == 1) return combine_short<Combine, 2, 1>(x, outer, m, p);
    if (inner == 2) return combine_short<Combine, 2, 2>(x, outer, m, p);
    if (inner == 4) return combine_short<Combine, 2, 4>(x, outer, m, p);
  }
  if (n == 3 && inner == 1) return combine_short<Combine, 3, 1>(x, outer, m, p);
  if (inner == lanes<double>) return combine_whole<Combine, 1>(x, outer, n, m, p);
  if (inner == 2 * lanes<double>) return combine_whole<Combine, 2>(x, outer, n, m, p);
  if (inner == 4 * lanes<double>) return combine_whole<Combine, 4>(x, outer, n, m, p);
  if (inner == 1) {
    for (std::size_t o = 0; o < outer; ++o, x += n, p += n) {
      const Vec<double> value = splat<double>(m[o]);
      std::size_t k = 0;
      for (; k + lanes<double> <= n; k += lanes<double>)
        store<double>(x + k, Combine::apply(value, Combine::reads ? load<double>(p + k) : value));
      if (k < n)
        store_partial<double>(x + k, Combine::apply(value, Combine::reads ? load_partial<double>(p + k, n - k) : value),
                              n - k);
    }
    return;
  }
  if (inner < lanes<double>) {
    for (std::size_t o = 0; o < outer; ++o, m += inner)
      for (std::size_t k = 0; k < n; ++k, x += inner, p += inner)
        for (std::size_t i = 0; i < inner; ++i) x[i] = Combine::apply(m[i], Combine::reads ? p[i] : 0.0);
    return;
  }
  constexpr std::size_t four = 4 * lanes<double>;
  for (std::size_t o = 0; o < outer; ++o, m += inner)
    for (std::size_t k = 0; k < n; ++k, x += inner, p += inner) {
      std::size_t i = 0;
      for (; i + four <= inner; i += four)
        for (std::size_t v = i; v < i + four; v += lanes<double>)
          store<double>(x + v,
                        Combine::apply(load<double>(m + v), Combine::reads ? load<double>(p + v) : Vec<double>{}));
      for (; i < inner; i += lanes<double>) {
        const std::size_t left = inner - i;
        store_partial<double>(x + i,
                              Combine::apply(load_partial<double>(m + i, left),
                                             Combine::reads ? load_partial<double>(p + i, left) : Vec<double>{}),
                              left);
      }
    }
}

void spread(double* x, std::size_t outer, std::size_t n, std::size_t inner, const double* m) {
  combine<Copy>(x, outer, n, inner, m, x);
}

template <class Reduce, bool onto, std::size_t N, std::size_t Inner>
void reduce_fixed(const double* __restrict x, std::size_t outer, double* __restrict m) {
  for (std::size_t o = 0; o < outer; ++o, x += N * Inner, m += Inner)
    for (std::size_t i = 0; i < Inner; ++i) {
      double total = x[i];
      for (std::size_t k = 1; k < N; ++k) total = Reduce::apply(total, x[k * Inner + i]);
      m[i] = onto ? Reduce::apply(m[i], total) : total;
    }
}

template <class Reduce>
double reduce_lanes(Vec<double> v) {
  double total = v[0];
  for (std::size_t k = 1; k < lanes<double>; ++k) total = Reduce::apply(total, v[k]);
  return total;
}
template <>
double reduce_lanes<Sum>(Vec<double> v) {
  return horizontal_sum<double>(v);
}

template <class Reduce>
double reduce_run(const double* __restrict x, std::size_t n) {
  if (n < lanes<double>) {
    double total = x[0];
    for (std::size_t k = 1; k < n; ++k) total = Reduce::apply(total, x[k]);
    return total;
  }
  std::size_t k = 0;
  Vec<double> lane;
  if (n >= 4 * lanes<double>) {
    Vec<double> four[4];
    for (std::size_t v = 0; v < 4; ++v) four[v] = load<double>(x + v * lanes<double>);
    for (k = 4 * lanes<double>; k + 4 * lanes<double> <= n; k += 4 * lanes<double>)
      for (std::size_t v = 0; v < 4; ++v) four[v] = Reduce::apply(four[v], load<double>(x + k + v * lanes<double>));
    lane = Reduce::apply(Reduce::apply(four[0], four[1]), Reduce::apply(four[2], four[3]));
  } else {
    lane = load<double>(x);
    k = lanes<double>;
  }
  for (; k + lanes<double> <= n; k += lanes<double>) lane = Reduce::apply(lane, load<double>(x + k));
  double total = reduce_lanes<Reduce>(lane);
  for (; k < n; ++k) total = Reduce::apply(total, x[k]);
  return total;
}

template <class Reduce, bool onto, std::size_t vectors>
TAPESTRY_INLINE void reduce_columns(const double* __restrict x, std::size_t n, std::size_t inner,
                                    double* __restrict m) {
  Vec<double> total[vectors];
  for (std::size_t v = 0; v < vectors; ++v) {
    total[v] = load<double>(x + v * lanes<double>);
    if (onto) total[v] = Reduce::apply(load<double>(m + v * lanes<double>), total[v]);
  }
  for (std::size_t k = 1; k < n; ++k)
    for (std::size_t v = 0; v < vectors; ++v)
      total[v] = Reduce::apply(total[v], load<double>(x + k * inner + v * lanes<double>));
  for (std::size_t v = 0; v < vectors; ++v) store<double>(m + v * lanes<double>, total[v]);
}

template <class Reduce, bool onto>
void reduce(const double* __restrict x, std::size_t outer, std::size_t n, std::size_t inner, double* __restrict m) {
  if (n == 2 && inner <= 4) {
    if (inner == 1) return reduce_fixed<Reduce, onto, 2, 1>(x, outer, m);
    if (inner == 2) return reduce_fixed<Reduce, onto, 2, 2>(x, outer, m);
    if (inner == 4) return reduce_fixed<Reduce, onto, 2, 4>(x, outer, m);
  }
  if (inner == 1) {
    for (std::size_t o = 0; o < outer; ++o, x += n) {
      const double total = reduce_run<Reduce>(x, n);
      m[o] = onto ? Reduce::apply(m[o], total) : total;
    }
    return;
  }
  if (inner < lanes<double>) {
    for (std::size_t o = 0; o < outer; ++o, x += n * inner, m += inner)
      for (std::size_t i = 0; i < inner; ++i) {
        double total = x[i];
        for (std::size_t k = 1; k < n; ++k) total = Reduce::apply(total, x[k * inner + i]);
        m[i] = onto ? Reduce::apply(m[i], total) : total;
      }
    return;
  }
  for (std::size_t o = 0; o < outer; ++o, x += n * inner, m += inner) {
    std::size_t i = 0;
    for (; i + 4 * lanes<double> <= inner; i += 4 * lanes<double>)
      reduce_columns<Reduce, onto, 4>(x + i, n, inner, m + i);
    for (; i + lanes<double> <= inner; i += lanes<double>) reduce_columns<Reduce, onto, 1>(x + i, n, inner, m + i);
    if (i == inner) continue;
    const std::size_t left = inner - i;
    Vec<double> total = load_partial<double>(x + i, left);
    if (onto) total = Reduce::apply(load_partial<double>(m + i, left), total);
    for (std::size_t k = 1; k < n; ++k) total = Reduce::apply(total, load_partial<double>(x + k * inner + i, left));
    store_partial<double>(m + i, total, left);
  }
}

void ratio(const double* a, const double* b, double scale, double* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a[i] == 0 ? 0 : a[i] / (scale * b[i]);
}

void difference(const double* a, const double* b, double shift, double* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a[i] == -infinity<double> ? a[i] : a[i] - (shift + b[i]);
}

void prefetch(const double* x, std::size_t n) {
  constexpr std::size_t line = 8;
  for (std::size_t i = 0; i < n; i += line) __builtin_prefetch(x + i, 0, 2);
}

void range(const double* x, std::size_t n, double* largest, double* least) {
  Vec<double> high[4], low[4];
  for (std::size_t v = 0; v < 4; ++v) high[v] = Vec<double>{}, low[v] = splat<double>(infinity<double>);
  std::size_t i = 0;
  for (; i + 4 * lanes<double> <= n; i += 4 * lanes<double>)
    for (std::size_t v = 0; v < 4; ++v) {
      const Vec<double> value = load<double>(x + i + v * lanes<double>);
      const Vec<double> positive = value > 0 ? value : splat<double>(infinity<double>);
      high[v] = value > high[v] ? value : high[v];
      low[v] = positive < low[v] ? positive : low[v];
    }
  double most = 0, fewest = infinity<double>;
  for (std::size_t v = 0; v < 4; ++v)
    for (std::size_t k = 0; k < lanes<double>; ++k) {
      most = high[v][k] > most ? high[v][k] : most;
      fewest = low[v][k] < fewest ? low[v][k] : fewest;
    }
  for (; i < n; ++i) {
    most = x[i] > most ? x[i] : most;
    fewest = x[i] > 0 && x[i] < fewest ? x[i] : fewest;
  }
  *largest = most;
  *least = fewest;
}

}  // namespace

template <>
const TableBlockKernels& kernels() {
  static constexpr TableBlockKernels table = {spread,
                                              combine<Product>,
                                              combine<Addition>,
                                              reduce<Sum, false>,
                                              reduce<Max, false>,
                                              reduce<Sum, true>,
                                              reduce<Max, true>,
                                              ratio,
                                              difference,
                                              prefetch,
                                              range};
  return table;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
