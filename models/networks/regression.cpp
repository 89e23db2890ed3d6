#include <tapestry/models/networks/regression.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry {

template <class T>
Var<T> LogisticRegression<T>::forward(const Var<T>& x) const {
  return squeeze(linear(x, weight, bias), {-1});
}

template <class T>
IndexTensor predictions(const Var<T>& scores) {
  if (scores.rank() < 1 || scores.extent(-1) < 1) fail<ShapeError>("predictions", "scores ", scores.shape());
  Shape shape = scores.shape();
  const std::int64_t classes = shape.back();
  shape.erase(shape.rank() - 1);
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  const T* row = scores.data();
  for (std::int64_t& label : out) {
    label = std::max_element(row, row + classes) - row;
    row += classes;
  }
  return out;
}

template struct LogisticRegression<float>;
template struct LogisticRegression<double>;
template IndexTensor predictions(const Var<float>&);
template IndexTensor predictions(const Var<double>&);

}  // namespace tapestry
