#include <tapestry/autodiff/tensor.hpp>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

void Indices::assign(const IndexTensor& values) {
  if (shape_of(values) != shape_)
    fail<ShapeError>("Indices::assign", "shape ", shape_of(values), " where ", shape_, " is held");
  std::copy(values.begin(), values.end(), values_->begin());
}

}  // namespace tapestry
