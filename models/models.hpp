#pragma once

#include <tapestry/models/crf/chain_tagger.hpp>
#include <tapestry/models/crf/indicator_chain.hpp>
#include <tapestry/models/training/lbfgs.hpp>
#include <tapestry/models/training/log.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include <tapestry/models/training/progress.hpp>
