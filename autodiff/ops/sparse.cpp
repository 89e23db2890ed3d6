#include <tapestry/autodiff/ops/sparse.hpp>

#include <algorithm>
#include <vector>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;

// Where the elements are.
struct Pattern {
  Int rows = 0, columns = 0;
  Indices starts, indices;

  Int elements() const { return indices.size(); }
  void exchange(Attributes& a) {
    a(rows), a(columns), a(starts), a(indices);
    if (!a.reading()) return;
    Attributes::require(rows >= 0 && columns >= 0 && columns <= Int{1} << 48 && starts.size() - 1 == rows &&
                        starts[0] == 0 && starts[rows] == elements());
    for (Int i = 0; i < rows; ++i) Attributes::require(starts[i] <= starts[i + 1]);
    for (Int e = 0; e < elements(); ++e) Attributes::require(indices[e] >= 0 && indices[e] < columns);
  }
};

// Rows that make a chunk of about this many multiplications.
constexpr Int chunk_work = 65536;
Int rows_grain(Int rows, Int elements, Int k) {
  return std::max<Int>(1, chunk_work * rows / std::max<Int>(1, (elements + rows) * k));
}

template <class T>
void add_scaled(T factor, const T* x, T* out, Int n) {
  if (n < 8) {
    for (Int i = 0; i < n; ++i) out[i] += factor * x[i];
  } else {
    detail::kernels<detail::ElementwiseKernels<T>>().add_scaled(factor, x, out, static_cast<std::size_t>(n));
  }
}

// out (+)= a x
template <class T>
void multiply(const Pattern& p, const T* values, const T* x, T* out, Int k, bool accumulate) {
  const Int *starts = p.starts.data(), *indices = p.indices.data();
  detail::parallel_for(p.rows, rows_grain(p.rows, p.elements(), k), [&](Int begin, Int end) {
    if (!accumulate) std::fill_n(out + begin * k, (end - begin) * k, T(0));
    for (Int i = begin; i < end; ++i)
      for (Int e = starts[i]; e < starts[i + 1]; ++e) add_scaled(values[e], x + indices[e] * k, out + i * k, k);
  });
}

// out (+)= a^T x: by columns of a, in the order of its rows, so that threads write to different places.
template <class T>
void multiply_transposed(const Pattern& p, const T* values, const T* x, T* out, Int k, bool accumulate) {
  const Int *starts = p.starts.data(), *indices = p.indices.data();
  detail::PooledVector<Int> first(static_cast<std::size_t>(p.columns) + 1, 0);
  for (Int e = 0; e < p.elements(); ++e) ++first[static_cast<std::size_t>(indices[e]) + 1];
  for (std::size_t j = 1; j < first.size(); ++j) first[j] += first[j - 1];
  struct Element {
    Int row, position;
  };
  detail::PooledVector<Element> by_column(static_cast<std::size_t>(p.elements()));
  detail::PooledVector<Int> next = first;
  for (Int i = 0; i < p.rows; ++i)
    for (Int e = starts[i]; e < starts[i + 1]; ++e)
      by_column[static_cast<std::size_t>(next[static_cast<std::size_t>(indices[e])]++)] = {i, e};
  detail::parallel_for(p.columns, rows_grain(p.columns, p.elements(), k), [&](Int begin, Int end) {
    if (!accumulate) std::fill_n(out + begin * k, (end - begin) * k, T(0));
    for (Int j = begin; j < end; ++j)
      for (Int at = first[static_cast<std::size_t>(j)]; at < first[static_cast<std::size_t>(j) + 1]; ++at) {
        const Element& element = by_column[static_cast<std::size_t>(at)];
        add_scaled(values[element.position], x + element.row * k, out + j * k, k);
      }
  });
}

// out[e] (+)= <left[row of e], right[column of e]>
template <class T>
void sample(const Pattern& p, const T* left, const T* right, T* out, Int k, bool accumulate) {
  const Int *starts = p.starts.data(), *indices = p.indices.data();
  detail::parallel_for(p.rows, rows_grain(p.rows, p.elements(), k), [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i)
      for (Int e = starts[i]; e < starts[i + 1]; ++e) {
        const T *a = left + i * k, *b = right + indices[e] * k;
        T sum = 0;
        if (k < 16)
          for (Int c = 0; c < k; ++c) sum += a[c] * b[c];
        else
          sum = detail::dot(k, a, Int{1}, b, Int{1});
        out[e] = accumulate ? out[e] + sum : sum;
      }
  });
}

