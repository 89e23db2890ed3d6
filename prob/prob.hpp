#pragma once

#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/discrete_model.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/grid.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/cluster_mean_field.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/inference/result.hpp>
#include <tapestry/prob/io/bif.hpp>
#include <tapestry/prob/io/uai.hpp>
#include <tapestry/prob/pairwise.hpp>
