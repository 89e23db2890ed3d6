// Handwritten words: each letter by itself, and chain CRFs on pixels and on a convolutional network, trained end to end
// through exact inference, truncated belief propagation or mean field.
#include <array>
#include <cmath>
#include <numeric>

#include <tapestry/models/training/readers/letters.hpp>
#include <tapestry/models/training/transforms/augment.hpp>
#include <tapestry/tapestry.hpp>

#include "checkpoint.hpp"
#include "program.hpp"

namespace {

using namespace tapestry;

constexpr std::int64_t height = LetterWords::height, width = LetterWords::width, letters = LetterWords::letters;
constexpr std::int64_t pixels = height * width;

/// Scores of the letters from their pixels [n, 1, 16, 8]: linear, or through a convolutional network.
struct LetterNetwork {
  Linear<float> output;
  std::optional<Conv2d<float>> first, second;
  std::optional<Linear<float>> hidden;
  Dropout<float> dropout;

  LetterNetwork(bool convolutional, double dropped, Generator& random) {
    if (!convolutional) {
      output = Linear<float>(pixels, letters, random);
      return;
    }
    first.emplace(1, 32, 3, random, Conv2dOptions{.padding = 1});
    second.emplace(32, 64, 3, random, Conv2dOptions{.padding = 1});
    hidden.emplace(64 * height / 4 * width / 4, 256, random, LinearOptions{.activation = Activation::relu});
    output = Linear<float>(256, letters, random);
    dropout = Dropout<float>(dropped, random.split());
  }
  Var<float> forward(const Var<float>& x) const {
    if (!first) return output.forward(reshape(x, {x.extent(0), pixels}));
    const Var<float> low = max_pool2d(relu(first->forward(x)), 2);
    const Var<float> high = max_pool2d(relu(second->forward(low)), 2);
    const Var<float> flat = reshape(high, {x.extent(0), hidden->weight.extent(0)});
    return output.forward(dropout.forward(hidden->forward(dropout.forward(flat))));
  }
  void members(Members& m) {
    m("first", first)("second", second)("hidden", hidden)("output", output)("dropout", dropout);
  }
};

/// How a model is trained and read.
enum class Inference { none, exact, truncated, mean_field };

/// A network, and the chain over its scores.
struct WordModel {
  LetterNetwork network;
  Var<float> transitions, start, end;

  WordModel(bool convolutional, double dropped, Generator& random)
      : network(convolutional, dropped, random),
        transitions(Var<float>::filled({letters, letters}, 0, true)),
        start(Var<float>::filled({letters}, 0, true)),
        end(Var<float>::filled({letters}, 0, true)) {}
  void members(Members& m) { m("network", network)("transitions", transitions)("start", start)("end", end); }

