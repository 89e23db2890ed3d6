#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/prob/inference/cluster_mean_field.hpp>

// Gradients through sweeps of coordinate ascent.
namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

}  // namespace

double FieldGradients::remaining() const {
  double largest = 0;
  for (const auto& factor : parts)
    for (const auto& part : factor)
      for (const double g : part) largest = std::max(largest, std::abs(g));
  return largest;
}

ClusterMeanField::State ClusterMeanField::state() const {
  State out;
  for (const auto& factor : factors_)
    for (const auto& part : factor.parts) out.insert(out.end(), part.probabilities.begin(), part.probabilities.end());
  return out;
}

void ClusterMeanField::set_state(const State& state) {
  auto from = state.begin();
  for (auto& factor : factors_)
    for (auto& part : factor.parts) {
      const auto n = static_cast<std::ptrdiff_t>(part.probabilities.size());
      std::copy(from, from + n, part.probabilities.begin());
      from += n;
    }
}

void ClusterMeanField::set_tables(const std::vector<const double*>& tables) {
  for (std::size_t f = 0; f < factors_.size(); ++f) factors_[f].table = tables[f];
}

FieldGradients ClusterMeanField::gradients(const PlainGradients& given) const {
  FieldGradients out;
  for (const auto& factor : factors_) {
    out.tables.emplace_back(factor.size, 0.0);
    out.parts.emplace_back();
    for (const auto& part : factor.parts) out.parts.back().emplace_back(part.probabilities.size(), 0.0);
  }
  out.given = given;
  return out;
}

void ClusterMeanField::enter(FieldGradients& gradients) const {
  const auto& given = gradients.given;
  std::size_t at = 0;
  for (std::size_t f = 0; f < factors_.size(); at += factors_[f].size, ++f) {
    const auto& factor = factors_[f];
    for_each(factor, [&](std::size_t entry, const auto& place) {
      // The bound has the table's expectation; expected statistics themselves are not counted here.
      const double g = given.factors[at + entry] +
                       (factor.table[entry] == minus_infinity ? 0 : given.partition * factor.table[entry]);
      for (std::size_t p = 0; p < place.size() && g != 0; ++p) {
        double others = 1;
        for (std::size_t q = 0; q < place.size(); ++q)
          if (q != p) others *= factor.parts[q].probabilities[place[q]];
        gradients.parts[f][p][place[p]] += g * others;
      }
    });
  }
  gradients.entropy = given.partition;
  // A variable's marginal is a sum over any of its factors.
  std::vector<std::size_t> offset(cardinalities_.size() + 1, 0);
  for (std::size_t v = 0; v < cardinalities_.size(); ++v)
    offset[v + 1] = offset[v] + static_cast<std::size_t>(cardinalities_[v]);
  std::vector<char> done(cardinalities_.size(), 0);
  for (std::size_t f = 0; f < factors_.size(); ++f)
    for (std::size_t p = 0; p < factors_[f].parts.size(); ++p) {
      const auto& part = factors_[f].parts[p];
      std::size_t stride = part.probabilities.size();
      for (const std::int64_t number : part.variables) {
        const auto v = static_cast<std::size_t>(number);
        const auto k = static_cast<std::size_t>(cardinalities_[v]);
        stride /= k;
        if (done[v] != 0) continue;
        done[v] = 1;
        for (std::size_t e = 0; e < part.probabilities.size(); ++e)
          gradients.parts[f][p][e] += given.variables[offset[v] + e / stride % k];
      }
    }
}

