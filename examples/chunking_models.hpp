#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include <tapestry/models/crf/chain_tagger.hpp>
#include <tapestry/models/crf/lstm_tagger.hpp>
#include <tapestry/models/training/datasets/order.hpp>
#include <tapestry/models/training/metrics/spans.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>

#include "checkpoint.hpp"
#include "program.hpp"

/// The two models of chunking.cpp: how they train, and what it reads of them.
namespace chunking {

using namespace tapestry;
using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

inline constexpr double none = std::numeric_limits<double>::quiet_NaN();

/// A corpus in either format, and what scoring needs of it.
struct Corpus {
  std::optional<ColumnCorpus> columns;
  std::optional<ItemCorpus> items;

  Corpus(const std::filesystem::path& path, bool as_items) {
    if (as_items)
      items = read_items(path);
    else
      columns = read_columns(path);
  }
  const std::vector<std::int64_t>& offsets() const { return columns ? columns->offsets() : items->offsets(); }
  std::string_view label(std::int64_t i) const {
    return columns ? columns->cell(i, columns->columns() - 1) : items->label(i);
  }
};

/// @throws Options::UsageError
inline LossKind loss_kind(const std::string& name) {
  static const std::vector<std::pair<std::string, LossKind>> known{
      {"likelihood", LossKind::likelihood},
      {"pseudo_likelihood", LossKind::pseudo_likelihood},
      {"piecewise", LossKind::piecewise},
      {"univariate_log", LossKind::univariate_log},
      {"univariate_quadratic", LossKind::univariate_quadratic},
      {"clique_log", LossKind::clique_log},
      {"clique_quadratic", LossKind::clique_quadratic},
      {"max_margin", LossKind::max_margin},
      {"perceptron", LossKind::perceptron}};
  for (const auto& [text, kind] : known)
    if (text == name) return kind;
  throw Options::UsageError("option --loss: there is no '" + name + "'");
}

struct Settings {
  std::string data = default_data_folder(), train, test, format = "columns", model = "crf", loss = "likelihood", file,
              method = "lbfgs", log, output;
  ChainTraining training;
  std::int64_t every = 50, epochs = 0, batch = 16;
  LstmTaggerOptions lstm;
  double rate = 0;
  bool as_items() const { return format == "items"; }
  /// What is 0 gets the value of the model and its method.
  void complete() {
    const bool indicators = model == "crf";
    if (epochs == 0) epochs = indicators ? 15 : 30;
    if (rate == 0) rate = !indicators ? 2e-3 : method == "sgd" ? 0.1 : 0.02;
  }
  std::filesystem::path path(const std::string& given, const char* name) const {
    if (!given.empty()) return given;
    return data_file(data, "conll2000", name,
                     "the CoNLL-2000 shared task (https://www.clips.uantwerpen.be/conll2000/chunking/)");
  }
};

/// How training went; NaN where the model came from a file.
struct Training {
  double loss = none, iterations = none, seconds_per_iteration = none;
  std::vector<double> losses, scores;  ///< by iteration; F1 of the test data where it is measured
};

struct Tagged {
  std::vector<std::string_view> labels;  ///< of each token
  std::int64_t unknown = 0;              ///< labels of the data that the model does not know
};

/// What the program does with either model.
class Model {
 public:
  virtual ~Model() = default;
  virtual void load(const std::string& path) = 0;
  virtual void save(const std::string& path) const = 0;
  virtual Training train(const Settings& settings, const ExampleProgram& program, const Corpus& test) = 0;
  virtual Tagged tag(const Corpus& data) const = 0;
  virtual std::int64_t features() const = 0;
  /// [labels, labels], and the labels' names.
  virtual std::pair<Tensor<double>, std::vector<std::string>> transitions() const = 0;
};

inline SpanScorer score(const Corpus& test, const Tagged& tagged) {
  SpanScorer scorer;
  std::vector<std::string_view> truth, guess;
  for (std::size_t s = 0; s + 1 < test.offsets().size(); ++s) {
    truth.clear();
    guess.clear();
    for (std::int64_t i = test.offsets()[s]; i < test.offsets()[s + 1]; ++i) {
      truth.push_back(test.label(i));
      guess.push_back(tagged.labels[static_cast<std::size_t>(i)]);
    }
    scorer.add(truth, guess);
  }
  return scorer;
}

inline Tensor<double> zeros(const Shape& shape) {
  Tensor<double> out = empty_tensor<double>(shape);
  out.fill(0);
  return out;
}

template <class T>
Tagged named(const T& tagger, const std::vector<std::int32_t>& numbers, std::int64_t unknown) {
  Tagged out{{}, unknown};
  for (const std::int32_t number : numbers) out.labels.push_back(tagger.label(number));
  return out;
}

inline Corpus training_corpus(const Settings& settings) {
  Corpus corpus(settings.path(settings.train, "train.txt.gz"), settings.as_items());
  std::cout << "training data: " << corpus.offsets().size() - 1 << " sentences, " << corpus.offsets().back()
            << " tokens\n";
  return corpus;
}

/// Indicator features and L-BFGS.
class IndicatorModel final : public Model {
 public:
  explicit IndicatorModel(bool as_items)
      : tagger_(FeatureEncoder(as_items ? std::vector<FeatureTemplate>() : chunking_templates())) {}
  void load(const std::string& path) override { tagger_ = ChainTagger::load(path); }
  void save(const std::string& path) const override { tagger_.save(path); }
  std::int64_t features() const override { return tagger_.features().size(); }
  Tagged tag(const Corpus& data) const override {
    const SparseSequences encoded =
        data.columns ? tagger_.encoder().encode(*data.columns) : tagger_.encoder().encode(*data.items);
    return named(tagger_, tagger_.tag(encoded), encoded.unknown_labels);
  }
  std::pair<Tensor<double>, std::vector<std::string>> transitions() const override {
    const IndicatorFeatures& f = tagger_.features();
    Tensor<double> table = zeros({f.labels, f.labels});
    for (std::size_t k = 0; k < f.sources.size(); ++k)
      table.data()[f.sources[k] * f.labels + f.targets[k]] =
          tagger_.weights()[static_cast<std::size_t>(f.states()) + k];
    std::vector<std::string> names;
    for (std::int32_t l = 0; l < f.labels; ++l) names.emplace_back(tagger_.label(l));
    return {std::move(table), std::move(names)};
  }

