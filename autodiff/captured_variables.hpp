#pragma once

#include <span>
#include <vector>

#include <tapestry/autodiff/node.hpp>

namespace tapestry::detail {

/// What a function that was recorded on a tape of its own read beside its inputs: variables that require a gradient,
/// leaves and those computed on other tapes.
std::vector<NodeRef> captured_variables(const Tape& tape, std::span<const NodeRef> inputs,
                                        std::span<const NodeRef> results);

}  // namespace tapestry::detail