  /// Words of one length: images [words * length, 1, 16, 8].
  ChainPotentials<float> potentials(const Var<float>& images, std::int64_t length) const {
    const Var<float> scores = network.forward(images);
    return {reshape(scores, {images.extent(0) / length, length, letters}), transitions, std::nullopt, start, end};
  }
  /// Logarithms of approximate marginals, by unrolled iterations on the chain as a grid of one row.
  static Var<float> log_marginals(const ChainPotentials<float>& p, Inference inference, int iterations) {
    const std::int64_t words = p.unary.extent(0), length = p.unary.extent(1);
    const auto at = [&](const Var<float>& scores, std::int64_t step) {
      return pad(reshape(scores, {1, 1, letters}), {{0, 0}, {step, length - 1 - step}, {0, 0}});
    };
    const Var<float> unary = p.unary + at(p.start, 0) + at(p.end, length - 1);
    const GridMethod method =
        inference == Inference::mean_field ? GridMethod::mean_field : GridMethod::belief_propagation;
    return reshape(
        grid_log_marginals<float>({reshape(unary, {words, 1, length, letters}), p.transitions, p.transitions},
                                  {method, iterations, 0}),
        p.unary.shape());
  }
};

struct Settings {
  std::string models = "softmax,chain,chain_conv", train_on = "rest";
  std::int64_t epochs = 0, batch = 32;
  int iterations = 3;
  double rate = 2e-3, dropout = 0.4, decay = 1e-5, shift = 1, angle = 0.12, scale = 1.12;
};

/// Words of one length.
struct Batch {
  std::vector<std::int64_t> words;
  std::int64_t length = 0;
};

/// Batches of words of equal length among those given, in the given order.
std::vector<Batch> batches_of(const LetterWords& data, const std::vector<std::int64_t>& words, std::int64_t size) {
  std::map<std::int64_t, Batch> open;
  std::vector<Batch> out;
  for (const std::int64_t w : words) {
    const std::int64_t length =
        data.offsets[static_cast<std::size_t>(w) + 1] - data.offsets[static_cast<std::size_t>(w)];
    Batch& batch = open[length];
    batch.length = length;
    batch.words.push_back(w);
    if (static_cast<std::int64_t>(batch.words.size()) == size) out.push_back(std::exchange(batch, {}));
  }
  for (auto& [length, batch] : open)
    if (!batch.words.empty()) out.push_back(std::move(batch));
  return out;
}

/// The pixels [words * length, 1, 16, 8] and labels [words, length] of a batch.
std::pair<Tensor<float>, IndexTensor> arrays_of(const LetterWords& data, const Batch& batch) {
  const auto n = static_cast<std::int64_t>(batch.words.size());
  Tensor<float> x = empty_tensor<float>({n * batch.length, 1, height, width});
  IndexTensor y = empty_tensor<std::int64_t>({n, batch.length});
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t first = data.offsets[static_cast<std::size_t>(batch.words[static_cast<std::size_t>(i)])];
    std::copy_n(data.pixels.data() + first * pixels, batch.length * pixels, x.data() + i * batch.length * pixels);
    std::copy_n(data.labels.data() + first, batch.length, y.data() + i * batch.length);
  }
  return {std::move(x), std::move(y)};
}

/// A model, how it is trained, and what was measured of it.
struct Entry {
  std::string name;
  bool convolutional;
  Inference inference;
  std::optional<WordModel> model = {};
  std::vector<double> losses = {}, errors = {};  ///< by epoch: per letter, and test letters wrong
  double letter_error = 1, word_error = 1, seconds_per_epoch = 0;

  IndexTensor decode(const ChainPotentials<float>& p, const Settings& settings) const {
    switch (inference) {
      case Inference::none:
        return predictions(p.unary);
      case Inference::exact:
        return chain_viterbi(p).states;
      default:
        return predictions(WordModel::log_marginals(p, inference, settings.iterations));
    }
  }
  Var<float> loss(const ChainPotentials<float>& p, const Indices& labels, const Settings& settings) const {
    switch (inference) {
      case Inference::none:
        return cross_entropy(p.unary, labels);
      case Inference::exact:
        return sum(chain_log_partition(p) - chain_score(p, labels)) / static_cast<float>(labels.size());
      default:
        return negative_log_likelihood(WordModel::log_marginals(p, inference, settings.iterations), labels);
    }
  }
};

const std::array<Entry, 5> known{{{"softmax", false, Inference::none},
                                  {"chain", false, Inference::exact},
                                  {"chain_conv", true, Inference::exact},
                                  {"chain_conv_truncated", true, Inference::truncated},
                                  {"chain_conv_mean_field", true, Inference::mean_field}}};

/// The most probable letters of each word, in the order of `words`.
std::vector<std::string> read_words(const Entry& entry, const LetterWords& data, const std::vector<std::int64_t>& words,
                                    const Settings& settings) {
  const NoGradients off;
  std::map<std::int64_t, std::string> found;
  for (const Batch& batch : batches_of(data, words, 64)) {
    const IndexTensor states =
        entry.decode(entry.model->potentials(Var<float>(arrays_of(data, batch).first), batch.length), settings);
    const std::int64_t* state = states.data();
    for (const std::int64_t w : batch.words)
      for (std::int64_t t = 0; t < batch.length; ++t) found[w] += static_cast<char>('a' + *state++);
  }
  std::vector<std::string> out;
  for (const std::int64_t w : words) out.push_back(found[w]);
  return out;
}

