// A grid CRF takes noise out of binarised MNIST with 25 % of its pixels flipped: the error by training loss, by the
// number of unrolled iterations, and with gradients through the fixed point.
#include <chrono>
#include <cmath>
#include <numeric>

#include <tapestry/tapestry.hpp>

#include "checkpoint.hpp"
#include "labelled_images.hpp"
#include "program.hpp"

namespace {

using namespace tapestry;

using Crf = GridCrf<float, PixelNetwork>;

struct Settings {
  std::int64_t epochs = 12, images = 200, batch = 20, strip = 7;
  double rate = 0.03, flipped = 0.25;
  std::string runs = "all";
};

/// One way of training, and what came of it.
struct Run {
  std::string name;
  GridInference inference;
  GridLoss loss = GridLoss::univariate_log;
  bool implicit = false;  ///< propagation until it has converged, and gradients by the implicit function theorem
  std::unique_ptr<Crf> crf = nullptr;
  std::vector<double> losses = {};
  /// By epoch, the share of steps in which the messages of all images converged, and the equation of the gradient did.
  std::vector<double> converged = {}, solved = {};
  double error = 1, seconds_per_epoch = 0;
};

/// Until messages stay as they are. Couplings as strong as those learned make that slow, and without damping rare.
InferenceResult<float> propagate(const GridPotentials<float>& potentials) {
  return infer(
      grid_graph(potentials),
      BeliefPropagation{.iterations = 300, .tolerance = 1e-5, .damping = 0.5, .gradient = GradientMode::implicit});
}

Var<float> log_marginals(const Run& run, const GridPotentials<float>& potentials) {
  if (!run.implicit) return grid_log_marginals(potentials, run.inference);
  return log(propagate(potentials).variables[0]);
}

void train(Run& run, const LabelledImages& data, const LabelledImages& test, const Settings& settings,
           const ExampleProgram& program) {
  Generator start(program.seed + 2);
  run.crf = std::make_unique<Crf>(PixelNetwork(data.channels(), data.states, start), data.states,
                                  GridCrfOptions{.inference = run.inference, .loss = run.loss});
  const bool exact = run.loss == GridLoss::likelihood;
  const LabelledImages examples = exact ? data.strips(settings.strip) : data;
  const std::int64_t batch = exact ? settings.batch * (data.height() / settings.strip) : settings.batch;
  Adam<float> adam(parameters<float>(*run.crf), {.rate = settings.rate});
  std::int64_t epoch = 0;
  double seconds = 0;
  Archive state;
  state("model", *run.crf)("adam", adam)("epoch", epoch)("seconds", seconds)("losses", run.losses)(
      "converged", run.converged)("solved", run.solved);
  const Checkpoint checkpoint(
      program.checkpoint, run.name, state,
      {std::to_string(program.seed), std::to_string(settings.images), std::to_string(settings.batch),
       std::to_string(settings.rate), std::to_string(settings.flipped)});
  checkpoint.resume();
  ProgressLine progress(run.name, {.total = settings.epochs});
  while (epoch < settings.epochs && !program.stop()) {
    const auto began = std::chrono::steady_clock::now();
    Generator random = Generator::from_state({program.seed, 1, static_cast<std::uint64_t>(epoch) << 40});
    const IndexTensor order = random.permutation(examples.size());
    double total = 0, steps = 0, converged = 0, solved = 0;
    for (std::int64_t first = 0; first < examples.size() && !program.stop(); first += batch) {
      const LabelledImages part = examples.pick(order.data() + first, std::min(batch, examples.size() - first));
      adam.zero_gradients();
      const GridPotentials<float> potentials = run.crf->potentials(Var<float>(part.images));
      const Indices labels(part.labels);
      Var<float> loss;
      if (run.implicit) {
        const InferenceResult<float> result = propagate(potentials);
        loss = negative_log_likelihood(log(result.variables[0]), labels);
        loss.backward();
        converged += result.converged;
        solved += result.adjoint->converged;
        ++steps;
      } else {
        loss = grid_loss(potentials, labels, run.loss, run.inference);
        loss.backward();
      }
      adam.step();
      total += static_cast<double>(loss.item()) * static_cast<double>(part.size());
    }
    if (program.stop()) break;  // what is left of a part of an epoch is not kept
    ++epoch;
    run.losses.push_back(total / static_cast<double>(examples.size()));
    if (run.implicit) {
      run.converged.push_back(converged / steps);
      run.solved.push_back(solved / steps);
    }
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    progress.update(epoch, {{"loss", run.losses.back()}});
    checkpoint.save();
  }
  const NoGradients off;
  const IndexTensor guess = predictions(log_marginals(run, run.crf->potentials(Var<float>(test.images))));
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < guess.size(); ++i) wrong += guess.data()[i] != test.labels.data()[i];
  run.error = static_cast<double>(wrong) / static_cast<double>(guess.size());
  run.seconds_per_epoch = epoch > 0 ? seconds / static_cast<double>(epoch) : 0;
}

