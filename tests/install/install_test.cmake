# Installs the build into a folder of its own, and there configures, builds and runs the project in separate/, which
# knows nothing of this tree.
set(prefix "${BUILD}/tests/install/prefix")
set(project "${BUILD}/tests/install/project")
file(REMOVE_RECURSE "${prefix}" "${project}")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    string(REPLACE ";" " " command "${ARGV}")
    message(FATAL_ERROR "${command}: ${result}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install "${BUILD}" --prefix "${prefix}")
file(GLOB_RECURSE links LIST_DIRECTORIES true "${prefix}/*")
foreach(link IN LISTS links)
  if(IS_SYMLINK "${link}")
    message(FATAL_ERROR "${link} points out of the installed tree")
  endif()
endforeach()
run(${CMAKE_COMMAND} -S "${CMAKE_CURRENT_LIST_DIR}/separate" -B "${project}" -G "${GENERATOR}"
    "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}"
    -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build "${project}")
run("${project}/separate")
if(NOT output MATCHES "Tapestry +${VERSION}" OR NOT output MATCHES "everything agrees")
  message(FATAL_ERROR "unexpected output:\n${output}")
endif()
message(STATUS "${output}")
