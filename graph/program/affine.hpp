#pragma once

#include <memory>

#include <tapestry/graph/program/backward_operation.hpp>
#include <tapestry/graph/program/graph.hpp>
#include <tapestry/graph/program/update.hpp>

namespace tapestry::detail {

/// Lets products x W with few rows x, and their gradients, read W where it lies.
void stream_few_rows(ProgramGraph& graph);

/// If a step computes the gradient of a matrix W as one of such a product, and nothing is added to it: lets the step
/// update W at once, so that the gradient is never in memory as a whole. `result` is the output that is the gradient;
/// it is no output of the step then.
template <class T>
bool update_in_step(ProgramGraph& graph, ProgramStep& step, std::size_t result, std::shared_ptr<UpdateRun<T>> run,
                    std::size_t parameter);

}  // namespace tapestry::detail
