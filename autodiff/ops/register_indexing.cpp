#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/sorting.hpp>

namespace tapestry::detail {
namespace {

// Column j of a [5, n] matrix, sorted.
std::vector<double> sorted_column(const Tensor<double>& x, std::size_t j) {
  std::vector<double> column;
  for (std::size_t i = 0; i < x.shape(0); ++i) column.push_back(x(i, j));
  std::sort(column.begin(), column.end());
  return column;
}

void register_by_index(Registry& r) {
  const auto cube = uniform_example({2, 4, 3}), table = uniform_example({5, 3});
  const IndexTensor list = {3, 0, 3}, square = {{1, 2}, {3, 1}}, columns = {{0, 1}, {2, 0}};
  const IndexTensor along = {{{0, 3, 1}, {3, 3, 1}}, {{2, 2, 0}, {1, 2, 3}}};
  r.add("take", {cube}, [=](const auto& x) { return take(x[0], square, 1); }).reference = [=](const auto& x) {
    return tabulate({2, 2, 2, 3},
                    [&](const auto& i) { return x[0](i[0], static_cast<std::size_t>(square(i[1], i[2])), i[3]); });
  };
  r.add("gather", {cube}, [=](const auto& x) { return gather(x[0], columns, 2); }).reference = [=](const auto& x) {
    return tabulate({2, 4, 2, 2},
                    [&](const auto& i) { return x[0](i[0], i[1], static_cast<std::size_t>(columns(i[2], i[3]))); });
  };
  r.add("index_select", {cube}, [=](const auto& x) {
     return index_select(x[0], 1, list);
   }).reference = [=](const auto& x) {
    return tabulate({2, 3, 3}, [&](const auto& i) { return x[0](i[0], static_cast<std::size_t>(list(i[1])), i[2]); });
  };
  r.add("scatter_add", {cube, uniform_example({2, 3, 3})}, [=](const auto& x) {
     return scatter_add(x[0], list, x[1], 1);
   }).reference = [=](const auto& x) {
    Tensor<double> out = x[0];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t k = 0; k < 3; ++k)
        for (std::size_t j = 0; j < 3; ++j) out(i, static_cast<std::size_t>(list(k)), j) += x[1](i, k, j);
    return out;
  };
  r.add("segment_sum", {table}, [](const auto& x) {
     return segment_sum(x[0], {2, 0, 2, 2, 0}, 4);
   }).reference = [](const auto& x) {
    return tabulate({4, 3}, [&](const auto& i) {
      const std::size_t j = i[1];
      return i[0] == 0 ? x[0](1, j) + x[0](4, j) : i[0] == 2 ? x[0](0, j) + x[0](2, j) + x[0](3, j) : 0;
    });
  };
  r.add("take_along_axis", {cube}, [=](const auto& x) {
     return take_along_axis(x[0], along, 1);
   }).reference = [=](const auto& x) {
    return tabulate({2, 2, 3},
                    [&](const auto& i) { return x[0](i[0], static_cast<std::size_t>(along(i[0], i[1], i[2])), i[2]); });
  };
  r.add("put_along_axis", {cube, uniform_example({2, 2, 3})}, [=](const auto& x) {
     return put_along_axis(x[0], along, x[1], 1);
   }).reference = [=](const auto& x) {
    Tensor<double> out = x[0];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t k = 0; k < 2; ++k)
        for (std::size_t j = 0; j < 3; ++j) out(i, static_cast<std::size_t>(along(i, k, j)), j) = x[1](i, k, j);
    return out;
  };
  r.add("scatter_add_along_axis", {cube, uniform_example({2, 2, 3})}, [=](const auto& x) {
     return scatter_add_along_axis(x[0], along, x[1], 1);
   }).reference = [=](const auto& x) {
    Tensor<double> out = x[0];
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t k = 0; k < 2; ++k)
        for (std::size_t j = 0; j < 3; ++j) out(i, static_cast<std::size_t>(along(i, k, j)), j) += x[1](i, k, j);
    return out;
  };
  r.add("embedding", {table}, [=](const auto& x) { return embedding(x[0], square); }).reference = [=](const auto& x) {
    return tabulate({2, 2, 3}, [&](const auto& i) { return x[0](static_cast<std::size_t>(square(i[0], i[1])), i[2]); });
  };
}

