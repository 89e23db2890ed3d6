#pragma once

// All optimisers: one a file.
#include <tapestry/models/training/gradient_norm.hpp>
#include <tapestry/models/training/optimizers/adadelta.hpp>
#include <tapestry/models/training/optimizers/adagrad.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>
#include <tapestry/models/training/optimizers/adamw.hpp>
#include <tapestry/models/training/optimizers/amsgrad.hpp>
#include <tapestry/models/training/optimizers/lamb.hpp>
#include <tapestry/models/training/optimizers/nadam.hpp>
#include <tapestry/models/training/optimizers/radam.hpp>
#include <tapestry/models/training/optimizers/rmsprop.hpp>
#include <tapestry/models/training/optimizers/rprop.hpp>
#include <tapestry/models/training/optimizers/sgd.hpp>
