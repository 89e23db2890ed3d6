#pragma once

#include <string_view>

#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Positions that an operation finds. A captured program finds them again at each run: the function that is captured
/// may give them to operations and return them, but not read them.
class Positions : public Indices {
 public:
  explicit Positions(const Indices& found) : Indices(found), captured_(detail::capturing()) {}

  /// @throws GraphError in a captured function that finds them
  /// @{
  const IndexTensor& tensor() const {
    check();
    return Indices::tensor();
  }
  const std::int64_t* data() const {
    check();
    return Indices::data();
  }
  std::int64_t operator[](std::int64_t i) const {
    check();
    return Indices::operator[](i);
  }
  /// @}

 private:
  void check() const {
    if (captured_ && detail::capturing())
      fail<GraphError>("capture", "the function reads positions of shape ", shape(),
                       " that it finds: what depends on values (branches, numbers of steps) can't be captured");
  }

  bool captured_;
};

namespace detail {

/// The elements of x, for an operation whose results are no variables.
/// @throws GraphError in a captured function
template <class T>
const T* read_for_positions(std::string_view name, const Var<T>& x) {
  if (!capturing()) return x.data();
  try {
    return x.data();
  } catch (const GraphError&) {
    fail<GraphError>(name, "reads a variable of shape ", x.shape(),
                     ", which a captured program can't do: top_k() gives positions that are found again at each run");
  }
}

}  // namespace detail
}  // namespace tapestry
