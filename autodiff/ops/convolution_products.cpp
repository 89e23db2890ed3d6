#include <tapestry/autodiff/ops/convolution_products.hpp>

#include <algorithm>
#include <vector>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/ops/panels.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;
using Geometry = ConvolutionGeometry;

// Multiplications that make a chunk of work for a thread.
constexpr Int chunk_work = 1 << 18;
// Output pixels that are computed together, and stay in the nearest cache until they are transposed.
constexpr Int pixel_block = 96;
// Rows of the weight gradient, and parts of the batch that it is summed over where it has few rows.
constexpr Int weight_rows = 96;
constexpr Int most_parts = 8;

Int grain_of(Int work_of_one) {
  return std::max<Int>(1, chunk_work / std::max<Int>(1, work_of_one));
}

PooledVector<Int> multiples(Int n, Int step) {
  PooledVector<Int> out(static_cast<std::size_t>(n));
  for (Int i = 0; i < n; ++i) out[static_cast<std::size_t>(i)] = i * step;
  return out;
}

/// What follows from the geometry. The input is seen with its padding.
struct Sizes {
  explicit Sizes(const Geometry& g)
      : group_channels(g.channels / g.groups),
        group_outputs(g.outputs / g.groups),
        kernel(g.kernel_height * g.kernel_width),
        depth(group_channels * kernel),
        pixels(g.y_height * g.y_width),
        padded_height(g.height + 2 * g.padding_height),
        padded_width(g.width + 2 * g.padding_width),
        plane(padded_height * padded_width),
        padded(g.padding_height > 0 || g.padding_width > 0) {}

  Int group_channels, group_outputs, kernel, depth, pixels, padded_height, padded_width, plane;
  bool padded;
};

// Where the first input pixel of each output pixel lies in its plane.
PooledVector<Int> pixel_offsets(const Geometry& g, const Sizes& s) {
  PooledVector<Int> out;
  for (Int h = 0; h < g.y_height; ++h)
    for (Int w = 0; w < g.y_width; ++w) out.push_back(h * g.stride_height * s.padded_width + w * g.stride_width);
  return out;
}

// Where each element of a filter lies, from there, in the input of its group.
PooledVector<Int> filter_offsets(const Geometry& g, const Sizes& s) {
  PooledVector<Int> out;
  for (Int c = 0; c < s.group_channels; ++c)
    for (Int h = 0; h < g.kernel_height; ++h)
      for (Int w = 0; w < g.kernel_width; ++w)
        out.push_back(c * s.plane + h * g.dilation_height * s.padded_width + w * g.dilation_width);
  return out;
}

/// x with its padding: x itself where there is none.
template <class T>
class PaddedInput {
 public:
  PaddedInput(const Geometry& g, const Sizes& s, const T* x)
      : scratch_(s.padded ? static_cast<std::size_t>(g.batch * g.channels * s.plane) : 0),
        data_(s.padded ? scratch_.data() : x) {
    if (!s.padded) return;
    parallel_for(g.batch * g.channels, grain_of(s.plane), [&](Int begin, Int end) {
      std::fill(scratch_.data() + begin * s.plane, scratch_.data() + end * s.plane, T(0));
      for (Int i = begin; i < end; ++i)
        for (Int h = 0; h < g.height; ++h)
          std::copy_n(x + (i * g.height + h) * g.width, g.width,
                      scratch_.data() + i * s.plane + (h + g.padding_height) * s.padded_width + g.padding_width);
    });
  }
  const T* data() const { return data_; }

 private:
  Scratch<T> scratch_;
  const T* data_;
};

}  // namespace