void write_report(const std::vector<Run>& runs, const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows, const LabelledImages& test,
                  const ExampleProgram& program) {
  const NoGradients off;
  Report report("Denoising binarised MNIST with a grid CRF");
  report.heading("Results").table(header, rows);
  Plot lengths{.x_label = "unrolled iterations", .y_label = "wrong test pixels, %", .log_x = true};
  Plot losses{.x_label = "epoch", .y_label = "loss"};
  for (const GridMethod method : {GridMethod::mean_field, GridMethod::belief_propagation}) {
    Curve curve{method == GridMethod::mean_field ? "mean field" : "belief propagation", {}, {}};
    for (const Run& run : runs)
      if (run.loss == GridLoss::univariate_log && !run.implicit && run.inference.method == method &&
          run.inference.iterations > 0) {
        curve.x.push_back(run.inference.iterations);
        curve.y.push_back(100 * run.error);
      }
    if (!curve.x.empty()) lengths.curves.push_back(curve);
  }
  for (const Run& run : runs)
    if ((run.inference.iterations == 10 || run.implicit) && !run.losses.empty()) {
      std::vector<double> epochs(run.losses.size());
      std::iota(epochs.begin(), epochs.end(), 1.0);
      losses.curves.push_back({run.name, epochs, run.losses});
    }
  report.plot(lengths, "Error by the number of iterations in training and at test time, univariate logistic loss");
  if (!losses.curves.empty()) report.plot(losses, "Training losses (each by its own measure)");
  Plot solved{.x_label = "epoch", .y_label = "share of the steps"};
  for (const Run& run : runs)
    if (!run.solved.empty()) {
      std::vector<double> epochs(run.solved.size());
      std::iota(epochs.begin(), epochs.end(), 1.0);
      solved.curves.push_back({"messages", epochs, run.converged});
      solved.curves.push_back({"equation of the gradient", epochs, run.solved});
    }
  if (!solved.curves.empty()) report.plot(solved, "What converged where the gradient is implicit");
  report.heading("Pictures");
  const std::int64_t shown = std::min<std::int64_t>(10, test.size()), pixels = test.height() * test.width();
  std::vector<std::int64_t> first(static_cast<std::size_t>(shown));
  std::iota(first.begin(), first.end(), 0);
  const LabelledImages sample = test.pick(first.data(), shown);
  const auto show = [&](const auto* values, const std::string& name, const std::string& caption) {
    std::vector<Picture> row;
    for (std::int64_t i = 0; i < shown; ++i) {
      Tensor<float> one = empty_tensor<float>({test.height(), test.width()});
      std::copy_n(values + i * pixels, pixels, one.data());
      row.push_back(grey_picture(one));
    }
    const Picture picture = tiles(row, shown, 2);
    write_png(program.report_file(name + ".png"), enlarge(picture, 3));
    report.picture(picture, caption, 3);
  };
  show(sample.images.data(), "noisy", "Noisy");
  for (const Run& run : runs) {
    const Var<float> log_q = log_marginals(run, run.crf->potentials(Var<float>(sample.images)));
    Tensor<float> ones = empty_tensor<float>({shown * pixels});
    for (std::int64_t i = 0; i < shown * pixels; ++i) ones.data()[i] = std::exp(log_q.data()[2 * i + 1]);
    show(ones.data(), run.name, run.name + ": marginals, " + fixed(100 * run.error, 2) + " % of all test pixels wrong");
  }
  show(sample.labels.data(), "truth", "Truth");
  report.write(program.report_file("index.html"));
}

