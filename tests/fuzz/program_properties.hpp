#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/state.hpp>

#include "fuzz/require.hpp"

namespace fuzz {

/// What became of bytes that are said to be a program.
enum class ProgramOutcome { refused, failed, ran };

/// For the bytes that follow a file's header: an IoError, or a program that reads as what it was written as, and that
/// runs, or says why not. Reading takes no more memory than a few times the bytes.
inline ProgramOutcome check_program(std::string_view bytes) {
  using namespace tapestry;
  using namespace tapestry::detail;
  constexpr std::size_t most_bytes = 1 << 16;
  const std::size_t before = memory_statistics().in_use;
  reset_peak_memory();
  auto state = std::make_unique<Program<double>::State>();
  try {
    ProgramGraph graph = read_description(std::string(bytes), DType::float64, most_bytes);
    require(memory_statistics().peak <= before + 4 * bytes.size() + (std::size_t{1} << 18));
    const std::string again = describe(graph);
    require(describe(read_description(again, DType::float64, most_bytes)) == again);
    state->build(std::move(graph));
  } catch (const IoError&) {
    require(memory_statistics().peak <= before + 4 * bytes.size() + (std::size_t{1} << 18));
    return ProgramOutcome::refused;
  } catch (const Error&) {
    return ProgramOutcome::failed;  // of what is computed in advance
  }
  Program<double> program(std::move(state));
  std::vector<Var<double>> inputs;
  for (std::size_t k = 0; k < program.inputs(); ++k) inputs.push_back(Var<double>::ones(program.input_shape(k)));
  try {
    program.run(std::span<const Var<double>>(inputs));
    program.run_backward(std::span<const Var<double>>(inputs));
  } catch (const Error&) {
    return ProgramOutcome::failed;
  }
  return ProgramOutcome::ran;
}

}  // namespace fuzz
