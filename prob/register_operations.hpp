#pragma once

namespace tapestry {

/// Makes the operations of inference known to save_program() and load_program(): chains, grids, pairwise and
/// semi-Markov models, and infer() by belief propagation and parallel mean field. To be called once, before.
void register_inference_operations();

}  // namespace tapestry
