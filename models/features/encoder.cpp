#include <tapestry/models/features/encoder.hpp>

#include <algorithm>
#include <charconv>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

/// The attribute names of one token after another, kept until the next token.
class TemplateExpander {
 public:
  TemplateExpander(const ColumnCorpus& corpus, const std::vector<FeatureTemplate>& templates, Edge edge, bool mark_ends)
      : corpus_(corpus), templates_(templates), edge_(edge), mark_ends_(mark_ends) {
    for (const auto& feature : templates)
      for (const auto& cell : feature.cells)
        if (cell.column < 0 || cell.column >= corpus.columns() - 1)
          fail<ShapeError>("FeatureEncoder", "template ", feature.name, " uses column ", cell.column,
                           ", the corpus has columns 0 to ", corpus.columns() - 2, " before the label");
  }

  const std::vector<std::string_view>& expand(std::int64_t token, std::int64_t first, std::int64_t last) {
    buffer_.clear();
    ends_.clear();
    for (const auto& feature : templates_) {
      const std::size_t start = buffer_.size();
      buffer_ += feature.name;
      char separator = '=';
      for (const auto& cell : feature.cells) {
        buffer_ += separator;
        separator = '/';
        const std::int64_t at = token + cell.offset;
        if (at >= first && at < last) {
          buffer_ += corpus_.cell(at, cell.column);
        } else if (edge_ == Edge::padding) {
          const std::int64_t beyond = at < first ? at - first : at - last + 1;
          buffer_ += beyond < 0 ? "_B" : "_B+";
          char digits[24];
          buffer_.append(digits, std::to_chars(digits, digits + sizeof digits, beyond).ptr);
        } else {
          buffer_.resize(start);
          break;
        }
      }
      if (buffer_.size() > start) ends_.push_back(buffer_.size());
    }
    names_.clear();
    std::size_t start = 0;
    for (const std::size_t end : ends_) {
      names_.push_back(std::string_view(buffer_).substr(start, end - start));
      start = end;
    }
    if (mark_ends_ && token == first) names_.push_back("__BOS__");
    if (mark_ends_ && token == last - 1) names_.push_back("__EOS__");
    return names_;
  }

 private:
  const ColumnCorpus& corpus_;
  const std::vector<FeatureTemplate>& templates_;
  Edge edge_;
  bool mark_ends_;
  std::string buffer_;
  std::vector<std::size_t> ends_;
  std::vector<std::string_view> names_;
};

/// Lookup is (dictionary, names, ids) -> void and may leave Dictionary::unknown.
template <class Dictionaries, class Lookup>
SparseSequences encode_columns(const ColumnCorpus& corpus, const FeatureEncoder& encoder, Dictionaries& attributes,
                               Dictionaries& labels, Lookup&& lookup) {
  TemplateExpander expander(corpus, encoder.templates(), encoder.edge(), encoder.mark_ends());
  SparseSequences data;
  data.offsets = corpus.offsets();
  const auto tokens = static_cast<std::size_t>(corpus.tokens());
  data.starts.reserve(tokens + 1);
  data.attributes.reserve(tokens * (encoder.templates().size() + 1));
  data.labels.resize(tokens);
  std::vector<std::int32_t> ids;
  for (std::int64_t sentence = 0; sentence < corpus.sentences(); ++sentence) {
    const std::int64_t first = corpus.sentence_begin(sentence), last = corpus.sentence_begin(sentence + 1);
    for (std::int64_t token = first; token < last; ++token) {
      const auto& names = expander.expand(token, first, last);
      ids.resize(names.size());
      lookup(attributes, std::span<const std::string_view>(names), ids.data());
      for (const std::int32_t id : ids) {
        if (id >= 0) {
          data.attributes.push_back(id);
        } else {
          ++data.unknown_attributes;
        }
      }
      data.starts.push_back(static_cast<std::int64_t>(data.attributes.size()));
      const std::string_view label = corpus.cell(token, corpus.columns() - 1);
      std::int32_t& id = data.labels[static_cast<std::size_t>(token)];
      lookup(labels, std::span<const std::string_view>(&label, 1), &id);
      data.unknown_labels += id < 0;
    }
  }
  return data;
}

template <class Dictionaries, class Lookup>
SparseSequences encode_items(const ItemCorpus& corpus, Dictionaries& attributes, Dictionaries& labels,
                             Lookup&& lookup) {
  SparseSequences data;
  data.offsets = corpus.offsets();
  data.labels.resize(static_cast<std::size_t>(corpus.items()));
  std::vector<std::string_view> names;
  std::vector<std::int32_t> ids;
  for (std::int64_t item = 0; item < corpus.items(); ++item) {
    const auto* const begin = corpus.attributes_begin(item);
    const auto* const end = corpus.attributes_end(item);
    names.clear();
    for (const auto* a = begin; a != end; ++a) names.push_back(a->name);
    ids.resize(names.size());
    lookup(attributes, std::span<const std::string_view>(names), ids.data());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0) {
        ++data.unknown_attributes;
        continue;
      }
      data.attributes.push_back(ids[i]);
      if (corpus.has_values()) data.values.push_back(begin[i].value);
    }
    data.starts.push_back(static_cast<std::int64_t>(data.attributes.size()));
    const std::string_view label = corpus.label(item);
    std::int32_t& id = data.labels[static_cast<std::size_t>(item)];
    lookup(labels, std::span<const std::string_view>(&label, 1), &id);
    data.unknown_labels += id < 0;
  }
  return data;
}