std::string truth_of(const LetterWords& data, std::int64_t word) {
  std::string out;
  for (auto i = data.offsets[static_cast<std::size_t>(word)]; i < data.offsets[static_cast<std::size_t>(word) + 1]; ++i)
    out += static_cast<char>('a' + data.labels[static_cast<std::size_t>(i)]);
  return out;
}

void measure(Entry& entry, const LetterWords& data, const std::vector<std::int64_t>& words, const Settings& settings) {
  std::int64_t wrong_letters = 0, all_letters = 0, wrong_words = 0;
  const std::vector<std::string> guesses = read_words(entry, data, words, settings);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string truth = truth_of(data, words[i]);
    for (std::size_t t = 0; t < truth.size(); ++t) wrong_letters += truth[t] != guesses[i][t];
    all_letters += static_cast<std::int64_t>(truth.size());
    wrong_words += truth != guesses[i];
  }
  entry.letter_error = static_cast<double>(wrong_letters) / static_cast<double>(all_letters);
  entry.word_error = static_cast<double>(wrong_words) / static_cast<double>(words.size());
}

void train_entry(Entry& entry, const LetterWords& data, const std::vector<std::int64_t>& training,
                 const std::vector<std::int64_t>& test, const Settings& settings, const ExampleProgram& program) {
  Generator start(program.seed);
  entry.model.emplace(entry.convolutional, settings.dropout, start);
  WordModel& model = *entry.model;
  const double rate = settings.rate * (entry.convolutional ? 1 : 10);
  Adam<float> adam(parameters<float>(model), {.rate = rate, .weight_decay = settings.decay});
  std::int64_t epoch = 0;
  double seconds = 0;
  Archive state;
  state("model", model)("adam", adam)("epoch", epoch)("seconds", seconds)("losses", entry.losses)("errors",
                                                                                                  entry.errors);
  const Checkpoint checkpoint(
      program.checkpoint, entry.name, state,
      {settings.train_on, std::to_string(program.seed), std::to_string(settings.batch), std::to_string(settings.rate),
       std::to_string(settings.iterations), std::to_string(settings.epochs), std::to_string(settings.dropout),
       std::to_string(settings.decay), std::to_string(settings.shift), std::to_string(settings.angle),
       std::to_string(settings.scale)});
  checkpoint.resume();
  // After each epoch, a part of the test words must do.
  const std::vector<std::int64_t> sample(test.begin(), test.begin() + std::min<std::ptrdiff_t>(600, std::ssize(test)));
  ProgressLine progress(entry.name, {.total = settings.epochs});
  while (epoch < settings.epochs && !program.stop()) {
    const auto began = std::chrono::steady_clock::now();
    Generator random = Generator::from_state({program.seed, 1, static_cast<std::uint64_t>(epoch) << 40});
    std::vector<std::int64_t> order = training;
    std::shuffle(order.begin(), order.end(), random);
    std::vector<Batch> batches = batches_of(data, order, settings.batch);
    std::shuffle(batches.begin(), batches.end(), random);
    // From the full rate to none, in equal steps.
    adam.set_rate(rate * static_cast<double>(settings.epochs - epoch) / static_cast<double>(settings.epochs));
    train(model);
    double total = 0, seen = 0;
    for (const Batch& batch : batches) {
      if (program.stop()) break;
      auto [x, y] = arrays_of(data, batch);
      if (entry.convolutional && (settings.shift > 0 || settings.angle > 0 || settings.scale > 1))
        x = augment(x, {settings.shift, settings.angle, settings.scale}, random);
      adam.zero_gradients();
      const Var<float> loss = entry.loss(model.potentials(Var<float>(x), batch.length), Indices(y), settings);
      loss.backward();
      adam.step();
      total += static_cast<double>(loss.item()) * static_cast<double>(y.size());
      seen += static_cast<double>(y.size());
    }
    evaluate(model);
    if (program.stop()) break;  // what is left of a part of an epoch is not kept
    ++epoch;
    measure(entry, data, sample, settings);
    entry.losses.push_back(total / seen);
    entry.errors.push_back(100 * entry.letter_error);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    progress.update(epoch, {{"loss", entry.losses.back()}, {"test letters wrong %", entry.errors.back()}});
    checkpoint.save();
  }
  evaluate(model);
  measure(entry, data, test, settings);
  entry.seconds_per_epoch = epoch > 0 ? seconds / static_cast<double>(epoch) : 0;
}

