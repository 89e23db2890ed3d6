#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/datasets/order.hpp>

namespace tapestry {

namespace detail {

/// Elements by position. What an element is may depend on the epoch (shuffling, augmentation), on nothing else: any
/// thread may ask for any element.
template <class T>
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual std::int64_t size() const = 0;
  virtual T at(std::int64_t index, std::int64_t epoch) const = 0;
  /// A number that stands for the whole pipeline: kinds, sizes, seeds.
  virtual std::uint64_t signature() const = 0;
};

/// A source made of a size, a function and a signature.
template <class T, class F>
class FunctionSource final : public DataSource<T> {
 public:
  FunctionSource(std::int64_t size, std::uint64_t signature, F function)
      : size_(size), signature_(signature), function_(std::move(function)) {}
  std::int64_t size() const override { return size_; }
  T at(std::int64_t index, std::int64_t epoch) const override { return function_(index, epoch); }
  std::uint64_t signature() const override { return signature_; }

 private:
  std::int64_t size_;
  std::uint64_t signature_;
  F function_;
};

}  // namespace detail

/// A sequence of T that is put together from others: a cheap value. An element is made when it is asked for, from its
/// position, the epoch and the seeds, so that a run can be resumed anywhere and does not depend on threads.
/// Functions given to map() and the like are called by several threads at once where a Loader has several workers.
template <class T>
class Dataset {
 public:
  using value_type = T;

  Dataset() : Dataset(std::vector<T>()) {}
  explicit Dataset(std::vector<T> elements) {
    const auto shared = std::make_shared<const std::vector<T>>(std::move(elements));
    const auto n = static_cast<std::int64_t>(shared->size());
    *this = make(n, detail::mix_signature({1, static_cast<std::uint64_t>(n)}),
                 [shared](std::int64_t i, std::int64_t) { return (*shared)[static_cast<std::size_t>(i)]; });
  }
  /// n elements f(0), f(1), ...
  template <class F>
  static Dataset generate(std::int64_t n, F f) {
    if (n < 0) fail<ShapeError>("Dataset::generate", n, " elements");
    return make(n, detail::mix_signature({2, static_cast<std::uint64_t>(n)}),
                [f = std::move(f)](std::int64_t i, std::int64_t) -> T { return f(i); });
  }

  std::int64_t size() const { return source_->size(); }
  bool empty() const { return size() == 0; }
  /// @throws IndexError
  T at(std::int64_t index, std::int64_t epoch = 0) const {
    if (index < 0 || index >= size()) fail<IndexError>("Dataset::at", "element ", index, " of ", size());
    return source_->at(index, epoch);
  }
  T operator[](std::int64_t index) const { return at(index); }
  /// A number that changes with the steps of the pipeline, their sizes and seeds (not with the elements).
  std::uint64_t signature() const { return source_->signature(); }

