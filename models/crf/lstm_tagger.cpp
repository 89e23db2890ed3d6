#include <tapestry/models/crf/lstm_tagger.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <sstream>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/saving.hpp>

namespace tapestry {
namespace {

constexpr const char* kind = "tapestry lstm tagger 1";
constexpr int word_features = 5;  // before those of the other columns

/// Letters in lower case, digits as 0.
std::string plain(std::string_view word) {
  std::string out(word);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c >= '0' && c <= '9' ? '0' : c;
  return out;
}

/// Which kinds of characters follow one another: "McDonald's" is AaAa'a.
std::string shape_of(std::string_view word) {
  std::string out;
  for (const char c : word) {
    const char k = c >= 'A' && c <= 'Z' ? 'A' : c >= 'a' && c <= 'z' ? 'a' : c >= '0' && c <= '9' ? '0' : c;
    if (out.empty() || out.back() != k) out += k;
  }
  return out;
}

std::string feature(const ColumnCorpus& corpus, std::int64_t token, int which) {
  if (which >= word_features) return std::string(corpus.cell(token, 1 + which - word_features));
  const std::string_view cell = corpus.cell(token, 0);
  if (which == 4) return shape_of(cell);
  const std::string word = plain(cell);
  const auto tail = [&](std::size_t n) { return word.substr(word.size() - std::min(n, word.size())); };
  return which == 0 ? word : which == 1 ? word.substr(0, 2) : tail(which == 2 ? 2 : 3);
}

std::string join(const Dictionary& dictionary) {
  std::string out;
  for (std::int32_t i = 0; i < dictionary.size(); ++i) {
    out += dictionary[i];
    out += '\n';
  }
  return out;
}

Dictionary split(const std::string& text) {
  Dictionary out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.add(line);
  return out;
}

}  // namespace

TokenNetwork::TokenNetwork(const std::vector<std::int64_t>& sizes, std::int64_t labels,
                           const LstmTaggerOptions& options, Generator& generator)
    : dropout(options.dropout, generator.split()) {
  std::int64_t in = 0;
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    const std::int64_t dimension = f == 0 ? options.word_dimension : options.feature_dimension;
    const double bound = std::sqrt(3.0 / static_cast<double>(dimension));
    tables.emplace_back(sizes[f], dimension, generator, initializers::uniform(-bound, bound));
    in += dimension;
  }
  lstm = Lstm<float>(in, options.hidden, generator,
                     {.layers = options.layers, .bidirectional = true, .dropout = options.dropout});
  output = Linear<float>(2 * options.hidden, labels, generator);
}

Var<float> TokenNetwork::forward(const TokenBatch& batch) const {
  std::vector<Var<float>> parts;
  for (std::size_t f = 0; f < tables.size(); ++f) parts.push_back(tables[f].forward(batch.features[f]));
  const Var<float> hidden = lstm.forward(dropout.forward(concatenate(parts, 2)), batch.lengths).output;
  return transpose(output.forward(dropout.forward(hidden)), {1, 0, 2});
}

LstmTagger::LstmTagger(const ColumnCorpus& corpus, const LstmTaggerOptions& options, Generator& generator)
    : options_(options), columns_(corpus.columns()) {
  if (columns_ < 2) fail<ShapeError>("LstmTagger", "a corpus of ", columns_, " columns has no labels");
  features_.resize(static_cast<std::size_t>(word_features + columns_ - 2));
  std::vector<int> counts;
  for (std::int64_t token = 0; token < corpus.tokens(); ++token) {
    for (std::size_t f = 0; f < features_.size(); ++f) {
      const std::int32_t number = features_[f].add(feature(corpus, token, static_cast<int>(f)));
      if (f > 0) continue;
      counts.resize(static_cast<std::size_t>(features_[0].size()));
      ++counts[static_cast<std::size_t>(number)];
    }
    labels_.add(corpus.cell(token, columns_ - 1));
  }
  for (const int count : counts) once_.push_back(count == 1);
  build(generator);
}

void LstmTagger::build(Generator& generator) {
  std::vector<std::int64_t> sizes;
  for (const Dictionary& d : features_) sizes.push_back(d.size() + 1);
  crf = {TokenNetwork(sizes, labels_.size(), options_, generator), labels_.size()};
}

TokenNumbers LstmTagger::encode(const ColumnCorpus& corpus) const {
  if (corpus.columns() != columns_)
    fail<ShapeError>("LstmTagger::encode", corpus.columns(), " columns where training had ", columns_);
  TokenNumbers out;
  out.offsets = corpus.offsets();
  out.features.resize(features_.size());
  for (std::size_t f = 0; f < features_.size(); ++f)
    for (std::int64_t token = 0; token < corpus.tokens(); ++token)
      out.features[f].push_back(features_[f].find(feature(corpus, token, static_cast<int>(f))) + 1);
  for (std::int64_t token = 0; token < corpus.tokens(); ++token) {
    out.labels.push_back(labels_.find(corpus.cell(token, columns_ - 1)));
    out.unknown_labels += out.labels.back() == Dictionary::unknown;
  }
  return out;
}

