# docs/operations.md is what the program PROGRAM prints.
execute_process(COMMAND "${PROGRAM}" OUTPUT_VARIABLE printed RESULT_VARIABLE status)
file(READ "${PAGE}" page)
if(NOT status EQUAL 0 OR NOT printed STREQUAL page)
  message(FATAL_ERROR "${PAGE} is not what the registry holds: renew it by ${PROGRAM} > ${PAGE}")
endif()