template <class T>
Var<T> sampled_product(const Pattern& pattern, const Var<T>& left, const Var<T>& right);

// Inputs: values [elements], x [columns, k] (or [rows, k] where transposed).
template <class T>
class SparseMatMul final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  SparseMatMul(Pattern pattern, bool transpose) : pattern_(std::move(pattern)), transpose_(transpose) {}
  explicit SparseMatMul(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { pattern_.exchange(a), a(transpose_); }
  bool suits(const Shapes& in) override {
    return in.size() == 2 && in[0] == Shape{pattern_.elements()} && in[1].rank() == 2 &&
           in[1][0] == (transpose_ ? pattern_.rows : pattern_.columns);
  }

  std::string_view name() const override { return "sparse_matmul"; }
  Shape shape(const Shapes& in, int) const override {
    return {transpose_ ? pattern_.columns : pattern_.rows, in[1].back()};
  }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }
  Linearity linearity() const override { return Linearity::multilinear; }

  void forward(Forward<T>& c) override {
    const auto x = c.input(1);
    (transpose_ ? multiply_transposed<T> : multiply<T>)(pattern_, c.input(0).data, x.data, c.output().data,
                                                        x.shape.back(), false);
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const Int k = g.shape.back();
    if (c.wants(0)) {
      const Target<T> out = c.target(0);
      const T* x = c.input(1).data;
      sample(pattern_, transpose_ ? x : g.data, transpose_ ? g.data : x, out.data, k, out.accumulate);
    }
    if (c.wants(1)) {
      const Target<T> out = c.target(1);
      (transpose_ ? multiply<T> : multiply_transposed<T>)(pattern_, c.input(0).data, g.data, out.data, k,
                                                          out.accumulate);
    }
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> g = c.gradient();
    if (c.wants(0))
      c.add(0, transpose_ ? sampled_product(pattern_, c.input(1), g) : sampled_product(pattern_, g, c.input(1)));
    if (c.wants(1)) c.add(1, record(std::make_unique<SparseMatMul>(pattern_, !transpose_), c.input(0), g));
  }

 private:
  Pattern pattern_;
  bool transpose_ = false;
};

// The elements of left right^T that the pattern has: the gradient to the values.
template <class T>
class SampledProduct final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  explicit SampledProduct(Pattern pattern) : pattern_(std::move(pattern)) {}
  explicit SampledProduct(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { pattern_.exchange(a); }
  bool suits(const Shapes& in) override {
    return in.size() == 2 && in[0].rank() == 2 && in[1].rank() == 2 && in[0][0] == pattern_.rows &&
           in[1][0] == pattern_.columns && in[0][1] == in[1][1];
  }

  std::string_view name() const override { return "sampled_product"; }
  Shape shape(const Shapes&, int) const override { return {pattern_.elements()}; }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }
  Linearity linearity() const override { return Linearity::multilinear; }

  void forward(Forward<T>& c) override {
    sample(pattern_, c.input(0).data, c.input(1).data, c.output().data, c.input(0).shape.back(), false);
  }
  void backward(Backward<T>& c) override {
    const Int k = c.input_shape(0).back();
    for (const int i : {0, 1}) {
      if (!c.wants(i)) continue;
      const Target<T> out = c.target(i);
      (i == 0 ? multiply<T> : multiply_transposed<T>)(pattern_, c.gradient().data, c.input(1 - i).data, out.data, k,
                                                      out.accumulate);
    }
  }
  void vjp(Vjp<T>& c) override {
    for (const int i : {0, 1})
      if (c.wants(i))
        c.add(i, record(std::make_unique<SparseMatMul<T>>(pattern_, i == 1), c.gradient(), c.input(1 - i)));
  }

 private:
  Pattern pattern_;
};

template <class T>
Var<T> sampled_product(const Pattern& pattern, const Var<T>& left, const Var<T>& right) {
  return record(std::make_unique<SampledProduct<T>>(pattern), left, right);
}

}  // namespace