/// A word as its letters in a row.
Picture word_picture(const LetterWords& data, std::int64_t word) {
  std::vector<Picture> row;
  for (auto i = data.offsets[static_cast<std::size_t>(word)]; i < data.offsets[static_cast<std::size_t>(word) + 1];
       ++i) {
    Tensor<float> letter = empty_tensor<float>({height, width});
    std::copy_n(data.pixels.data() + i * pixels, pixels, letter.data());
    row.push_back(grey_picture(letter, 1.0f, 0.0f));
  }
  return tiles(row, static_cast<std::int64_t>(row.size()), 1, {200, 200, 200});
}

void write_report(const std::vector<Entry>& entries, const std::vector<std::vector<std::string>>& rows,
                  const std::vector<std::string>& header, const LetterWords& data,
                  const std::vector<std::int64_t>& test, const Settings& settings, const ExampleProgram& program) {
  const NoGradients off;
  Report report("Handwritten words");
  report.heading("Results").table(header, rows);
  Plot errors{.x_label = "epoch", .y_label = "test letters wrong, %"}, losses{.x_label = "epoch", .y_label = "loss"};
  for (const Entry& e : entries) {
    if (e.errors.empty()) continue;
    std::vector<double> epochs(e.errors.size());
    std::iota(epochs.begin(), epochs.end(), 1.0);
    errors.curves.push_back({e.name, epochs, e.errors});
    losses.curves.push_back({e.name, epochs, e.losses});
  }
  report.heading("Training");
  if (!errors.curves.empty())
    report.plot(errors, "Error on the first 600 test words").plot(losses, "Loss per letter while training");
  report.heading("Words");
  // From all over the test words: neighbours are the same word by other hands.
  std::vector<std::int64_t> shown;
  for (std::size_t i = 0; i < 12 && i < test.size(); ++i)
    shown.push_back(test[i * test.size() / std::min<std::size_t>(12, test.size())]);
  std::vector<std::vector<std::string>> guesses;
  for (const Entry& e : entries) guesses.push_back(read_words(e, data, shown, settings));
  for (std::size_t i = 0; i < shown.size(); ++i) {
    std::string caption = truth_of(data, shown[i]);
    for (std::size_t e = 0; e < entries.size(); ++e)
      caption += (e == 0 ? " — " : ", ") + entries[e].name + ": " + guesses[e][i];
    report.picture(word_picture(data, shown[i]), caption, 4);
  }
  report.heading("What was learned");
  for (const Entry& e : entries) {
    if (e.inference == Inference::none) continue;
    const Tensor<float> transitions = e.model->transitions.tensor();
    float limit = 1e-6f;
    for (const float v : transitions) limit = std::max(limit, std::abs(v));
    const Picture picture = signed_map(transitions, limit);
    write_png(program.report_file("transitions_" + e.name + ".png"), enlarge(picture, 8));
    report.picture(picture, e.name + ": transitions from a letter (row, a to z) to the next one; red for, blue against",
                   8);
    if (!e.model->network.first) continue;
    std::vector<Picture> filters;
    const Tensor<float> weight = e.model->network.first->weight.tensor();
    for (std::size_t f = 0; f < weight.shape()[0]; ++f) {
      Tensor<float> one = empty_tensor<float>({3, 3});
      std::copy_n(weight.data() + 9 * f, 9, one.data());
      filters.push_back(signed_map(one, 1.0f));
    }
    report.picture(tiles(filters, 16, 1), e.name + ": filters of the first layer", 8);
  }
  report.write(program.report_file("index.html"));
}

