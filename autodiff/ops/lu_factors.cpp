#include <tapestry/autodiff/ops/lu_factors.hpp>

#include <tapestry/autodiff/lapack.hpp>

namespace tapestry::detail {

using Int = std::int64_t;

template <class T>
void LuFactors<T>::factor(const MatrixBatch& matrices, const T* a) {
  batch = matrices;
  const Int n = batch.rows;
  lu = empty_tensor<T>({batch.count, n, n});
  std::copy_n(a, batch.count * n * n, lu.data());
  pivots.assign(static_cast<std::size_t>(batch.count * n), 0);
  singular.assign(static_cast<std::size_t>(batch.count), 0);
  for_matrices(batch.count, n,
               [&](Int i) { singular[static_cast<std::size_t>(i)] = getrf(n, matrix(i), n, pivots.data() + i * n); });
}

template <class T>
void LuFactors<T>::check(std::string_view operation) const {
  for (Int i = 0; i < batch.count; ++i)
    if (const int minor = singular[static_cast<std::size_t>(i)]; minor != 0)
      fail<NumericalError>(operation, which_matrix(batch, i),
                           " is singular: after row exchanges its leading minor of order ", minor, " is zero");
}

template <class T>
void LuFactors<T>::invert(Int i, T* out) const {
  std::copy_n(matrix(i), batch.elements(), out);
  getri(batch.rows, out, batch.rows, exchanges(i));
}

template struct LuFactors<float>;
template struct LuFactors<double>;

}  // namespace tapestry::detail