/// Those that are named. @throws Options::UsageError
std::vector<Run> runs_of(const std::string& names) {
  constexpr GridMethod propagation = GridMethod::belief_propagation;
  std::vector<Run> runs;
  runs.push_back({"pixelwise", {GridMethod::mean_field, 0, 0}});
  for (const int iterations : {1, 2, 5, 10, 20, 40}) {
    runs.push_back({"mean_field_" + std::to_string(iterations), {GridMethod::mean_field, iterations, 0}});
    runs.push_back({"propagation_" + std::to_string(iterations), {propagation, iterations, 0}});
  }
  runs.push_back({"quadratic", {propagation, 10, 0}, GridLoss::univariate_quadratic});
  runs.push_back({"pseudo_likelihood", {propagation, 10, 0}, GridLoss::pseudo_likelihood});
  runs.push_back({"strip_likelihood", {propagation, 10, 0}, GridLoss::likelihood});
  runs.push_back({"implicit", {propagation, 0, 0}, GridLoss::univariate_log, true});
  std::vector<Run> out;
  for (const std::string& name : split_names(names)) {
    const std::size_t before = out.size();
    for (Run& run : runs)
      if (name == "all" || name == run.name) out.push_back(std::exchange(run, Run{}));
    if (out.size() == before)
      throw Options::UsageError("option --runs: there is no '" + name + "', or it is named twice");
  }
  return out;
}

int run_all(int argc, char** argv) {
  ExampleProgram program;
  Settings settings;
  std::string data = default_data_folder();
  Options options("Trains grid CRFs to denoise digits, by several losses, unrolled lengths, and an implicit gradient.");
  options.text("--data", data, "folder with binarized_mnist; default $TAPESTRY_DATA")
      .text("--runs", settings.runs,
            "some of pixelwise, mean_field_N and propagation_N (N: 1, 2, 5, 10, 20, 40), quadratic, pseudo_likelihood, "
            "strip_likelihood, implicit, with commas; or all")
      .number("--epochs", settings.epochs, "passes over the training images, for each run")
      .number("--images", settings.images, "to train on; half as many to test")
      .number("--batch", settings.batch, "images")
      .number("--rate", settings.rate, "of Adam")
      .number("--flipped", settings.flipped, "share of the pixels");
  program.add_options(options).add_checkpoint(options);
  if (!options.parse(argc, argv)) return 0;
  if (settings.epochs < 0 || settings.images < 2 || settings.batch < 1 ||
      !(settings.flipped >= 0 && settings.flipped <= 1))
    throw Options::UsageError("at least two images in batches of one, and a share from 0 to 1");
  std::vector<Run> runs = runs_of(settings.runs);
  program.start();
  Generator random(program.seed);
  const auto flipped = static_cast<float>(settings.flipped);
  const LabelledImages training =
      noisy_digits(data, "binarized_mnist_train-images-idx3-ubyte.gz", settings.images, flipped, random);
  const LabelledImages test =
      noisy_digits(data, "binarized_mnist_test-images-idx3-ubyte.gz", settings.images / 2, flipped, random);
  settings.strip = std::min(settings.strip, training.height());

  const std::vector<std::string> header{"training", "wrong pixels", "loss", "an epoch"};
  std::vector<std::vector<std::string>> rows;
  Metrics result;
  for (Run& run : runs) {
    train(run, training, test, settings, program);
    rows.push_back({run.name, fixed(100 * run.error, 2) + " %", run.losses.empty() ? "-" : fixed(run.losses.back(), 4),
                    fixed(1000 * run.seconds_per_epoch, 0) + " ms"});
    result.push_back({run.name, run.error});
  }
  print_table(header, rows);
  for (const Run& run : runs)
    if (!run.solved.empty()) {
      std::cout << run.name << ", last epoch: messages converged in " << fixed(100 * run.converged.back(), 0)
                << " % of the steps, the equation of the gradient in " << fixed(100 * run.solved.back(), 0) << " %\n";
      result.push_back({run.name + "_solved", run.solved.back()});
    }
  if (!program.report.empty()) write_report(runs, header, rows, test, program);
  result.push_back({"seconds", program.seconds()});
  program.finish(result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run_all);
}
