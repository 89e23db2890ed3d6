#pragma once

#include <tapestry/graph/archive.hpp>
#include <tapestry/graph/bijection.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/constrained.hpp>
#include <tapestry/graph/drawing.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/graph/profile.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/saving.hpp>
#include <tapestry/graph/safetensors.hpp>
#include <tapestry/graph/saving.hpp>
#include <tapestry/graph/unroll.hpp>
