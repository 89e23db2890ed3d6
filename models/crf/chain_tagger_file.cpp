#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/crf/chain_tagger.hpp>
#include <tapestry/models/training/readers/file.hpp>

// The file of a tagger: the line "tapestry chain tagger 1", then little-endian values one after another (64-bit counts
// before arrays and strings), and at last the CRC-32 of all before it.
namespace tapestry {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view magic = "tapestry chain tagger 1\n";

class Writer {
 public:
  template <class T>
  void value(T x) {
    bytes_.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  template <class T>
  void array(const std::vector<T>& values) {
    value<std::uint64_t>(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void text(std::string_view t) {
    value<std::uint64_t>(t.size());
    bytes_.append(t);
  }
  void dictionary(const Dictionary& d) {
    value<std::int32_t>(d.size());
    for (std::int32_t i = 0; i < d.size(); ++i) text(d[i]);
  }
  std::string bytes_;
};

class Reader {
 public:
  Reader(std::string path, std::string_view bytes) : path_(std::move(path)), bytes_(bytes) {}

  template <class... Parts>
  [[noreturn]] void error(const Parts&... parts) const {
    fail<IoError>("ChainTagger::load", path_, ": offset ", at_, ": ", parts...);
  }
  std::string_view take(std::uint64_t n) {
    if (n > bytes_.size() - at_) error("ends too early");
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }
  template <class T>
  T value() {
    T x;
    std::memcpy(&x, take(sizeof x).data(), sizeof x);
    return x;
  }
  template <class T>
  std::vector<T> array() {
    const auto n = value<std::uint64_t>();
    if (n > (bytes_.size() - at_) / sizeof(T)) error("an array of ", n, " elements does not fit");
    const std::string_view raw = take(n * sizeof(T));
    std::vector<T> values(n);
    if (n > 0) std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }
  std::string_view text() { return take(value<std::uint64_t>()); }
  void dictionary(Dictionary& d) {
    const auto n = value<std::int32_t>();
    for (std::int32_t i = 0; i < n; ++i)
      if (d.add(text()) != i) error("a name occurs twice");
    if (n < 0) error("a negative count");
  }
  bool done() const { return at_ == bytes_.size(); }

 private:
  std::string path_;
  std::string_view bytes_;
  std::uint64_t at_ = 0;
};

std::uint32_t checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

}  // namespace

void ChainTagger::save(const std::filesystem::path& path) const {
  Writer out;
  out.bytes_ = magic;
  out.value<std::uint8_t>(encoder_.edge() == Edge::padding);
  out.value<std::uint8_t>(encoder_.mark_ends());
  out.value<std::uint64_t>(encoder_.templates().size());
  for (const FeatureTemplate& feature : encoder_.templates()) {
    out.text(feature.name);
    out.value<std::uint64_t>(feature.cells.size());
    for (const auto& cell : feature.cells) {
      out.value<std::int32_t>(cell.offset);
      out.value<std::int32_t>(cell.column);
    }
  }
  out.dictionary(encoder_.labels);
  out.dictionary(encoder_.attributes);
  out.array(features_.starts);
  out.array(features_.state_labels);
  out.array(features_.sources);
  out.array(features_.targets);
  out.array(weights_);
  out.value(checksum(out.bytes_));
  detail::AtomicFile file("ChainTagger::save", path);
  file.write(out.bytes_.data(), out.bytes_.size());
  file.commit();
}

ChainTagger ChainTagger::load(const std::filesystem::path& path) {
  const std::string bytes = read_bytes(path);
  const std::string_view all = bytes;
  if (!all.starts_with(magic)) fail<IoError>("ChainTagger::load", path.string(), ": not a chain tagger of version 1");
  std::uint32_t sum = 0;
  const bool complete = all.size() >= magic.size() + sizeof sum;
  if (complete) std::memcpy(&sum, all.data() + all.size() - sizeof sum, sizeof sum);
  if (!complete || checksum(all.substr(0, all.size() - sizeof sum)) != sum)
    fail<IoError>("ChainTagger::load", path.string(), ": damaged or truncated (wrong checksum)");

  Reader in(path.string(), all.substr(0, all.size() - sizeof sum));
  in.take(magic.size());
  const Edge edge = in.value<std::uint8_t>() ? Edge::padding : Edge::none;
  const bool mark_ends = in.value<std::uint8_t>() != 0;
  std::vector<FeatureTemplate> templates;
  for (auto n = in.value<std::uint64_t>(); n > 0; --n) {
    FeatureTemplate feature;
    feature.name = in.text();
    for (auto cells = in.value<std::uint64_t>(); cells > 0; --cells) {
      FeatureTemplate::Cell cell{};
      cell.offset = in.value<std::int32_t>();
      cell.column = in.value<std::int32_t>();
      feature.cells.push_back(cell);
    }
    templates.push_back(std::move(feature));
  }
  ChainTagger tagger(FeatureEncoder(std::move(templates), edge, mark_ends));
  in.dictionary(tagger.encoder_.labels);
  in.dictionary(tagger.encoder_.attributes);
  IndicatorFeatures& f = tagger.features_;
  f.labels = tagger.encoder_.labels.size();
  f.starts = in.array<std::int64_t>();
  f.state_labels = in.array<std::int32_t>();
  f.sources = in.array<std::int32_t>();
  f.targets = in.array<std::int32_t>();
  tagger.weights_ = in.array<double>();
  const auto are_labels = [&](const std::vector<std::int32_t>& values) {
    return std::all_of(values.begin(), values.end(), [&](std::int32_t l) { return l >= 0 && l < f.labels; });
  };
  if (!in.done() || f.starts.size() != static_cast<std::size_t>(tagger.encoder_.attributes.size()) + 1 ||
      f.starts.front() != 0 || f.starts.back() != f.states() || !std::is_sorted(f.starts.begin(), f.starts.end()) ||
      !are_labels(f.state_labels) || !are_labels(f.sources) || !are_labels(f.targets) ||
      f.sources.size() != f.targets.size() || tagger.weights_.size() != static_cast<std::size_t>(f.size()))
    in.error("features, labels and weights do not fit together");
  return tagger;
}

}  // namespace tapestry
