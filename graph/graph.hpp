#pragma once

#include <tapestry/graph/module.hpp>
#include <tapestry/graph/safetensors.hpp>
