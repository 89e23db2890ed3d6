# The lectures' numbers by every method that can hold them, and what the others make of it.
include("${CMAKE_CURRENT_LIST_DIR}/common.cmake")

run(0 --help)
expect("${out}" "usage: explaining_away")
run(0 --report report)
expect("${out}" "p[(]truck[)] = 0.000100, after the house jumped 0.5000, and with news of an earthquake 0.00020")
foreach(method "enumeration" "junction tree" "belief propagation" "tree-reweighted" "mean field, causes together")
  expect("${out}" "\n${method} +0.0001 +0.4999 +0.4999 +0.0001 +(=|~|<=|>=) -9.2102 ")
endforeach()
# Sampling comes near; mean field settles on one of the causes, and says that its number is a lower bound.
expect("${out}" "\nGibbs sampling[^\n]+ 0.0001 +0.[45][0-9]+ +0.[45][0-9]+ +0.0001 ")
expect("${out}" "\nmean field +[0-9.]+ +(0.99[0-9]+ +0.00[0-9]+|0.00[0-9]+ +0.99[0-9]+) +[0-9.]+ +>= -9.90")
expect("${out}" "\nresult: {\"enumeration\": {\"neither\": [0-9.e-]+, \"earthquake\": [0-9.]+, \"truck\": [0-9.]+, \"both\": [0-9.e-]+, \"log_partition\": -9.21")
expect_files(report/index.html report/result.json report/posteriors.png)
run(0 --bias 10)
expect("${out}" "\njunction tree +0.0000 +0.5000 +0.5000 +0.0000 ")
run(2 --bias 0)
run(2 --nothing)