  /// f(element)
  template <class F>
  auto map(F f) const {
    using U = std::decay_t<std::invoke_result_t<const F&, T>>;
    return Dataset<U>::make(size(), detail::mix_signature({3, signature()}),
                            [source = source_, f = std::move(f)](std::int64_t i, std::int64_t epoch) -> U {
                              return f(source->at(i, epoch));
                            });
  }
  /// f(element, seed) with a seed of its own for each element and epoch.
  template <class F>
  auto map_random(std::uint64_t seed, F f) const {
    using U = std::decay_t<std::invoke_result_t<const F&, T, std::uint64_t>>;
    return Dataset<U>::make(size(), detail::mix_signature({4, signature(), seed}),
                            [source = source_, seed, f = std::move(f)](std::int64_t i, std::int64_t epoch) -> U {
                              return f(source->at(i, epoch), detail::element_seed(seed, epoch, i));
                            });
  }
  /// In an order that is random and differs by epoch.
  Dataset shuffle(std::uint64_t seed) const {
    const auto order = std::make_shared<const detail::EpochOrder>(
        [n = size(), seed](std::int64_t epoch) { return detail::random_order(n, seed, epoch); });
    return make(size(), detail::mix_signature({5, signature(), seed}),
                [source = source_, order](std::int64_t i, std::int64_t epoch) {
                  return source->at((*order)(epoch, i), epoch);
                });
  }
  /// Groups of n neighbours; the last one may be smaller, or is dropped.
  Dataset<std::vector<T>> batch(std::int64_t n, bool drop_last = false) const {
    if (n <= 0) fail<ShapeError>("Dataset::batch", n, " elements in a batch");
    const std::int64_t batches = drop_last ? size() / n : (size() + n - 1) / n;
    return Dataset<std::vector<T>>::make(
        batches, detail::mix_signature({6, signature(), static_cast<std::uint64_t>(n), drop_last}),
        [source = source_, n](std::int64_t i, std::int64_t epoch) {
          std::vector<T> group;
          const std::int64_t end = std::min((i + 1) * n, source->size());
          group.reserve(static_cast<std::size_t>(end - i * n));
          for (std::int64_t k = i * n; k < end; ++k) group.push_back(source->at(k, epoch));
          return group;
        });
  }
  /// Groups of elements of similar length, so that padding is little. Elements are sorted by length (equal ones in
  /// random order), cut into groups, and the groups come in random order; all of it anew each epoch. `lengths` are the
  /// elements' (one each); a group has at most `elements` of them and at most `cells` cells after padding, but at least
  /// one element. @throws ShapeError
  Dataset<std::vector<T>> batch_by_length(std::vector<std::int64_t> lengths, std::int64_t elements, std::uint64_t seed,
                                          std::int64_t cells = std::numeric_limits<std::int64_t>::max()) const {
    if (static_cast<std::int64_t>(lengths.size()) != size())
      fail<ShapeError>("Dataset::batch_by_length", lengths.size(), " lengths for ", size(), " elements");
    if (elements <= 0 || cells <= 0)
      fail<ShapeError>("Dataset::batch_by_length", elements, " elements and ", cells, " cells in a batch");
    const auto plan = std::make_shared<const detail::LengthBuckets>(std::move(lengths), elements, cells, seed);
    return Dataset<std::vector<T>>::make(plan->batches(),
                                         detail::mix_signature({7, signature(), static_cast<std::uint64_t>(elements),
                                                                static_cast<std::uint64_t>(cells), seed}),
                                         [source = source_, plan](std::int64_t i, std::int64_t epoch) {
                                           std::vector<T> group;
                                           for (const std::int64_t k : plan->members(i, epoch))
                                             group.push_back(source->at(k, epoch));
                                           return group;
                                         });
  }
  /// All of it n times over; each time is an epoch of its own to what is before it.
  Dataset repeat(std::int64_t n) const {
    if (n < 0) fail<ShapeError>("Dataset::repeat", n, " times");
    return make(size() * n, detail::mix_signature({8, signature(), static_cast<std::uint64_t>(n)}),
                [source = source_, n](std::int64_t i, std::int64_t epoch) {
                  return source->at(i % source->size(), epoch * n + i / source->size());
                });
  }
  /// The first n elements (all, if there are fewer).
  Dataset take(std::int64_t n) const { return slice(0, std::min(n, size())); }
  /// All but the first n.
  Dataset skip(std::int64_t n) const { return slice(std::min(n, size()), size()); }
  /// Elements [first, last). @throws IndexError
  Dataset slice(std::int64_t first, std::int64_t last) const {
    if (first < 0 || last < first || last > size())
      fail<IndexError>("Dataset::slice", "elements ", first, " to ", last, " of ", size());
    return make(
        last - first,
        detail::mix_signature({9, signature(), static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(last)}),
        [source = source_, first](std::int64_t i, std::int64_t epoch) { return source->at(first + i, epoch); });
  }
  /// The elements of these numbers, in this order (folds, splits). @throws IndexError
  Dataset subset(std::vector<std::int64_t> indices) const {
    std::uint64_t sum = detail::mix_signature({10, signature()});
    for (const std::int64_t i : indices) {
      if (i < 0 || i >= size()) fail<IndexError>("Dataset::subset", "element ", i, " of ", size());
      sum = detail::mix_signature({sum, static_cast<std::uint64_t>(i)});
    }
    const auto n = static_cast<std::int64_t>(indices.size());
    return make(
        n, sum,
        [source = source_, indices = std::make_shared<const std::vector<std::int64_t>>(std::move(indices))](
            std::int64_t i, std::int64_t epoch) { return source->at((*indices)[static_cast<std::size_t>(i)], epoch); });
  }
  /// This one's elements, then the other's.
  Dataset concat(const Dataset& other) const {
    return make(size() + other.size(), detail::mix_signature({11, signature(), other.signature()}),
                [a = source_, b = other.source_](std::int64_t i, std::int64_t epoch) {
                  return i < a->size() ? a->at(i, epoch) : b->at(i - a->size(), epoch);
                });
  }
  /// Pairs of elements at the same position. @throws ShapeError if the sizes differ
  template <class U>
  Dataset<std::pair<T, U>> zip(const Dataset<U>& other) const {
    if (size() != other.size()) fail<ShapeError>("Dataset::zip", size(), " and ", other.size(), " elements");
    return Dataset<std::pair<T, U>>::make(size(), detail::mix_signature({12, signature(), other.signature()}),
                                          [a = source_, b = other.source()](std::int64_t i, std::int64_t epoch) {
                                            return std::pair<T, U>(a->at(i, epoch), b->at(i, epoch));
                                          });
  }

  /// For sources of one's own: f(index, epoch) for indices below n.
  template <class F>
  static Dataset make(std::int64_t n, std::uint64_t signature, F f) {
    return Dataset(std::make_shared<const detail::FunctionSource<T, F>>(n, signature, std::move(f)));
  }
  explicit Dataset(std::shared_ptr<const detail::DataSource<T>> source) : source_(std::move(source)) {}
  const std::shared_ptr<const detail::DataSource<T>>& source() const noexcept { return source_; }

 private:
  std::shared_ptr<const detail::DataSource<T>> source_;
};

}  // namespace tapestry
