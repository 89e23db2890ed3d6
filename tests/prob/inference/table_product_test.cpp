#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <tapestry/prob/inference/table_product.hpp>

using namespace tapestry;
using detail::TableDomain;
using detail::TableFactor;
using detail::TableProduct;
using detail::TableScope;
using detail::TableSum;

namespace {

/// Tables over random scopes, their product over all variables, and sums of it entry by entry.
struct Example {
  std::vector<std::size_t> states;
  TableScope scope;
  std::vector<TableScope> factor_scopes, sum_scopes;
  std::vector<std::vector<double>> factors;

  std::size_t size(const TableScope& own) const {
    std::size_t n = 1;
    for (const std::int32_t v : own) n *= states[static_cast<std::size_t>(v)];
    return n;
  }
  std::size_t entry(const TableScope& own, const std::vector<std::size_t>& state) const {
    std::size_t at = 0;
    for (const std::int32_t v : own) at = at * states[static_cast<std::size_t>(v)] + state[static_cast<std::size_t>(v)];
    return at;
  }
};

TableScope some_of(std::mt19937_64& random, const TableScope& scope, std::size_t count) {
  TableScope out = scope;
  std::shuffle(out.begin(), out.end(), random);
  out.resize(std::min(count, out.size()));
  std::sort(out.begin(), out.end());
  return out;
}

Example example(std::mt19937_64& random, const std::vector<std::size_t>& states, int small, int large, int sums,
                bool logarithms) {
  Example out;
  out.states = states;
  for (std::size_t v = 0; v < states.size(); ++v) out.scope.push_back(static_cast<std::int32_t>(v));
  std::uniform_real_distribution<double> uniform(.5, 1.5);
  const auto number = [&] {
    if (random() % 16 == 0) return logarithms ? -std::numeric_limits<double>::infinity() : 0.0;
    return logarithms ? std::log(uniform(random)) : uniform(random);
  };
  const std::size_t n = states.size();
  for (int i = 0; i < small + large; ++i) {
    out.factor_scopes.push_back(some_of(random, out.scope, i < small ? random() % 4 : n - random() % 3));
    out.factors.emplace_back(out.size(out.factor_scopes.back()));
    for (double& x : out.factors.back()) x = number();
  }
  for (int i = 0; i < sums; ++i)
    out.sum_scopes.push_back(some_of(random, out.scope, i % 3 == 0 ? n - random() % 3 : random() % 4));
  return out;
}

/// The largest difference from sums taken entry by entry, relative for numbers. The last factor is divided.
double largest_error(const Example& e, TableDomain domain) {
  const bool linear = domain == TableDomain::linear;
  const double nothing = linear ? 0 : -std::numeric_limits<double>::infinity();
  std::vector<double> divisor(e.factors.empty() ? 0 : e.factors.back().size());
  for (std::size_t i = 0; i < divisor.size(); ++i) divisor[i] = 1 + .25 * static_cast<double>(i % 5);
  const double scale = 1.5;
  std::vector<TableFactor> factors;
  for (std::size_t f = 0; f < e.factors.size(); ++f)
    factors.push_back({&e.factor_scopes[f], e.factors[f].data(), e.factors[f].size()});
  if (!factors.empty()) factors.back().divisor = divisor.data(), factors.back().scale = scale;
  std::vector<std::vector<double>> got, expected;
  for (const auto& scope : e.sum_scopes) {
    got.emplace_back(e.size(scope), std::numeric_limits<double>::quiet_NaN());
    expected.emplace_back(e.size(scope), nothing);
  }
  std::vector<TableSum> sums;
  for (std::size_t s = 0; s < got.size(); ++s) sums.push_back({&e.sum_scopes[s], got[s].data(), got[s].size()});
  TableProduct product;
  for (int twice = 0; twice < 2; ++twice) product.run(domain, e.scope, e.states, factors, sums);

  std::vector<std::size_t> state(e.states.size(), 0);
  for (std::size_t i = 0; i < e.size(e.scope); ++i) {
    std::size_t rest = i;
    for (std::size_t v = state.size(); v-- > 0; rest /= e.states[v]) state[v] = rest % e.states[v];
    double value = linear ? 1 : 0;
    for (std::size_t f = 0; f < factors.size(); ++f) {
      const std::size_t at = e.entry(e.factor_scopes[f], state);
      double x = e.factors[f][at];
      if (f + 1 == factors.size()) x = linear ? x / (scale * divisor[at]) : x - (scale + divisor[at]);
      value = linear ? value * x : value + x;
    }
    for (std::size_t s = 0; s < sums.size(); ++s) {
      double& to = expected[s][e.entry(e.sum_scopes[s], state)];
      to = linear ? to + value : std::max(to, value);
    }
  }
  double worst = 0;
  for (std::size_t s = 0; s < sums.size(); ++s)
    for (std::size_t i = 0; i < got[s].size(); ++i) {
      if (got[s][i] == expected[s][i]) continue;
      const double error = std::abs(got[s][i] - expected[s][i]) / (linear ? std::abs(expected[s][i]) : 1);
      if (!(error <= worst)) worst = error;
    }
  return worst;
}

}  // namespace

TEST_CASE("sums of products of tables, block by block") {
  std::mt19937_64 random(1);
  const std::vector<std::vector<std::size_t>> shapes = {
      {},
      {2},
      {3, 2, 2},
      {2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
      {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
      {4, 4, 4, 4, 4, 4, 4},
      {3, 5, 2, 7, 4, 3, 6},
      {2, 3, 2, 2, 5000},
      {13, 17, 11},
      {16, 2, 32, 2, 8},
  };
  for (const auto& shape : shapes)
    for (int i = 0; i < 4; ++i) {
      CAPTURE(shape.size());
      CAPTURE(i);
      const int small = i == 0 ? 0 : 9 * i, large = i;
      CHECK(largest_error(example(random, shape, small, large, 3 + 6 * i, false), TableDomain::linear) < 1e-12);
      CHECK(largest_error(example(random, shape, small, large, 3 + 6 * i, true), TableDomain::maximum) < 1e-12);
    }
}

TEST_CASE("sums of products of tables pass large factors and sums several times") {
  std::mt19937_64 random(2);
  const auto large = example(random, std::vector<std::size_t>(17, 2), 20, 3, 5, false);
  CHECK(largest_error(large, TableDomain::linear) < 1e-12);
}
