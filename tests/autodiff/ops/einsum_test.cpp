#include <tapestry/autodiff/ops/einsum.hpp>

#include <map>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/contraction_order.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

using V = Var<double>;
using Vars = std::vector<V>;

namespace {

// One letter an axis, "->" given, no dots: a loop over all values of all letters.
V by_loops(const std::string& equation, const Vars& x) {
  std::map<char, std::int64_t> extent, at;
  std::vector<std::string> names{""};
  const std::size_t arrow = equation.find("->");
  for (const char c : equation.substr(0, arrow))
    if (c == ',')
      names.emplace_back();
    else
      names.back() += c;
  const std::string result = equation.substr(arrow + 2);
  for (std::size_t i = 0; i < names.size(); ++i)
    for (std::size_t k = 0; k < names[i].size(); ++k) {
      std::int64_t& e = extent.try_emplace(names[i][k], 1).first->second;
      if (x[i].shape()[static_cast<int>(k)] != 1) e = x[i].shape()[static_cast<int>(k)];
    }
  Shape shape;
  for (const char c : result) shape.push_back(extent[c]);
  Tensor<double> out = empty_tensor<double>(shape);
  std::fill(out.data(), out.data() + out.size(), 0.0);
  std::int64_t total = 1;
  for (const auto& [c, e] : extent) total *= e;
  for (std::int64_t step = 0; step < total; ++step) {
    std::int64_t rest = step;
    for (const auto& [c, e] : extent) at[c] = rest % e, rest /= e;
    double product = 1;
    for (std::size_t i = 0; i < names.size(); ++i) {
      std::int64_t place = 0;
      for (std::size_t k = 0; k < names[i].size(); ++k) {
        const std::int64_t e = x[i].shape()[static_cast<int>(k)];
        place = place * e + (e == 1 ? 0 : at[names[i][k]]);
      }
      product *= x[i].data()[place];
    }
    std::int64_t place = 0;
    for (const char c : result) place = place * extent[c] + at[c];
    out.data()[place] += product;
  }
  return V(out);
}

void check(const std::string& equation, const std::vector<Shape>& shapes) {
  CAPTURE(equation);
  Vars x;
  for (const Shape& shape : shapes) x.emplace_back(normal_values(shape, static_cast<unsigned>(x.size() + 1)));
  check_close(einsum(equation, x), by_loops(equation, x), 1e-12);
}

}  // namespace

TEST_CASE("einsum: agrees with loops over all letters") {
  check("ij,jk->ik", {{2, 3}, {3, 4}});
  check("ij,jk->ki", {{2, 3}, {3, 4}});
  check("ji,kj->ik", {{3, 2}, {4, 3}});
  check("bij,bjk->bik", {{5, 2, 3}, {5, 3, 4}});
  check("bji,bkj->bik", {{5, 3, 2}, {5, 4, 3}});
  check("ibj,jbk->kbi", {{2, 5, 3}, {3, 5, 4}});
  check("i,i->", {{4}, {4}});
  check("i,j->ij", {{3}, {4}});
  check("i,j->ji", {{3}, {4}});
  check("ij,ij->ij", {{3, 4}, {3, 4}});
  check("ij,j->ij", {{3, 4}, {4}});
  check("bi,bi->b", {{3, 4}, {3, 4}});
  check("ij->", {{3, 4}});
  check("ij->j", {{3, 4}});
  check("ij->ji", {{3, 4}});
  check("ii->", {{3, 3}});
  check("ii->i", {{3, 3}});
  check("iij->ji", {{3, 3, 2}});
  check("iji->j", {{3, 2, 3}});
  check("iii->i", {{3, 3, 3}});
  check("iijj->ij", {{2, 2, 3, 3}});
  check("iij,jk->ik", {{3, 3, 2}, {2, 4}});
  check("ab,cd->abcd", {{2, 3}, {4, 2}});
  check("abc,cbd,ad->b", {{2, 3, 4}, {4, 3, 2}, {2, 2}});
  check("ab,bc,cd,de->ae", {{2, 3}, {3, 4}, {4, 2}, {2, 3}});
  check("ab,bc,ca->", {{2, 3}, {3, 4}, {4, 2}});
  check("a,a,a,a->a", {{3}, {3}, {3}, {3}});
  check("i,->i", {{3}, {}});
  check("->", {{}});
}

TEST_CASE("einsum: extents of 1 broadcast, and zero is an extent") {
  check("ij,jk->ik", {{2, 1}, {3, 4}});
  check("ij,jk->ik", {{2, 3}, {1, 4}});
  check("bij,bjk->bik", {{1, 2, 3}, {5, 3, 4}});
  check("ii->i", {{1, 3}});
  check("ij,ij->i", {{1, 3}, {2, 1}});
  check("ij,jk->ik", {{0, 3}, {3, 4}});
  check("ij,jk->ik", {{2, 0}, {0, 4}});
}

