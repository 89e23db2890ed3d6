#pragma once

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/custom.hpp>
#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/tensor.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/autodiff/variable.hpp>
