#include <tapestry/autodiff/ops/matrix_parts.hpp>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;
constexpr Int tile = 32;

template <class T>
class MatrixParts final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  MatrixParts(TriangleWeights own, TriangleWeights transposed) : own_(own), transposed_(transposed) {}
  explicit MatrixParts(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    for (TriangleWeights* w : {&own_, &transposed_}) a(w->lower), a(w->diagonal), a(w->upper);
  }

  std::string_view name() const override { return "matrix_parts"; }
  Shape shape(const Shapes& in, int) const override {
    const MatrixBatch batch = matrix_batch("matrix_parts", in[0]);
    if (!across()) return in[0];
    if (batch.rows != batch.columns && across() && along())
      fail<ShapeError>("matrix_parts", "the matrices are not square: ", in[0]);
    Shape out = in[0];
    out[out.rank() - 2] = batch.columns;
    out[out.rank() - 1] = batch.rows;
    return out;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }

  void forward(Forward<T>& c) override {
    apply(c.input(0).data, c.output().data, c.output().shape, own_, transposed_, false);
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    apply(c.gradient().data, out.data, out.shape, own_, flipped(), out.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, matrix_parts(c.gradient(), own_, flipped())); }

 private:
  static bool any(TriangleWeights w) { return w.lower != 0 || w.diagonal != 0 || w.upper != 0; }
  bool along() const { return any(own_); }
  bool across() const { return any(transposed_); }
  TriangleWeights flipped() const { return {transposed_.upper, transposed_.diagonal, transposed_.lower}; }

  static void apply(const T* x, T* y, const Shape& shape, TriangleWeights own, TriangleWeights transposed,
                    bool accumulate) {
    const MatrixBatch batch = matrix_batch("matrix_parts", shape);
    const Int rows = batch.rows, columns = batch.columns;
    const bool across = any(transposed);
    const Int row_tiles = (rows + tile - 1) / tile;
    parallel_for(batch.count * row_tiles, std::max<Int>(1, 32768 / (tile * std::max<Int>(1, columns))),
                 [&](Int begin, Int end) {
                   for (Int item = begin; item < end; ++item) {
                     const Int first = item % row_tiles * tile, last = std::min(first + tile, rows);
                     const T* from = x + item / row_tiles * batch.elements();
                     T* to = y + item / row_tiles * batch.elements();
                     for (Int left = 0; left < columns; left += tile)
                       for (Int i = first; i < last; ++i)
                         for (Int j = left; j < std::min(left + tile, columns); ++j) {
                           const double w = j < i ? own.lower : j == i ? own.diagonal : own.upper;
                           const double t = j < i ? transposed.lower : j == i ? transposed.diagonal : transposed.upper;
                           // A weight of zero leaves out infinities too.
                           T value = w != 0 ? static_cast<T>(w) * from[i * columns + j] : T(0);
                           if (across && t != 0) value += static_cast<T>(t) * from[j * rows + i];
                           to[i * columns + j] = accumulate ? to[i * columns + j] + value : value;
                         }
                   }
                 });
  }

  TriangleWeights own_, transposed_;
};

}  // namespace

void register_matrix_parts() {
  register_operations<MatrixParts>("matrix_parts");
}

MatrixBatch matrix_batch(std::string_view operation, const Shape& shape) {
  if (shape.rank() < 2) fail<ShapeError>(operation, "matrices are needed, not a shape ", shape);
  const int rank = shape.rank();
  Int count = 1;
  for (int i = 0; i < rank - 2; ++i) count *= shape[i];
  return {count, shape[rank - 2], shape[rank - 1]};
}

MatrixBatch square_batch(std::string_view operation, const Shape& shape) {
  const MatrixBatch batch = matrix_batch(operation, shape);
  if (batch.rows != batch.columns) fail<ShapeError>(operation, "the matrices are not square: ", shape);
  return batch;
}

std::string which_matrix(const MatrixBatch& batch, Int index) {
  const std::string extents = to_string(Shape{batch.rows, batch.columns});
  if (batch.count == 1) return "the matrix " + extents;
  return "matrix " + std::to_string(index) + " (of " + std::to_string(batch.count) + ", each " + extents + ")";
}

template <class T>
Var<T> matrix_parts(const Var<T>& x, TriangleWeights own, TriangleWeights transposed) {
  return record(std::make_unique<MatrixParts<T>>(own, transposed), x);
}

template <class T>
Var<T> identity(Int n) {
  Tensor<T> out = empty_tensor<T>({n, n});
  std::fill(out.data(), out.data() + out.size(), T(0));
  for (Int i = 0; i < n; ++i) out.data()[i * (n + 1)] = T(1);
  return Var<T>(std::move(out));
}

template <class T>
Var<T> as_row(const Var<T>& x) {
  Shape shape = x.shape();
  shape.insert(shape.rank() - 1, 1);
  return reshape(x, shape);
}

template <class T>
Var<T> as_column(const Var<T>& x) {
  Shape shape = x.shape();
  shape.push_back(1);
  return reshape(x, shape);
}

#define TAPESTRY_INSTANTIATE(T)                                                  \
  template Var<T> matrix_parts(const Var<T>&, TriangleWeights, TriangleWeights); \
  template Var<T> identity(Int);                                                 \
  template Var<T> as_row(const Var<T>&);                                         \
  template Var<T> as_column(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
