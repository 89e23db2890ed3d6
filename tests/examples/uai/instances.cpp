// Writes models of the kinds that the UAI competitions use: uai_instances FOLDER small|large [SEED]. Small ones come
// with exact answers (.PR, .MAR, .MAP) by a plain elimination.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>

#include "models.hpp"

int main(int argc, char** argv) {
  using namespace uai_models;
  const std::string size = argc > 2 ? argv[2] : "";
  if (argc > 4 || (size != "small" && size != "large")) {
    std::cerr << "usage: uai_instances FOLDER small|large [SEED]\n";
    return 2;
  }
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  int style = static_cast<int>(seed);
  bool written = true;
  const auto write = [&](const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    file.close();
    written = written && file;
  };
  for (const auto& [name, model] : size == "small" ? small_models(seed) : large_models(seed)) {
    const std::string path = std::string(argv[1]) + "/" + name + ".uai";
    write(path, format(model, ++style));
    write(path + ".evid", format_evidence(model, style));
    if (size == "large") continue;
    const Answers answers = solve(model);
    std::ofstream pr(path + ".PR"), mar(path + ".MAR"), map(path + ".MAP");
    pr.precision(std::numeric_limits<double>::max_digits10);
    mar.precision(std::numeric_limits<double>::max_digits10);
    pr << "PR\n" << answers.log10_partition << '\n';
    mar << "MAR\n" << model.variables();
    for (const auto& marginal : answers.marginals) {
      mar << ' ' << marginal.size();
      for (const double p : marginal) mar << ' ' << p;
    }
    mar << '\n';
    map << "MAP\n" << model.variables();
    for (const int s : answers.best) map << ' ' << s;
    map << '\n';
    written = written && pr && mar && map;
  }
  if (!written) std::cerr << "uai_instances: cannot write to " << argv[1] << '\n';
  return written ? 0 : 1;
}