TEST_CASE("einsum: dots, implied results, spaces") {
  const V a(normal_values({2, 3, 4}, 1)), b(normal_values({4, 5}, 2)), c(normal_values({3, 1, 4, 5}, 3));
  check_close(einsum("...ij,jk->...ik", a, b), by_loops("bij,jk->bik", {a, b}), 1e-12);
  check_close(einsum("...i , ij", {a, b}), by_loops("abi,ij->abj", {a, b}), 1e-12);
  check_close(einsum("...i,...ij->j...", V(normal_values({3, 2, 4}, 4)), c),
              by_loops("xyi,xyij->jxy", {V(normal_values({3, 2, 4}, 4)), c}), 1e-12);
  // The dots stand for [3] and [3, 1]: they broadcast from the last axis, to [3, 3].
  check_close(einsum("...i,...ij->j...", einsum("wyi->yi", a), c), by_loops("wyi,xzij->jxy", {a, c}), 1e-12);
  check_close(einsum("ba", b), by_loops("ba->ab", {b}), 1e-15);
  check_close(einsum("ij,jk", einsum("xij->ij", a), b), by_loops("xij,jk->ik", {a, b}), 1e-12);
  check_close(einsum("ii", V(normal_values({3, 3}, 4))), by_loops("ii->", {V(normal_values({3, 3}, 4))}), 1e-14);
}

TEST_CASE("einsum: gradients to second order") {
  const auto verify = [](const std::string& equation, const std::vector<Shape>& shapes) {
    Vars x;
    for (const Shape& shape : shapes) x.emplace_back(normal_values(shape, static_cast<unsigned>(x.size() + 1)));
    CHECK_NOTHROW(check_gradients([&](const Vars& v) { return einsum(equation, v); }, x,
                                  {.order = 2, .directions = 1, .name = equation}));
  };
  verify("ibj,jbk->kbi", {{2, 2, 3}, {3, 2, 2}});
  verify("iij,jk,k->i", {{3, 3, 2}, {2, 4}, {4}});
  verify("ij,jk->ik", {{2, 1}, {3, 4}});
  verify("...i,...i->...", {{2, 3}, {3}});
}

TEST_CASE("einsum: the order of contraction is the cheapest") {
  // (x y) z costs 2 * 100 * 3 + 2 * 3 * 50, x (y z) costs 100 * 3 * 50 + 2 * 100 * 50.
  const std::vector<std::int64_t> extents{2, 100, 3, 50};
  const std::vector<detail::AxisSet> chain{0b0011, 0b0110, 0b1100};
  const auto order = detail::contraction_order(chain, 0b1001, extents);
  REQUIRE(order.size() == 2);
  CHECK(order[0] == std::pair<std::size_t, std::size_t>{0, 1});
  // The other way round for a long first axis.
  const auto other = detail::contraction_order(chain, 0b1001, {500, 100, 3, 2});
  CHECK(other[0] == std::pair<std::size_t, std::size_t>{1, 2});
}

TEST_CASE("einsum: more operands than are ordered exhaustively") {
  Vars x;
  std::string equation, result;
  for (int i = 0; i < 11; ++i) {
    x.emplace_back(normal_values({2, 2}, static_cast<unsigned>(i)));
    equation += std::string(i == 0 ? "" : ",") + static_cast<char>('a' + i) + static_cast<char>('b' + i);
  }
  equation += "->al";
  check_close(einsum(equation, x), by_loops(equation, x), 1e-11);
}

TEST_CASE("einsum: errors") {
  const V a = V::zeros({2, 3}), b = V::zeros({4, 5});
  CHECK_THROWS_WITH_AS(einsum("ij,jk->ik", a, b),
                       "einsum: axis 'j' has an extent of 3 and in [4, 5] of 4 in \"ij,jk->ik\"", ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ijk->i", a), "einsum: \"ijk\" does not name the axes of a shape [2, 3] in \"ijk->i\"",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij->k", a), "einsum: the result's axis 'k' is not in an operand in \"ij->k\"",
                       ShapeError);
  CHECK_THROWS_WITH_AS(einsum("ij->ii", a), "einsum: the result has the axis 'i' twice in \"ij->ii\"", ShapeError);
  CHECK_THROWS_WITH_AS(einsum("i1->i", a), "einsum: '1' is not a letter in \"i1->i\"", ShapeError);
  CHECK_THROWS_AS(einsum("ij,jk->ik", a), ShapeError);
  CHECK_THROWS_AS(einsum("i->i", a), ShapeError);
}
