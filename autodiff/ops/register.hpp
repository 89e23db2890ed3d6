#pragma once

#include <tapestry/autodiff/registry.hpp>

namespace tapestry::detail {

// One function a family of operations, beside its source: register_<file>.cpp.
void register_arithmetic(Registry& r);
void register_elementary(Registry& r);
void register_matmul(Registry& r);
void register_reductions(Registry& r);
void register_shaping(Registry& r);

}  // namespace tapestry::detail