std::vector<std::vector<double>> ClusterMeanField::curvature(const Cluster& own,
                                                             const std::vector<const double*>& tables,
                                                             const std::vector<const double*>& direction) const {
  std::vector<std::vector<double>> out;
  double scale = 0;
  for (std::size_t i = 0; i < own.factors.size(); ++i) {
    const auto& part =
        factors_[static_cast<std::size_t>(own.factors[i].first)].parts[static_cast<std::size_t>(own.factors[i].second)];
    out.emplace_back(part.probabilities.size(), 0.0);
    double largest = 0;
    for (std::size_t e = 0; e < out.back().size(); ++e) {
      const double size = std::abs(direction[i][e]);
      if (!(size <= largest)) largest = size;  // also what is no number
    }
    scale += largest;
  }
  if (scale == 0) return out;
  if (own.variables.size() == 1) {
    std::vector<double> change(own.marginals.size(), 0.0);
    const double* p = nullptr;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto& factor = factors_[static_cast<std::size_t>(own.factors[i].first)];
      p = factor.parts[static_cast<std::size_t>(own.factors[i].second)].probabilities.data();
      for (std::size_t s = 0; s < change.size(); ++s) change[s] += direction[i][s];
    }
    double mean = 0;
    for (std::size_t s = 0; s < change.size(); ++s) mean += p[s] * change[s];
    for (std::size_t s = 0; s < change.size(); ++s) change[s] = p[s] * (change[s] - mean);
    std::fill(out.begin(), out.end(), change);
    return out;
  }
  // Central differences of sixth order. The direction moves the score of a state by at most `scale`.
  const double step = 0.05 / scale;
  std::vector<std::vector<double>> moved(out.size());
  std::vector<const double*> pointers;
  for (std::size_t i = 0; i < out.size(); ++i) {
    moved[i].resize(out[i].size());
    pointers.push_back(moved[i].data());
  }
  for (const auto& [place, weight] : {std::pair{1, 3.0 / 4}, {2, -3.0 / 20}, {3, 1.0 / 60}})
    for (const double sign : {1.0, -1.0}) {
      for (std::size_t i = 0; i < out.size(); ++i)
        for (std::size_t e = 0; e < out[i].size(); ++e)
          moved[i][e] = tables[i][e] + sign * place * step * direction[i][e];
      const ExactSums sums = own.tree->sums(pointers, TableScale::logarithm, own.states, false, true);
      if (!sums.possible) {
        // The direction is not finite.
        for (auto& part : out) std::fill(part.begin(), part.end(), std::numeric_limits<double>::quiet_NaN());
        return out;
      }
      const double* from = sums.factors.data();
      for (auto& part : out)
        for (double& x : part) x += sign * weight / step * *from++;
    }
  return out;
}

void ClusterMeanField::sweep_backward(const Replaced& replaced, FieldGradients& gradients) {
  std::vector<std::vector<double>> scratch;
  const double* end = replaced.probabilities.data() + replaced.probabilities.size();
  for (std::size_t c = clusters_.size(); c-- > 0;) {
    auto& own = clusters_[c];
    if (!replaced.clusters[c]) continue;
    const auto tables = expect_all(own, scratch);
    std::vector<const double*> direction;
    for (std::size_t i = 0; i < own.factors.size(); ++i) {
      auto& given =
          gradients
              .parts[static_cast<std::size_t>(own.factors[i].first)][static_cast<std::size_t>(own.factors[i].second)];
      for (std::size_t e = 0; e < given.size() && gradients.entropy != 0; ++e)
        if (tables[i][e] != minus_infinity) given[e] -= gradients.entropy * tables[i][e];
      direction.push_back(given.data());
    }
    const auto change = curvature(own, tables, direction);
    for (std::size_t i = own.factors.size(); i-- > 0;) {
      const auto f = static_cast<std::size_t>(own.factors[i].first),
                 p = static_cast<std::size_t>(own.factors[i].second);
      auto& factor = factors_[f];
      std::fill(gradients.parts[f][p].begin(), gradients.parts[f][p].end(), 0.0);
      for_each(factor, [&](std::size_t entry, const auto& place) {
        const double g = change[i][place[p]], x = factor.table[entry];
        if (g == 0 || x == minus_infinity) return;
        double weight = 1;
        for (std::size_t q = 0; q < place.size(); ++q) {
          if (q == p) continue;
          weight *= factor.parts[q].probabilities[place[q]];
          double others = 1;
          for (std::size_t r = 0; r < place.size(); ++r)
            if (r != p && r != q) others *= factor.parts[r].probabilities[place[r]];
          gradients.parts[f][q][place[q]] += g * x * others;
        }
        gradients.tables[f][entry] += g * weight;
      });
      auto& old = factor.parts[p].probabilities;
      end -= old.size();
      std::copy(end, end + old.size(), old.begin());
    }
  }
  gradients.entropy = 0;
}

}  // namespace tapestry::detail