  Training train(const Settings& settings, const ExampleProgram& program, const Corpus&) override {
    const Corpus corpus = training_corpus(settings);
    return settings.method == "lbfgs" ? by_lbfgs(corpus, settings, program) : in_batches(corpus, settings, program);
  }

 private:
  Training by_lbfgs(const Corpus& corpus, const Settings& settings, const ExampleProgram& program) {
    LbfgsState lbfgs;
    Training out;
    double seconds = 0, timed = 0;
    Archive state;
    state("lbfgs", lbfgs)("losses", out.losses)("seconds", seconds)("timed", timed);
    ChainTraining training = settings.training;
    training.lbfgs.restart = static_cast<int>(settings.every);
    const Checkpoint checkpoint(program.checkpoint, "crf", state,
                                {settings.train, settings.format, settings.loss, std::to_string(training.c1),
                                 std::to_string(training.c2), std::to_string(settings.every)});
    checkpoint.resume();
    std::optional<Clock::time_point> began;  // what is before the first iteration is reading and building
    LbfgsResult result;
    {
      const Log log(settings.log, lbfgs.iteration > 0);
      ProgressLine progress("iteration", {.total = training.lbfgs.max_iterations});
      const LbfgsObserver observer = [&](const LbfgsProgress& p) {
        if (began) {
          seconds += seconds_since(*began);
          ++timed;
        }
        if (lbfgs.iteration > 0 && lbfgs.iteration == p.iteration - 1) checkpoint.save();
        out.losses.push_back(p.value);
        const Metrics metrics{{"loss", p.value}, {"|gradient|", p.gradient_norm}, {"|weights|", p.x_norm}};
        progress.update(p.iteration, metrics);
        log.write(p.iteration, metrics);
        began = Clock::now();
        return !program.stop();
      };
      result = corpus.columns ? tagger_.train(*corpus.columns, training, observer, &lbfgs)
                              : tagger_.train(*corpus.items, training, observer, &lbfgs);
    }
    if (lbfgs.iteration == result.iterations) checkpoint.save();
    out.loss = result.value;
    out.iterations = result.iterations;
    out.seconds_per_iteration = timed > 0 ? seconds / timed : 0;
    std::cout << features() << " features; " << to_string(result.stop) << " after " << result.iterations
              << " iterations, loss " << result.value << ", " << program.seconds() << " s\n";
    return out;
  }

  Training in_batches(const Corpus& corpus, const Settings& settings, const ExampleProgram& program) {
    const double sentences = static_cast<double>(corpus.offsets().size() - 1);
    const ChainBatchTraining training{.loss = settings.training.loss,
                                      .c2 = settings.training.c2,
                                      .method = settings.method == "sgd" ? BatchMethod::sgd : BatchMethod::adam,
                                      .rate = settings.rate,
                                      .batch = settings.batch,
                                      .seed = program.seed,
                                      .epochs = settings.epochs,
                                      .checkpoint = Checkpoint::file(program.checkpoint, "crf_" + settings.method)};
    Training out;
    double seconds = 0;
    const bool resumed = !training.checkpoint.empty() && std::filesystem::exists(training.checkpoint);
    const Log log(settings.log, resumed);
    ProgressLine progress("epoch", {.total = settings.epochs});
    const auto observer = [&](const EpochReport& report) {
      seconds += report.seconds;
      out.losses.push_back(sentences * report.loss);
      const Metrics metrics{{"loss", out.losses.back()}};
      progress.update(report.epoch, metrics);
      log.write(report.epoch, metrics);
      return !program.stop();
    };
    const TrainingResult result = corpus.columns ? tagger_.train_in_batches(*corpus.columns, training, observer)
                                                 : tagger_.train_in_batches(*corpus.items, training, observer);
    progress.finish();
    out.loss = out.losses.empty() ? none : out.losses.back();
    out.iterations = static_cast<double>(result.epochs);
    out.seconds_per_iteration = out.losses.empty() ? none : seconds / static_cast<double>(out.losses.size());
    return out;
  }

