# The sweep over small generated models, each with a way of writing files of its own.
include("${CMAKE_CURRENT_LIST_DIR}/../common.cmake")
find_program(BASH bash REQUIRED)
execute_process(COMMAND "${INSTANCES}" "${FOLDER}" small 1 RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "no models were written")
endif()
execute_process(COMMAND ${BASH} "${CMAKE_CURRENT_LIST_DIR}/../uai_sweep.sh" "${PROGRAM}" "${FOLDER}" 1000
                RESULT_VARIABLE status OUTPUT_VARIABLE out)
message("${out}")
expect("${out}" "420 runs, 0 failures")
