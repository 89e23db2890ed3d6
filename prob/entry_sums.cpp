#include <tapestry/prob/entry_sums.hpp>

#include <algorithm>
#include <limits>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry::detail {
namespace {

template <class T>
void spread(const T* g, const Indices& entries, T* out) {
  const std::int64_t rows = entries.shape()[0], columns = entries.shape()[1];
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t k = 0; k < columns; ++k)
      if (const std::int64_t e = entries[i * columns + k]; e >= 0) out[e] += g[i];
}

template <class T>
void gather(const T* x, const Indices& entries, T* out, bool accumulate) {
  const std::int64_t rows = entries.shape()[0], columns = entries.shape()[1];
  for (std::int64_t i = 0; i < rows; ++i) {
    // Several sums, so that none waits for the one before.
    T part[4] = {};
    const std::int64_t* row = entries.data() + i * columns;
    for (std::int64_t k = 0; k < columns; ++k) part[k % 4] += row[k] >= 0 ? x[row[k]] : T(0);
    const T total = (part[0] + part[1]) + (part[2] + part[3]);
    out[i] = accumulate ? out[i] + total : total;
  }
}

// Of entries from a file.
void check_places(const Indices& entries) {
  Attributes::require(entries.shape().rank() == 2);
}
bool are_within(const Indices& entries, std::int64_t elements) {
  return std::all_of(entries.data(), entries.data() + entries.size(), [&](std::int64_t e) { return e < elements; });
}

template <class T>
class SumEntries final : public Operation<T>, public SavedOperation {
 public:
  explicit SumEntries(Indices entries) : entries_(std::move(entries)) {}
  explicit SumEntries(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(entries_);
    check_places(entries_);
  }
  bool suits(const Shapes& in) override { return are_within(entries_, in[0].elements()); }
  std::string_view name() const override { return "sum_entries"; }
  Shape shape(const Shapes&, int) const override { return {entries_.shape()[0]}; }
  std::uint32_t needs() const override { return Needs::nothing; }
  void forward(Forward<T>& c) override {
    gather(c.input(0).data, entries_, c.output().data, false);
    const std::int64_t columns = entries_.shape()[1];
    for (std::int64_t i = 0; i < entries_.size(); ++i)
      if (entries_[i] < 0) c.output()[i / columns] = -std::numeric_limits<T>::infinity();
  }
  void backward(Backward<T>& c) override { spread(c.gradient().data, entries_, c.add_to(0)); }
  void vjp(Vjp<T>& c) override { c.add(0, spread_entries(c.gradient(), entries_, c.shape(0))); }

 private:
  Indices entries_;
};

/// The transpose of SpreadEntries.
template <class T>
class GatherPossible final : public Operation<T>, public SavedOperation {
 public:
  explicit GatherPossible(Indices entries) : entries_(std::move(entries)) {}
  explicit GatherPossible(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(entries_);
    check_places(entries_);
  }
  bool suits(const Shapes& in) override { return are_within(entries_, in[0].elements()); }
  std::string_view name() const override { return "gather_entries"; }
  Shape shape(const Shapes&, int) const override { return {entries_.shape()[0]}; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override { gather(c.input(0).data, entries_, c.output().data, false); }
  void backward(Backward<T>& c) override { spread(c.gradient().data, entries_, c.add_to(0)); }
  void vjp(Vjp<T>& c) override { c.add(0, spread_entries(c.gradient(), entries_, c.shape(0))); }

 private:
  Indices entries_;
};

template <class T>
class SpreadEntries final : public Operation<T>, public SavedOperation {
 public:
  SpreadEntries(Indices entries, const Shape& shape) : entries_(std::move(entries)), shape_(shape) {}
  explicit SpreadEntries(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(entries_), a(shape_);
    check_places(entries_);
  }
  bool suits(const Shapes& in) override {
    return in[0].elements() == entries_.shape()[0] && are_within(entries_, shape_.elements());
  }
  std::string_view name() const override { return "spread_entries"; }
  Shape shape(const Shapes&, int) const override { return shape_; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    std::fill_n(c.output().data, c.output().size(), T(0));
    spread(c.input(0).data, entries_, c.output().data);
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    gather(c.gradient().data, entries_, out.data, out.accumulate);
  }
  void vjp(Vjp<T>& c) override {
    // The transpose knows nothing of impossible elements: they were no part of the sum's derivative.
    c.add(0, record(std::make_unique<GatherPossible<T>>(entries_), c.gradient()));
  }

 private:
  Indices entries_;
  Shape shape_;
};

}  // namespace

void register_entry_sums() {
  register_operations<SumEntries>("sum_entries");
  register_operations<SpreadEntries>("spread_entries");
  register_operations<GatherPossible>("gather_entries");
}

template <class T>
Var<T> sum_entries(const Var<T>& x, const Indices& entries) {
  return record(std::make_unique<SumEntries<T>>(entries), x);
}

template <class T>
Var<T> spread_entries(const Var<T>& x, const Indices& entries, const Shape& shape) {
  return record(std::make_unique<SpreadEntries<T>>(entries, shape), x);
}

template <class T>
Var<T> take_entries(const Var<T>& x, const Indices& entries) {
  IndexTensor column = entries.tensor();
  column.reshape({static_cast<std::size_t>(entries.size()), std::size_t{1}});
  return sum_entries(x, Indices(std::move(column)));
}

#define TAPESTRY_INSTANTIATE(T)                                                \
  template Var<T> sum_entries(const Var<T>&, const Indices&);                  \
  template Var<T> spread_entries(const Var<T>&, const Indices&, const Shape&); \
  template Var<T> take_entries(const Var<T>&, const Indices&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