template <class T>
void convolve(const Geometry& g, const T* x, const T* w, const T* bias, T* y, bool accumulate) {
  const Sizes s(g);
  if (g.batch * g.outputs * s.pixels == 0) return;
  const PaddedInput<T> input(g, s, x);
  const PooledVector<Int> rows = pixel_offsets(g, s), depth = filter_offsets(g, s);
  const Panels<T> panels(s.depth, s.group_outputs);
  const Scratch<T> packed(static_cast<std::size_t>(g.groups * panels.size()));
  for (Int group = 0; group < g.groups; ++group)
    panels.pack(w + group * s.group_outputs * s.depth, 1, s.depth, packed.data() + group * panels.size());

  const Int panel = Panels<T>::product().panel, block = std::min(pixel_block, s.pixels);
  const PooledVector<Int> to = multiples(block, panel);
  const Int blocks = (s.pixels + block - 1) / block;
  const LayoutKernels<T>& layout = kernels<LayoutKernels<T>>();
  parallel_for(g.batch * blocks, grain_of(block * g.outputs * s.depth), [&](Int begin, Int end) {
    const Scratch<T> sums(static_cast<std::size_t>(block * panel)), turned(static_cast<std::size_t>(block * panel));
    for (Int task = begin; task < end; ++task) {
      const Int n = task / blocks, first_pixel = task % blocks * block, m = std::min(block, s.pixels - first_pixel);
      for (Int group = 0; group < g.groups; ++group) {
        const T* from = input.data() + (n * g.channels + group * s.group_channels) * s.plane;
        panels.for_each(packed.data() + group * panels.size(), [&](Int first, Int columns, const T* b) {
          const Int output = group * s.group_outputs + first;
          if (bias != nullptr)
            for (Int i = 0; i < m; ++i) std::copy_n(bias + output, columns, sums.data() + i * panel);
          Panels<T>::product().multiply(from, rows.data() + first_pixel, m, depth.data(), s.depth, b, columns,
                                        sums.data(), to.data(), bias != nullptr);
          T* out = y + (n * g.outputs + output) * s.pixels + first_pixel;
          const auto extent = [](Int i) { return static_cast<std::size_t>(i); };
          if (!accumulate)
            return layout.transpose(sums.data(), extent(m), extent(columns), extent(panel), out, extent(s.pixels));
          layout.transpose(sums.data(), extent(m), extent(columns), extent(panel), turned.data(), extent(m));
          for (Int j = 0; j < columns; ++j)
            kernels<ElementwiseKernels<T>>().accumulate(turned.data() + j * m, out + j * s.pixels, extent(m));
        });
      }
    }
  });
}

template <class T>
void convolve_transposed(const Geometry& g, const T* y, const T* w, const T* bias, T* x, bool accumulate) {
  const Sizes s(g);
  if (g.batch * g.channels * g.height * g.width == 0) return;
  // Each output pixel adds to a run of the input for each row of the filter, channels innermost; where columns of the
  // filter are not neighbours, for each of its elements.
  const bool whole_rows = g.dilation_width == 1;
  const Int runs = whole_rows ? g.kernel_height : s.kernel;
  const Int length = (whole_rows ? g.kernel_width : Int{1}) * s.group_channels;
  const Panels<T> panels(s.group_outputs, length);
  const Scratch<T> packed(static_cast<std::size_t>(g.groups * runs * panels.size()));
  {
    const Scratch<T> filter(static_cast<std::size_t>(s.group_outputs * length));
    for (Int group = 0; group < g.groups; ++group)
      for (Int run = 0; run < runs; ++run) {
        T* out = filter.data();
        for (Int o = 0; o < s.group_outputs; ++o)
          for (Int i = 0; i < (whole_rows ? g.kernel_width : Int{1}); ++i)
            for (Int c = 0; c < s.group_channels; ++c)
              *out++ = w[((group * s.group_outputs + o) * s.group_channels + c) * s.kernel +
                         (whole_rows ? run * g.kernel_width + i : run)];
        panels.pack(filter.data(), length, 1, packed.data() + (group * runs + run) * panels.size());
      }
  }

  PooledVector<Int> to = pixel_offsets(g, s);
  for (Int& offset : to) offset *= s.group_channels;
  const PooledVector<Int> rows = multiples(s.pixels, 1), depth = multiples(s.group_outputs, s.pixels);
  const Int sample = g.channels * g.height * g.width, channels = s.group_channels;
  parallel_for(g.batch * g.groups, grain_of(s.pixels * s.group_outputs * s.depth), [&](Int begin, Int end) {
    const Scratch<T> sums(static_cast<std::size_t>(s.plane * channels));
    const Scratch<T> turned(accumulate ? static_cast<std::size_t>(g.height * g.width * channels) : 0);
    for (Int task = begin; task < end; ++task) {
      const Int n = task / g.groups, group = task % g.groups;
      if (bias == nullptr)
        std::fill_n(sums.data(), s.plane * channels, T(0));
      else
        for (Int i = 0; i < s.plane; ++i) std::copy_n(bias + group * channels, channels, sums.data() + i * channels);
      const T* from = y + (n * g.outputs + group * s.group_outputs) * s.pixels;
      for (Int run = 0; run < runs; ++run) {
        const Int row = whole_rows ? run : run / g.kernel_width, column = whole_rows ? 0 : run % g.kernel_width;
        T* place = sums.data() + (row * g.dilation_height * s.padded_width + column * g.dilation_width) * channels;
        panels.for_each(packed.data() + (group * runs + run) * panels.size(), [&](Int first, Int columns, const T* b) {
          Panels<T>::product().multiply(from, rows.data(), s.pixels, depth.data(), s.group_outputs, b, columns,
                                        place + first, to.data(), true);
        });
      }
      T* out = x + n * sample + group * channels * g.height * g.width;
      T* target = accumulate ? turned.data() : out;
      // Rows that follow one another without padding between them are transposed at once.
      const Int lines = g.padding_width == 0 ? 1 : g.height, line = g.height * g.width / lines;
      for (Int h = 0; h < lines; ++h)
        kernels<LayoutKernels<T>>().transpose(
            sums.data() + ((h + g.padding_height) * s.padded_width + g.padding_width) * channels,
            static_cast<std::size_t>(line), static_cast<std::size_t>(channels), static_cast<std::size_t>(channels),
            target + h * line, static_cast<std::size_t>(g.height * g.width));
      if (accumulate)
        kernels<ElementwiseKernels<T>>().accumulate(target, out,
                                                    static_cast<std::size_t>(channels * g.height * g.width));
    }
  });
}

