// A CRF trained end to end through its own inference, and how far off that inference is. Labels the pixels of noisy
// images: by a pixel-wise network, and by the same network under a grid CRF that is trained through unrolled mean
// field, through belief propagation, and exactly on strips narrow enough for that.
#include <cmath>
#include <cstdio>

#include <tapestry/tapestry.hpp>

#include "checkpoint.hpp"
#include "labelled_images.hpp"
#include "program.hpp"

namespace {

using namespace tapestry;
using Clock = std::chrono::steady_clock;

using Crf = GridCrf<float, PixelNetwork>;

struct Settings {
  std::int64_t epochs = 15, images = 128, batch = 16, strip = 4;
  double rate = 0.03;
};

/// One of the four models, and what was measured of it.
struct Model {
  std::string name, key;
  GridInference inference;  ///< at test time; in training too, unless `exact`
  bool exact = false;       ///< trained by the exact likelihood of strips
  std::unique_ptr<Crf> crf = nullptr;
  std::vector<double> errors = {};  ///< on the whole test images, after each epoch, in percent
  double seconds_per_epoch = 0;
  double strip_error = 0;                                  ///< in percent
  double log_likelihood = 0, inferred_log_likelihood = 0;  ///< per pixel of the test strips
  double marginal_error = 0, largest_marginal_error = 0;   ///< of its inference against exact, on the strips
};

/// The most probable label of each pixel, from marginals or their logarithms.
IndexTensor labels_of(const Var<float>& log_marginals) {
  return predictions(log_marginals);
}

double error_of(const IndexTensor& guess, const IndexTensor& truth) {
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) wrong += guess.data()[i] != truth.data()[i];
  return 100.0 * static_cast<double>(wrong) / static_cast<double>(truth.size());
}

void train(Model& model, const LabelledImages& data, const LabelledImages& test, const Settings& settings,
           const ExampleProgram& program) {
  const LabelledImages examples = model.exact ? data.strips(settings.strip) : data;
  const std::int64_t batch = model.exact ? settings.batch * (data.height() / settings.strip) : settings.batch;
  Generator random(program.seed + 1);
  Adam<float> adam(parameters<float>(*model.crf), {.rate = settings.rate});
  std::int64_t epoch = 0;
  double seconds = 0;
  Archive state;
  state("model", *model.crf)("adam", adam)("random", random)("epoch", epoch)("seconds", seconds)("errors",
                                                                                                 model.errors);
  const Checkpoint checkpoint(program.checkpoint, model.key, state,
                              {std::to_string(program.seed), std::to_string(data.size()), std::to_string(data.height()),
                               std::to_string(data.channels())});
  checkpoint.resume();
  ProgressLine progress(model.name, {.total = settings.epochs});
  while (epoch < settings.epochs && !program.stop()) {
    const auto start = Clock::now();
    const IndexTensor order = random.permutation(examples.size());
    double total = 0;
    for (std::int64_t first = 0; first < examples.size(); first += batch) {
      const LabelledImages part = examples.pick(order.data() + first, std::min(batch, examples.size() - first));
      adam.zero_gradients();
      const Var<float> loss = model.crf->loss(Var<float>(part.images), Indices(part.labels));
      loss.backward();
      adam.step();
      total += static_cast<double>(loss.item()) * static_cast<double>(part.size());
    }
    ++epoch;
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    const NoGradients off;
    model.errors.push_back(error_of(
        labels_of(grid_log_marginals(model.crf->potentials(Var<float>(test.images)), model.inference)), test.labels));
    progress.update(epoch,
                    {{"loss", total / static_cast<double>(examples.size())}, {"test error %", model.errors.back()}});
    checkpoint.save();
  }
  model.seconds_per_epoch = epoch > 0 ? seconds / static_cast<double>(epoch) : 0;
}

/// The largest and the mean (over pixels) of the distance between marginals, half of the sum of |p - q| over states.
std::pair<double, double> distance(const Var<float>& log_q, const Var<float>& p) {
  double largest = 0, total = 0;
  const std::int64_t states = p.extent(-1), pixels = p.size() / states;
  for (std::int64_t i = 0; i < pixels; ++i) {
    double d = 0;
    for (std::int64_t k = i * states; k < (i + 1) * states; ++k)
      d += 0.5 * std::abs(std::exp(static_cast<double>(log_q.data()[k])) - static_cast<double>(p.data()[k]));
    largest = std::max(largest, d);
    total += d;
  }
  return {largest, total / static_cast<double>(pixels)};
}

