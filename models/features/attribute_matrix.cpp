#include <tapestry/models/features/attribute_matrix.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

template <class T>
CsrMatrix<T> attribute_matrix(const SparseSequences& data, std::int64_t sequence, std::int64_t attributes) {
  if (sequence < 0 || sequence >= data.sequences())
    fail<IndexError>("attribute_matrix", "sequence ", sequence, " of ", data.sequences());
  const auto s = static_cast<std::size_t>(sequence);
  const std::int64_t items = data.offsets[s + 1] - data.offsets[s];
  const auto starts = data.starts.begin() + data.offsets[s];
  const std::int64_t first = starts[0], entries = starts[items] - first;
  IndexTensor rows = empty_tensor<std::int64_t>({items + 1}), columns = empty_tensor<std::int64_t>({entries});
  Tensor<T> values = empty_tensor<T>({entries});
  std::transform(starts, starts + items + 1, rows.data(), [&](std::int64_t start) { return start - first; });
  std::copy_n(data.attributes.begin() + first, entries, columns.data());
  if (data.values.empty())
    std::fill_n(values.data(), entries, T(1));
  else
    std::transform(data.values.begin() + first, data.values.begin() + first + entries, values.data(),
                   [](double v) { return static_cast<T>(v); });
  return CsrMatrix<T>(items, attributes, Indices(std::move(rows)), Indices(std::move(columns)),
                      Var<T>(std::move(values)));
}

template CsrMatrix<float> attribute_matrix(const SparseSequences&, std::int64_t, std::int64_t);
template CsrMatrix<double> attribute_matrix(const SparseSequences&, std::int64_t, std::int64_t);

}  // namespace tapestry
