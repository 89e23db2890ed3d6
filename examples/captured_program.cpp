// A network whose training step is captured once: it learns the exclusive or of two signs, is saved, and runs again
// from the file, without the code of the network.
#include <filesystem>
#include <iostream>

#include <tapestry/tapestry.hpp>

using namespace tapestry;

int main() {
  Generator random(3);
  std::vector<Var<float>> parameters{Var<float>(random.normal<float>({2, 16}), true),
                                     Var<float>::filled({16}, 0.0f, true),
                                     Var<float>(random.normal<float>({16, 1}) * 0.3f, true)};
  const auto network = [&](const Var<float>& x) {
    return matmul(tanh(matmul(x, parameters[0]) + parameters[1]), parameters[2]);
  };
  const auto loss = [&](const Var<float>& x, const Var<float>& y) { return squared_error(network(x), y); };

  Var<float> x = Var<float>::zeros({64, 2}), y = Var<float>::zeros({64, 1});
  const auto draw_batch = [&] {
    x.assign(random.uniform<float>({64, 2}) * 2.0f - 1.0f);
    for (std::int64_t i = 0; i < 64; ++i)
      y.mutable_data()[i] = x.data()[2 * i] * x.data()[2 * i + 1] > 0 ? -1.0f : 1.0f;
  };

  Adam<float> adam(parameters, {.rate = 0.01});
  Program<float> training = capture_training(loss, adam, x, y);
  for (int step = 0; step < 2000; ++step) {
    draw_batch();
    training.train(x, y);
  }
  std::cout << "loss " << training.output()() << "\n\n" << training.report() << '\n';
  profile([&] { training.train(x, y); }).print(std::cout);

  const auto file = std::filesystem::temp_directory_path() / "tapestry_exclusive_or.program";
  save_program(capture(network, x), file);
  Program<float> loaded = load_program<float>(file);
  std::filesystem::remove(file);
  draw_batch();
  loaded.run(x);
  int right = 0;
  for (std::int64_t i = 0; i < 64; ++i) right += loaded.output()(i, 0) * y.data()[i] > 0;
  std::cout << "\nfrom the file: " << right << " of 64 right\n";
  return right >= 58 ? 0 : 1;
}