/// Compares the model's inference with exact inference on strips of the test images.
void judge(Model& model, const LabelledImages& strips) {
  const NoGradients off;
  const GridPotentials<float> potentials = model.crf->potentials(Var<float>(strips.images));
  const GridExact<float> exact = grid_exact(potentials);
  const Var<float> score = grid_score(potentials, Indices(strips.labels));
  const double pixels = static_cast<double>(strips.height() * strips.width());
  const auto per_pixel = [&](const Var<float>& log_partition) {
    return static_cast<double>(mean(score - log_partition).item()) / pixels;
  };
  model.log_likelihood = model.inferred_log_likelihood = per_pixel(exact.log_partition);
  Var<float> log_q = log(exact.marginals);
  if (!model.exact) {
    log_q = grid_log_marginals(potentials, model.inference);
    if (model.inference.method == GridMethod::mean_field)
      model.inferred_log_likelihood = per_pixel(grid_mean_field_bound(potentials, log_q));
    else
      model.inferred_log_likelihood = per_pixel(
          infer(grid_graph(potentials), BeliefPropagation{.iterations = model.inference.iterations}).log_partition);
    std::tie(model.largest_marginal_error, model.marginal_error) = distance(log_q, exact.marginals);
  }
  model.strip_error = error_of(labels_of(log_q), strips.labels);
}

std::vector<std::vector<std::string>> table_of(const std::vector<Model>& models) {
  std::vector<std::vector<std::string>> rows;
  for (const Model& m : models) {
    if (m.errors.empty()) continue;
    const char* const kind = m.exact || m.inference.iterations == 0         ? "= "
                             : m.inference.method == GridMethod::mean_field ? "<= "
                                                                            : "~ ";
    rows.push_back({m.name, fixed(m.errors.back(), 2) + " %", fixed(m.strip_error, 2) + " %",
                    kind + fixed(m.inferred_log_likelihood, 4), fixed(m.log_likelihood, 4),
                    m.exact ? "0 (exact)" : fixed(m.marginal_error, 4),
                    m.exact ? "-" : fixed(m.largest_marginal_error, 4), fixed(1000 * m.seconds_per_epoch, 0) + " ms"});
  }
  return rows;
}

const std::vector<std::string> header{"model", "error, images",  "error, strips", "log p / pixel",
                                      "exact", "marginal error", "largest",       "an epoch"};

/// Marginal error against exact by the number of iterations, with the potentials that were learned exactly.
Plot error_by_iterations(const Model& exact, const LabelledImages& strips) {
  const NoGradients off;
  const GridPotentials<float> potentials = exact.crf->potentials(Var<float>(strips.images));
  const Var<float> marginals = grid_exact(potentials).marginals;
  Plot plot{.x_label = "iterations", .y_label = "mean marginal error"};
  for (const GridMethod method : {GridMethod::mean_field, GridMethod::belief_propagation}) {
    Curve curve{method == GridMethod::mean_field ? "mean field" : "belief propagation", {}, {}};
    for (const int iterations : {0, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30}) {
      curve.x.push_back(iterations);
      curve.y.push_back(distance(grid_log_marginals(potentials, {method, iterations, 0}), marginals).second);
    }
    plot.curves.push_back(curve);
  }
  return plot;
}

/// The learned pairwise potentials, horizontal beside vertical.
Picture potentials_picture(const Crf& crf) {
  const Tensor<float> horizontal = crf.pairwise.horizontal.tensor(), vertical = crf.pairwise.vertical.tensor();
  float limit = 1e-6f;
  for (const Tensor<float>* table : {&horizontal, &vertical})
    for (const float v : *table) limit = std::max(limit, std::abs(v));
  return tiles(std::vector{enlarge(signed_map(horizontal, limit), 24), enlarge(signed_map(vertical, limit), 24)}, 2, 6);
}