TokenBatch LstmTagger::batch(const TokenNumbers& data, std::span<const std::int64_t> sentences,
                             Generator* generator) const {
  const auto n = static_cast<std::int64_t>(sentences.size());
  const auto first = [&](std::int64_t i) {
    return data.offsets[static_cast<std::size_t>(sentences[static_cast<std::size_t>(i)])];
  };
  IndexTensor lengths = empty_tensor<std::int64_t>({n});
  for (std::int64_t i = 0; i < n; ++i)
    lengths.data()[i] = data.offsets[static_cast<std::size_t>(sentences[static_cast<std::size_t>(i)]) + 1] - first(i);
  const std::int64_t steps = n > 0 ? *std::max_element(lengths.data(), lengths.data() + n) : 0;

  TokenBatch out;
  for (std::size_t f = 0; f < data.features.size(); ++f) {
    IndexTensor numbers = empty_tensor<std::int64_t>({steps, n});
    std::fill_n(numbers.data(), steps * n, 0);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t t = 0; t < lengths.data()[i]; ++t) {
        std::int64_t number = data.features[f][static_cast<std::size_t>(first(i) + t)];
        if (f == 0 && generator && number > 0 && once_[static_cast<std::size_t>(number - 1)] &&
            generator->uniform() < options_.unknown_rate)
          number = 0;
        numbers.data()[t * n + i] = number;
      }
    out.features.emplace_back(numbers);
  }
  IndexTensor labels = empty_tensor<std::int64_t>({n, steps});
  std::fill_n(labels.data(), steps * n, 0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t t = 0; t < lengths.data()[i]; ++t)
      labels.data()[i * steps + t] = std::max(data.labels[static_cast<std::size_t>(first(i) + t)], 0);
  out.labels = Indices(labels);
  out.lengths = Indices(lengths);
  return out;
}

std::vector<std::int32_t> LstmTagger::tag(const TokenNumbers& data) const {
  const NoGradients off;
  std::vector<std::int64_t> order(static_cast<std::size_t>(data.sentences()));
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](std::int64_t s) {
    return data.offsets[static_cast<std::size_t>(s) + 1] - data.offsets[static_cast<std::size_t>(s)];
  };
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return length(a) < length(b); });
  std::vector<std::int32_t> out(static_cast<std::size_t>(data.offsets.back()));
  for (std::size_t at = 0; at < order.size(); at += 64) {
    const std::span<const std::int64_t> members(order.data() + at, std::min<std::size_t>(64, order.size() - at));
    const TokenBatch part = batch(data, members);
    const IndexTensor states = crf.decode(part, part.lengths);
    const auto steps = static_cast<std::int64_t>(states.shape()[1]);
    for (std::size_t i = 0; i < members.size(); ++i)
      std::copy_n(states.data() + static_cast<std::int64_t>(i) * steps, length(members[i]),
                  out.begin() + data.offsets[static_cast<std::size_t>(members[i])]);
  }
  return out;
}

void LstmTagger::save(const std::filesystem::path& path) const {
  std::map<std::string, std::string> about{{"kind", kind}, {"labels", join(labels_)}};
  std::ostringstream numbers;
  numbers << columns_ << ' ' << options_.word_dimension << ' ' << options_.feature_dimension << ' ' << options_.hidden
          << ' ' << options_.layers;
  about["options"] = numbers.str();
  for (std::size_t f = 0; f < features_.size(); ++f) about["feature." + std::to_string(f)] = join(features_[f]);
  tapestry::save(path, *this, about);
}

LstmTagger LstmTagger::load(const std::filesystem::path& path) {
  const auto about = read_safetensors(path).metadata;
  const auto text = [&](const std::string& name) {
    const auto found = about.find(name);
    if (found == about.end()) fail<IoError>("LstmTagger::load", path.string(), ": not an LSTM tagger (no ", name, ")");
    return found->second;
  };
  if (text("kind") != kind) fail<IoError>("LstmTagger::load", path.string(), ": not an LSTM tagger of version 1");
  LstmTagger tagger;
  LstmTaggerOptions& o = tagger.options_;
  std::istringstream numbers(text("options"));
  numbers >> tagger.columns_ >> o.word_dimension >> o.feature_dimension >> o.hidden >> o.layers;
  if (!numbers || tagger.columns_ < 2 || o.word_dimension < 1 || o.feature_dimension < 1 || o.hidden < 1 ||
      o.layers < 1)
    fail<IoError>("LstmTagger::load", path.string(), ": damaged options");
  o.dropout = 0;
  for (int f = 0; f < word_features + tagger.columns_ - 2; ++f)
    tagger.features_.push_back(split(text("feature." + std::to_string(f))));
  tagger.labels_ = split(text("labels"));
  tagger.once_.assign(static_cast<std::size_t>(tagger.features_[0].size()), false);
  Generator unused(0);
  tagger.build(unused);
  tapestry::load(path, tagger);
  evaluate(tagger);
  return tagger;
}

}  // namespace tapestry