  ChainTagger tagger_;
};

/// A bidirectional LSTM, and Adam.
class LstmModel final : public Model {
 public:
  void load(const std::string& path) override { tagger_ = LstmTagger::load(path); }
  void save(const std::string& path) const override { tagger_.save(path); }
  std::int64_t features() const override { return parameter_count(tagger_); }
  Tagged tag(const Corpus& data) const override {
    const TokenNumbers numbers = tagger_.encode(*data.columns);
    return named(tagger_, tagger_.tag(numbers), numbers.unknown_labels);
  }
  std::pair<Tensor<double>, std::vector<std::string>> transitions() const override {
    Tensor<double> table = zeros({tagger_.labels(), tagger_.labels()});
    std::copy_n(tagger_.crf.chain.transitions.data(), table.size(), table.data());
    std::vector<std::string> names;
    for (std::int32_t l = 0; l < tagger_.labels(); ++l) names.emplace_back(tagger_.label(l));
    return {std::move(table), std::move(names)};
  }

  Training train(const Settings& settings, const ExampleProgram& program, const Corpus& test) override {
    const Corpus corpus = training_corpus(settings);
    Generator start(program.seed);
    tagger_ = LstmTagger(*corpus.columns, settings.lstm, start);
    const TokenNumbers data = tagger_.encode(*corpus.columns);
    std::cout << features() << " parameters\n";
    Adam<float> adam(parameters<float>(tagger_), {.rate = settings.rate});
    adam.set_clipping({.norm = 5});
    Training out;
    std::int64_t epoch = 0;
    double seconds = 0;
    Archive state;
    state("model", tagger_)("adam", adam)("epoch", epoch)("seconds", seconds)("losses", out.losses)("scores",
                                                                                                    out.scores);
    const LstmTaggerOptions& o = settings.lstm;
    const Checkpoint checkpoint(
        program.checkpoint, "bilstm", state,
        {settings.train, std::to_string(program.seed), std::to_string(settings.epochs), std::to_string(settings.batch),
         std::to_string(settings.rate), std::to_string(o.hidden), std::to_string(o.dropout)});
    checkpoint.resume();
    const Log log(settings.log, epoch > 0);
    std::vector<std::int64_t> lengths;
    for (std::int64_t s = 0; s < data.sentences(); ++s)
      lengths.push_back(data.offsets[static_cast<std::size_t>(s) + 1] - data.offsets[static_cast<std::size_t>(s)]);
    const detail::LengthBuckets buckets(lengths, settings.batch, std::numeric_limits<std::int64_t>::max(),
                                        program.seed);
    ProgressLine progress("epoch", {.total = settings.epochs});
    while (epoch < settings.epochs && !program.stop()) {
      const auto began = Clock::now();
      Generator random = Generator::from_state({program.seed, 1, static_cast<std::uint64_t>(epoch) << 40});
      double total = 0, tokens = 0;
      tapestry::train(tagger_);
      for (std::int64_t b = 0; b < buckets.batches() && !program.stop(); ++b) {
        const TokenBatch batch = tagger_.batch(data, buckets.members(b, epoch), &random);
        // From the full rate to none, in a line.
        const double done = static_cast<double>(b) / static_cast<double>(buckets.batches());
        adam.set_rate(settings.rate * (1 - (static_cast<double>(epoch) + done) / static_cast<double>(settings.epochs)));
        adam.zero_gradients();
        const Var<float> loss = tagger_.loss(batch);
        loss.backward();
        adam.step();
        double n = 0;
        for (std::int64_t i = 0; i < batch.lengths.size(); ++i) n += static_cast<double>(batch.lengths[i]);
        total += n * static_cast<double>(loss.item());
        tokens += n;
      }
      evaluate(tagger_);
      if (program.stop()) break;  // what is left of a part of an epoch is not kept
      ++epoch;
      seconds += seconds_since(began);
      out.losses.push_back(total / tokens);
      out.scores.push_back(100 * score(test, tag(test)).total().f1());
      const Metrics metrics{{"loss", out.losses.back()}, {"test F1", out.scores.back()}};
      progress.update(epoch, metrics);
      log.write(epoch, metrics);
      checkpoint.save();
    }
    progress.finish();
    // A part of an epoch may have moved the weights: what counts is what the checkpoint has.
    if (program.interrupted()) checkpoint.resume();
    evaluate(tagger_);
    out.loss = out.losses.empty() ? none : out.losses.back();
    out.iterations = static_cast<double>(epoch);
    out.seconds_per_iteration = epoch > 0 ? seconds / static_cast<double>(epoch) : 0;
    return out;
  }

 private:
  LstmTagger tagger_;
};

}  // namespace chunking