void write_report(const std::vector<Model>& models, const LabelledImages& test, const LabelledImages& strips,
                  const Settings& settings, const ExampleProgram& program) {
  const NoGradients off;
  const std::int64_t shown = std::min<std::int64_t>(6, test.size());
  std::vector<std::int64_t> first;
  for (std::int64_t i = 0; i < shown; ++i) first.push_back(i);
  const LabelledImages sample = test.pick(first.data(), shown);
  const std::int64_t pixels = test.height() * test.width();
  const auto label_row = [&](std::vector<Picture>& row, const IndexTensor& labels) {
    for (std::int64_t i = 0; i < shown; ++i) {
      IndexTensor one = empty_tensor<std::int64_t>({test.height(), test.width()});
      std::copy_n(labels.data() + i * pixels, pixels, one.data());
      row.push_back(label_picture(one));
    }
  };
  Report report("Tapestry quickstart");
  report.paragraph(
      "The pixels of noisy images are labelled by a network that sees one pixel at a time, and by the same network "
      "under "
      "a grid CRF, whose unary and pairwise potentials are trained together through the unrolled iterations of its own "
      "inference. On strips of " +
      std::to_string(settings.strip) +
      " rows exact inference is possible: there the error of the approximate ones is measured.");
  report.heading("Results").table(header, table_of(models));
  report.paragraph(
      "log p / pixel is the log-likelihood of the test strips by the model's own inference: an upper limit (<=) by "
      "mean "
      "field, an estimate (~) by belief propagation; 'exact' is the true one of the same model. Marginal errors are "
      "distances (half of the sum of |p - q|) from the exact marginals of the same potentials, mean and largest over "
      "pixels. The model trained on strips labels whole images by belief propagation.");
  std::vector<Picture> row;
  for (std::int64_t i = 0; i < shown; ++i) {
    Tensor<float> image = empty_tensor<float>({test.channels(), test.height(), test.width()});
    std::copy_n(sample.images.data() + i * test.channels() * pixels, image.size(), image.data());
    if (test.channels() == 3) {
      row.push_back(color_picture(image));
    } else {
      image.reshape({static_cast<std::size_t>(test.height()), static_cast<std::size_t>(test.width())});
      row.push_back(grey_picture(image));
    }
  }
  report.heading("Pictures");
  const auto show = [&](const std::string& name, const std::string& caption) {
    const Picture picture = tiles(row, shown, 2);
    write_png(program.report_file(name + ".png"), enlarge(picture, 3));
    report.picture(picture, caption, 3);
    row.clear();
  };
  show("noisy", "What the models see");
  for (const Model& m : models) {
    label_row(row, labels_of(grid_log_marginals(m.crf->potentials(Var<float>(sample.images)), m.inference)));
    show("predicted_" + m.key,
         m.name + ": " + (m.errors.empty() ? "-" : fixed(m.errors.back(), 2)) + " % of all test pixels wrong");
  }
  label_row(row, sample.labels);
  show("truth", "Truth");
  report.heading("Training");
  Plot errors{.x_label = "epoch", .y_label = "error, % of test pixels"};
  for (const Model& m : models) {
    Curve curve{m.name, {}, m.errors};
    for (std::size_t e = 1; e <= m.errors.size(); ++e) curve.x.push_back(static_cast<double>(e));
    if (!m.errors.empty()) errors.curves.push_back(curve);
  }
  if (!errors.curves.empty()) report.plot(errors, "Test error by epoch");
  report.heading("How far inference is off");
  report.plot(error_by_iterations(models.back(), strips),
              "Marginal error on the test strips by the number of unrolled iterations, with the potentials that were "
              "learned exactly");
  report.heading("What was learned");
  for (const Model& m : models) {
    if (m.inference.iterations == 0) continue;
    const Picture picture = potentials_picture(*m.crf);
    write_png(program.report_file("potentials_" + m.key + ".png"), picture);
    report.picture(picture,
                   m.name + ": pairwise potentials of horizontal and vertical neighbours; red for, blue against", 2);
  }
  report.write(program.report_file("index.html"));
}

int run(int argc, char** argv) {
  ExampleProgram program;
  program.report = "quickstart-report";
  Settings settings;
  std::string data;
  Options options(
      "Trains a pixel-wise network and three grid CRFs to label noisy images, and compares their inference.");
  options
      .optional_text("--data", data, default_data_folder(),
                     "binarised MNIST with 25 % of the pixels flipped, from this folder or $TAPESTRY_DATA, instead "
                     "of shapes that are drawn here")
      .number("--epochs", settings.epochs, "passes over the training images")
      .number("--images", settings.images, "to train on; half as many to test");
  program.add_options(options).add_checkpoint(options);
  if (!options.parse(argc, argv)) return 0;
  if (settings.epochs < 1 || settings.images < 2) throw Options::UsageError("at least one epoch and two images");
  if (program.report.empty()) throw Options::UsageError("option --report: a folder");
  program.start();

  Generator random(program.seed);
  LabelledImages training, test;
  if (data.empty()) {
    training = draw_shapes(settings.images, 32, random);
    test = draw_shapes(settings.images / 2, 32, random);
  } else {
    settings.strip = 7;
    training = noisy_digits(data, "binarized_mnist_train-images-idx3-ubyte.gz", settings.images, 0.25f, random);
    test = noisy_digits(data, "binarized_mnist_test-images-idx3-ubyte.gz", settings.images / 2, 0.25f, random);
    settings.strip = std::min({settings.strip, training.height(), test.height()});
  }
  std::cout << training.size() << " training and " << test.size() << " test images of " << test.height() << " by "
            << test.width() << " pixels with " << test.states << " labels, seed " << program.seed << std::endl;

  constexpr GridMethod mean_field = GridMethod::mean_field, propagation = GridMethod::belief_propagation;
  std::vector<Model> models;
  models.push_back({"pixel-wise network", "pixelwise", {mean_field, 0, 0}});
  models.push_back({"CRF, mean field", "mean_field", {mean_field, 10, 0}});
  models.push_back({"CRF, belief propagation", "belief_propagation", {propagation, 10, 0}});
  models.push_back({"CRF, exact on strips", "exact", {propagation, 10, 0}, true});
  const LabelledImages strips = test.strips(settings.strip);
  for (Model& model : models) {
    Generator start(program.seed + 2);  // the same for all
    model.crf =
        std::make_unique<Crf>(PixelNetwork(training.channels(), training.states, start), training.states,
                              GridCrfOptions{.inference = model.inference,
                                             .loss = model.exact ? GridLoss::likelihood : GridLoss::univariate_log});
    train(model, training, test, settings, program);
    judge(model, strips);
  }
  print_table(header, table_of(models));
  write_report(models, test, strips, settings, program);
  Metrics result;
  for (const Model& m : models) {
    result.push_back({m.key + "_error", m.errors.empty() ? 1 : m.errors.back() / 100});
    result.push_back({m.key + "_marginal_error", m.marginal_error});
  }
  result.push_back({"seconds", program.seconds()});
  program.finish(result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