template <class T>
void convolution_weight(const Geometry& g, const T* x, const T* y, T* w, bool accumulate) {
  const Sizes s(g);
  const Int elements = g.outputs * s.depth;
  if (elements == 0) return;
  const PaddedInput<T> input(g, s, x);
  const PooledVector<Int> rows = filter_offsets(g, s), depth = pixel_offsets(g, s);
  const PooledVector<Int> to = multiples(s.depth, s.group_outputs);
  const Panels<T> panels(s.pixels, s.group_outputs);
  const Scratch<T> packed(static_cast<std::size_t>(g.batch * g.groups * panels.size()));
  parallel_for(g.batch * g.groups, grain_of(s.pixels * s.group_outputs), [&](Int begin, Int end) {
    for (Int i = begin; i < end; ++i)
      panels.pack(y + i * s.group_outputs * s.pixels, 1, s.pixels, packed.data() + i * panels.size());
  });

  // The transposed gradient of each part of the batch, [groups, depth, outputs of a group].
  const Int blocks = (s.depth + weight_rows - 1) / weight_rows, tasks = g.groups * blocks;
  const Int parts = std::clamp<Int>(most_parts / tasks, 1, std::max<Int>(1, g.batch));
  const Scratch<T> sums(static_cast<std::size_t>(parts * elements));
  std::fill_n(sums.data(), parts * elements, T(0));
  const Int rows_work = std::min(s.depth, weight_rows) * s.group_outputs * s.pixels * g.batch / parts;
  parallel_for(parts * tasks, grain_of(rows_work), [&](Int begin, Int end) {
    for (Int task = begin; task < end; ++task) {
      const Int part = task / tasks, group = task % tasks / blocks, first_row = task % blocks * weight_rows;
      const Int m = std::min(weight_rows, s.depth - first_row);
      T* out = sums.data() + part * elements + group * s.depth * s.group_outputs + first_row * s.group_outputs;
      for (Int n = g.batch * part / parts; n < g.batch * (part + 1) / parts; ++n) {
        const T* from = input.data() + (n * g.channels + group * s.group_channels) * s.plane;
        panels.for_each(packed.data() + (n * g.groups + group) * panels.size(),
                        [&](Int first, Int columns, const T* b) {
                          Panels<T>::product().multiply(from, rows.data() + first_row, m, depth.data(), s.pixels, b,
                                                        columns, out + first, to.data(), true);
                        });
      }
    }
  });
  const ElementwiseKernels<T>& elementwise = kernels<ElementwiseKernels<T>>();
  for (Int part = 1; part < parts; ++part)
    elementwise.accumulate(sums.data() + part * elements, sums.data(), static_cast<std::size_t>(elements));
  const Int group_elements = s.group_outputs * s.depth;
  const Scratch<T> turned(accumulate ? static_cast<std::size_t>(elements) : 0);
  T* target = accumulate ? turned.data() : w;
  for (Int group = 0; group < g.groups; ++group)
    kernels<LayoutKernels<T>>().transpose(sums.data() + group * group_elements, static_cast<std::size_t>(s.depth),
                                          static_cast<std::size_t>(s.group_outputs),
                                          static_cast<std::size_t>(s.group_outputs), target + group * group_elements,
                                          static_cast<std::size_t>(s.depth));
  if (accumulate) elementwise.accumulate(turned.data(), w, static_cast<std::size_t>(elements));
}

#define TAPESTRY_INSTANTIATE(T)                                                               \
  template void convolve(const Geometry&, const T*, const T*, const T*, T*, bool);            \
  template void convolve_transposed(const Geometry&, const T*, const T*, const T*, T*, bool); \
  template void convolution_weight(const Geometry&, const T*, const T*, T*, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