constexpr auto add_all = [](Dictionary& dictionary, std::span<const std::string_view> names, std::int32_t* ids) {
  dictionary.add(names, ids);
};
constexpr auto find_all = [](const Dictionary& dictionary, std::span<const std::string_view> names, std::int32_t* ids) {
  dictionary.find(names, ids);
};

}  // namespace

SparseSequences FeatureEncoder::learn(const ColumnCorpus& corpus) {
  return encode_columns(corpus, *this, attributes, labels, add_all);
}
SparseSequences FeatureEncoder::learn(const ItemCorpus& corpus) {
  return encode_items(corpus, attributes, labels, add_all);
}
SparseSequences FeatureEncoder::encode(const ColumnCorpus& corpus) const {
  return encode_columns(corpus, *this, attributes, labels, find_all);
}
SparseSequences FeatureEncoder::encode(const ItemCorpus& corpus) const {
  return encode_items(corpus, attributes, labels, find_all);
}

SparseSequences select(const SparseSequences& data, std::span<const std::int64_t> sequences) {
  SparseSequences result;
  for (const std::int64_t s : sequences)
    if (s < 0 || s >= data.sequences()) fail<IndexError>("select", "sequence ", s, " of ", data.sequences());
  for (const std::int64_t s : sequences) {
    for (auto item = static_cast<std::size_t>(data.offsets[static_cast<std::size_t>(s)]);
         item < static_cast<std::size_t>(data.offsets[static_cast<std::size_t>(s) + 1]); ++item) {
      const std::int64_t begin = data.starts[item], end = data.starts[item + 1];
      result.attributes.insert(result.attributes.end(), data.attributes.begin() + begin, data.attributes.begin() + end);
      if (!data.values.empty())
        result.values.insert(result.values.end(), data.values.begin() + begin, data.values.begin() + end);
      result.starts.push_back(static_cast<std::int64_t>(result.attributes.size()));
      result.labels.push_back(data.labels[item]);
    }
    result.offsets.push_back(static_cast<std::int64_t>(result.labels.size()));
  }
  return result;
}

IndicatorFeatures make_features(const SparseSequences& data, std::int32_t attributes, std::int32_t labels,
                                const FeatureOptions& options) {
  for (const std::int32_t label : data.labels)
    if (label < 0 || label >= labels) fail<IndexError>("make_features", "label ", label, " of ", labels);
  for (const std::int32_t attribute : data.attributes)
    if (attribute < 0 || attribute >= attributes)
      fail<IndexError>("make_features", "attribute ", attribute, " of ", attributes);

  // A counting sort of all entries by attribute.
  const auto n = static_cast<std::size_t>(attributes);
  std::vector<std::int64_t> ends(n + 1, 0);
  for (const std::int32_t attribute : data.attributes) ++ends[static_cast<std::size_t>(attribute) + 1];
  for (std::size_t a = 0; a < n; ++a) ends[a + 1] += ends[a];
  struct Entry {
    std::int32_t label;
    float value;
  };
  std::vector<Entry> entries(data.attributes.size());
  {
    std::vector<std::int64_t> next(ends.begin(), ends.end() - 1);
    for (std::size_t item = 0; item < data.labels.size(); ++item)
      for (std::int64_t e = data.starts[item]; e < data.starts[item + 1]; ++e) {
        const auto entry = static_cast<std::size_t>(e);
        const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(data.attributes[entry])]++);
        entries[at] = {data.labels[item], data.values.empty() ? 1.f : static_cast<float>(data.values[entry])};
      }
  }

  IndicatorFeatures features;
  features.labels = labels;
  features.starts.reserve(n + 1);
  const auto k = static_cast<std::size_t>(labels);
  std::vector<double> count(k, 0);
  std::vector<char> seen(k, 0);
  std::vector<std::int32_t> found;
  for (std::size_t a = 0; a < n; ++a) {
    found.clear();
    for (std::int64_t e = ends[a]; e < ends[a + 1]; ++e) {
      const Entry& entry = entries[static_cast<std::size_t>(e)];
      const auto label = static_cast<std::size_t>(entry.label);
      if (!seen[label]) {
        seen[label] = 1;
        found.push_back(entry.label);
      }
      count[label] += static_cast<double>(entry.value);
    }
    if (options.unobserved_states) {
      for (std::int32_t label = 0; label < labels; ++label) features.state_labels.push_back(label);
    } else {
      std::sort(found.begin(), found.end());
      for (const std::int32_t label : found)
        if (count[static_cast<std::size_t>(label)] >= options.minimum_count) features.state_labels.push_back(label);
    }
    for (const std::int32_t label : found) {
      count[static_cast<std::size_t>(label)] = 0;
      seen[static_cast<std::size_t>(label)] = 0;
    }
    features.starts.push_back(features.states());
  }

  std::vector<std::int64_t> pairs(k * k, 0);
  for (std::size_t s = 0; s + 1 < data.offsets.size(); ++s)
    for (std::int64_t item = data.offsets[s] + 1; item < data.offsets[s + 1]; ++item) {
      const auto i = static_cast<std::size_t>(item);
      ++pairs[static_cast<std::size_t>(data.labels[i - 1]) * k + static_cast<std::size_t>(data.labels[i])];
    }
  for (std::size_t pair = 0; pair < k * k; ++pair)
    if (options.unobserved_transitions ||
        (pairs[pair] > 0 && static_cast<double>(pairs[pair]) >= options.minimum_count)) {
      features.sources.push_back(static_cast<std::int32_t>(pair / k));
      features.targets.push_back(static_cast<std::int32_t>(pair % k));
    }
  return features;
}

}  // namespace tapestry
