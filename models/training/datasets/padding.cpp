#include <tapestry/models/training/datasets/padding.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

template <class T>
Tensor<T> stack(std::span<const Tensor<T>> items) {
  if (items.empty()) return empty_tensor<T>({0});
  const Shape shape = shape_of(items.front());
  for (const auto& item : items)
    if (shape_of(item) != shape) fail<ShapeError>("stack", shape, " and ", shape_of(item));
  Shape all = shape;
  all.insert(0, static_cast<std::int64_t>(items.size()));
  auto result = empty_tensor<T>(all);
  T* out = result.data();
  for (const auto& item : items) out = std::copy(item.data(), item.data() + item.size(), out);
  return result;
}

template <class T>
Padded<T> pad(std::span<const Tensor<T>> sequences, T fill) {
  const auto n = static_cast<std::int64_t>(sequences.size());
  if (n == 0) return {empty_tensor<T>({0, 0}), Indices(empty_tensor<std::int64_t>({0}))};
  Shape all = shape_of(sequences.front());
  auto lengths = empty_tensor<std::int64_t>({n});
  std::int64_t longest = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    Shape shape = shape_of(sequences[static_cast<std::size_t>(i)]);
    if (shape.empty()) fail<ShapeError>("pad", "sequence ", i, " has rank 0");
    lengths(i) = shape[0];
    longest = std::max(longest, shape[0]);
    shape[0] = all[0];
    if (shape != all)
      fail<ShapeError>("pad", shape_of(sequences.front()), " and ", shape_of(sequences[static_cast<std::size_t>(i)]));
  }
  all[0] = longest;
  const auto row = static_cast<std::size_t>(all.elements());
  all.insert(0, n);
  auto values = empty_tensor<T>(all);
  T* out = values.data();
  for (const auto& sequence : sequences) {
    T* const end = std::copy(sequence.data(), sequence.data() + sequence.size(), out);
    out += row;
    std::fill(end, out, fill);
  }
  return {std::move(values), Indices(std::move(lengths))};
}

template Tensor<float> stack(std::span<const Tensor<float>>);
template Tensor<double> stack(std::span<const Tensor<double>>);
template Tensor<std::int64_t> stack(std::span<const Tensor<std::int64_t>>);
template Padded<float> pad(std::span<const Tensor<float>>, float);
template Padded<double> pad(std::span<const Tensor<double>>, double);
template Padded<std::int64_t> pad(std::span<const Tensor<std::int64_t>>, std::int64_t);

}  // namespace tapestry