int run(int argc, char** argv) {
  ExampleProgram program;
  Settings settings;
  std::string data_folder = default_data_folder(), file;
  Options options("Reads handwritten words, letter by letter and by chain CRFs.");
  options.text("--data", data_folder, "folder with ocr_letters/letter.fold0vs1.data.gz; default $TAPESTRY_DATA")
      .text("--file", file, "another file in the format of letter.data, with folds")
      .text("--train", settings.train_on, "rest: test on fold 0; fold0: test on the rest")
      .text("--models", settings.models,
            "of softmax, chain, chain_conv, chain_conv_truncated, chain_conv_mean_field; or all")
      .number("--epochs", settings.epochs, "passes over the training words, for each model; 0: 20, or 120 over fold 0")
      .number("--batch", settings.batch, "words of equal length")
      .number("--rate", settings.rate, "of Adam, times 10 for linear models; falls to zero")
      .number("--iterations", settings.iterations, "unrolled by truncated propagation and mean field")
      .number("--dropout", settings.dropout, "in the convolutional network")
      .number("--decay", settings.decay, "weight decay")
      .number("--shift", settings.shift, "images for the convolutional network are moved by up to so many pixels")
      .number("--angle", settings.angle, "and turned by up to so many radians")
      .number("--scale", settings.scale, "and scaled by up to this factor");
  program.add_options(options).add_checkpoint(options);
  if (!options.parse(argc, argv)) return 0;
  if (settings.train_on != "rest" && settings.train_on != "fold0")
    throw Options::UsageError("option --train: rest or fold0");
  if (settings.epochs < 0 || settings.batch < 1 || settings.iterations < 0)
    throw Options::UsageError("numbers must not be negative, and batches not empty");
  std::vector<Entry> entries;
  for (const std::string& name : split_names(settings.models)) {
    bool found = false;
    for (const Entry& e : known)
      if (name == "all" || name == e.name) {
        for (const Entry& other : entries)
          if (other.name == e.name) throw Options::UsageError("option --models: '" + e.name + "' is named twice");
        entries.push_back(e);
        found = true;
      }
    if (!found) throw Options::UsageError("option --models: there is no '" + name + "'");
  }
  if (settings.epochs == 0) settings.epochs = settings.train_on == "rest" ? 20 : 120;
  program.start();

  const LetterWords data = read_letters(
      !file.empty() ? std::filesystem::path(file)
                    : data_file(data_folder, "ocr_letters", "letter.fold0vs1.data.gz",
                                "the handwritten words of Kassel and Taskar (https://ai.stanford.edu/~btaskar/ocr/, "
                                "letter.data.gz; --file reads it too)"));
  std::vector<std::int64_t> training, test;
  for (std::int64_t w = 0; w < data.words(); ++w)
    ((data.folds[static_cast<std::size_t>(w)] == 0) == (settings.train_on == "fold0") ? training : test).push_back(w);
  if (training.empty() || test.empty()) fail<IoError>("ocr", "all words are in one part of the split");
  std::cout << training.size() << " training and " << test.size() << " test words\n";

  const std::vector<std::string> header{"model", "letters wrong", "words wrong", "epochs", "an epoch"};
  std::vector<std::vector<std::string>> rows;
  std::string json = "{";
  for (Entry& entry : entries) {
    train_entry(entry, data, training, test, settings, program);
    rows.push_back({entry.name, fixed(100 * entry.letter_error, 2) + " %", fixed(100 * entry.word_error, 2) + " %",
                    std::to_string(entry.errors.size()), fixed(entry.seconds_per_epoch, 2) + " s"});
    json += (json.size() > 1 ? ", " : "") + json_string(entry.name) + ": " +
            to_json({{"letter_error", entry.letter_error}, {"word_error", entry.word_error}});
  }
  print_table(header, rows);
  if (!program.report.empty()) write_report(entries, rows, header, data, test, settings, program);
  program.finish(json + ", \"seconds\": " + fixed(program.seconds(), 1) + "}");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