void detail::register_sparse() {
  register_operations<SparseMatMul>("sparse_matmul");
  register_operations<SampledProduct>("sampled_product");
}

template <class T>
CsrMatrix<T>::CsrMatrix(Int row_count, Int column_count, Indices starts, Indices indices, Var<T> elements)
    : rows(row_count),
      columns(column_count),
      row_starts(std::move(starts)),
      column_indices(std::move(indices)),
      values(std::move(elements)) {
  constexpr std::string_view name = "CsrMatrix";
  if (rows < 0 || columns < 0) fail<ShapeError>(name, "a negative extent: ", rows, " x ", columns);
  if (row_starts.shape() != Shape{rows + 1})
    fail<ShapeError>(name, "row_starts of shape ", row_starts.shape(), " for ", rows, " rows");
  if (column_indices.shape() != values.shape() || values.rank() != 1)
    fail<ShapeError>(name, "column_indices of shape ", column_indices.shape(), " and values of shape ", values.shape());
  for (Int i = 0; i < rows; ++i)
    if (row_starts[i] > row_starts[i + 1]) fail<ShapeError>(name, "row_starts decreases at row ", i);
  if (row_starts[0] != 0 || row_starts[rows] != values.size())
    fail<ShapeError>(name, "row_starts goes from ", row_starts[0], " to ", row_starts[rows], ", not from 0 to ",
                     values.size());
  for (Int e = 0; e < values.size(); ++e)
    if (column_indices[e] < 0 || column_indices[e] >= columns)
      fail<IndexError>(name, "column ", column_indices[e], " of element ", e, " is outside the matrix ",
                       Shape{rows, columns});
}

template <class T>
CsrMatrix<T> CsrMatrix<T>::from_dense(const Tensor<T>& dense, bool requires_grad) {
  const Shape shape = shape_of(dense);
  if (shape.rank() != 2) fail<ShapeError>("CsrMatrix", "a matrix is needed, not a shape ", shape);
  std::vector<Int> indices;
  std::vector<T> elements;
  IndexTensor starts = empty_tensor<Int>({shape[0] + 1});
  starts.data()[0] = 0;
  for (Int i = 0; i < shape[0]; ++i) {
    for (Int j = 0; j < shape[1]; ++j)
      if (const T value = dense.data()[i * shape[1] + j]; value != T(0)) {
        indices.push_back(j);
        elements.push_back(value);
      }
    starts.data()[i + 1] = static_cast<Int>(indices.size());
  }
  const Shape count{static_cast<Int>(indices.size())};
  IndexTensor index_tensor = empty_tensor<Int>(count);
  Tensor<T> value_tensor = empty_tensor<T>(count);
  std::copy(indices.begin(), indices.end(), index_tensor.data());
  std::copy(elements.begin(), elements.end(), value_tensor.data());
  return CsrMatrix(shape[0], shape[1], Indices(std::move(starts)), Indices(std::move(index_tensor)),
                   Var<T>(std::move(value_tensor), requires_grad));
}

template <class T>
Var<T> CsrMatrix<T>::to_dense() const {
  return matmul(*this, detail::identity<T>(columns));
}

template <class T>
Var<T> matmul(const CsrMatrix<T>& a, const Var<T>& x, bool transpose) {
  const Int inner = transpose ? a.rows : a.columns;
  if (x.rank() < 1 || x.rank() > 2 || x.shape()[0] != inner)
    fail<ShapeError>("sparse_matmul", "inner dimensions differ: ", Shape{a.rows, a.columns},
                     transpose ? "^T x " : " x ", x.shape());
  const bool vector = x.rank() == 1;
  const Var<T> y =
      record(std::make_unique<SparseMatMul<T>>(Pattern{a.rows, a.columns, a.row_starts, a.column_indices}, transpose),
             a.values, vector ? reshape(x, Shape{inner, 1}) : x);
  return vector ? reshape(y, Shape{y.size()}) : y;
}

#define TAPESTRY_INSTANTIATE(T) \
  template struct CsrMatrix<T>; \
  template Var<T> matmul(const CsrMatrix<T>&, const Var<T>&, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