void register_masks(Registry& r) {
  const auto matrix = uniform_example({3, 4});
  IndexTensor rows = {1, 0, 1};
  rows.reshape({3, 1});
  r.add("where", {uniform_example({4}), uniform_example({3, 1})}, [=](const auto& x) {
     return where(rows, x[0], x[1]);
   }).reference = [](const auto& x) {
    return tabulate({3, 4}, [&](const auto& i) { return i[0] != 1 ? x[0](i[1]) : x[1](i[0], 0); });
  };
  r.add("masked_fill", {matrix}, [=](const auto& x) { return masked_fill(x[0], rows, 0.25); }).reference =
      [](const auto& x) {
        return tabulate({3, 4}, [&](const auto& i) { return i[0] != 1 ? 0.25 : x[0](i[0], i[1]); });
      };
  r.add("triu", {uniform_example({2, 3, 4})}, [](const auto& x) { return triu(x[0], 1); }).reference =
      [](const auto& x) {
        return tabulate({2, 3, 4}, [&](const auto& i) { return i[2] > i[1] ? x[0](i[0], i[1], i[2]) : 0; });
      };
  r.add("tril", {uniform_example({2, 3, 4})}, [](const auto& x) { return tril(x[0], -1); }).reference =
      [](const auto& x) {
        return tabulate({2, 3, 4}, [&](const auto& i) { return i[2] < i[1] ? x[0](i[0], i[1], i[2]) : 0; });
      };
  const auto compare = [&](std::string name, auto f, auto holds) {
    add_elementwise(
        r, std::move(name), {fixed_example({{1, 2, 3}, {3, 2, 1}}), fixed_example({1, 2, 2})},
        [=](const auto& x) { return f(x[0], x[1]); }, [=](double a, double b) { return holds(a, b) ? 1 : 0; })
        .differentiable = false;
  };
  compare(
      "less", [](auto& a, auto& b) { return less(a, b); }, [](double a, double b) { return a < b; });
  compare(
      "less_equal", [](auto& a, auto& b) { return less_equal(a, b); }, [](double a, double b) { return a <= b; });
  compare(
      "greater", [](auto& a, auto& b) { return greater(a, b); }, [](double a, double b) { return a > b; });
  compare(
      "greater_equal", [](auto& a, auto& b) { return greater_equal(a, b); }, [](double a, double b) { return a >= b; });
  compare(
      "equal", [](auto& a, auto& b) { return equal(a, b); }, [](double a, double b) { return a == b; });
  compare(
      "not_equal", [](auto& a, auto& b) { return not_equal(a, b); }, [](double a, double b) { return a != b; });
}

}  // namespace

void register_indexing(Registry& r) {
  register_by_index(r);
  register_masks(r);
  const auto columns = distinct_example({5, 3});
  r.add("sort", {columns}, [](const auto& x) { return sort(x[0], 0); }).reference = [](const auto& x) {
    return tabulate({5, 3}, [&](const auto& i) { return sorted_column(x[0], i[1])[i[0]]; });
  };
  r.add("top_k", {columns}, [](const auto& x) { return top_k(x[0], 2, 0).values; }).reference = [](const auto& x) {
    return tabulate({2, 3}, [&](const auto& i) { return sorted_column(x[0], i[1])[4 - i[0]]; });
  };
  const auto add_positions = [&](std::string name, auto f, auto place) {
    auto& entry = r.add(std::move(name), {columns}, [=](const auto& x) {
      using T = typename std::remove_cvref_t<decltype(x[0])>::value_type;
      return numbers<T>(f(x[0]));
    });
    entry.differentiable = false;
    entry.reference = [=](const auto& x) { return place(x[0]); };
  };
  // The position of the element with so many smaller ones in its column.
  const auto ranked = [](const Tensor<double>& x, std::size_t rank, std::size_t j) {
    double place = 0;
    for (std::size_t i = 0; i < 5; ++i)
      if (x(i, j) == sorted_column(x, j)[rank]) place = static_cast<double>(i);
    return place;
  };
  add_positions(
      "argmax", [](const auto& x) { return argmax(x, 0); },
      [=](const Tensor<double>& x) { return tabulate({3}, [&](const auto& i) { return ranked(x, 4, i[0]); }); });
  add_positions(
      "argmin", [](const auto& x) { return argmin(x, 0); },
      [=](const Tensor<double>& x) { return tabulate({3}, [&](const auto& i) { return ranked(x, 0, i[0]); }); });
  add_positions(
      "argsort", [](const auto& x) { return argsort(x, 0); },
      [=](const Tensor<double>& x) {
        return tabulate({5, 3}, [&](const auto& i) { return ranked(x, i[0], i[1]); });
      });
  auto& ones = r.add("one_hot", {}, [](const auto& x) {
    using T = typename std::remove_cvref_t<decltype(x)>::value_type::value_type;
    return one_hot<T>({2, 0}, 3);
  });
  ones.differentiable = false;
  ones.reference = [](const auto&) { return Tensor<double>{{0, 0, 1}, {1, 0, 0}}; };
}

}  // namespace tapestry::detail
