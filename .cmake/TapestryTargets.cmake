# The library: one archive of all modules. Sources in a folder named `kernels` are compiled once for each instruction
# set, in a namespace of its own (TAPESTRY_ARCH), and chosen at run time (autodiff/kernels/dispatch.hpp).

set(TAPESTRY_MODULES autodiff graph prob models)

# Includes read <tapestry/autodiff/tape.hpp> in the tree as when installed: links in the build folder make it so.
set(TAPESTRY_INCLUDE "${CMAKE_CURRENT_BINARY_DIR}/include")
file(MAKE_DIRECTORY "${TAPESTRY_INCLUDE}/tapestry")
set(umbrella "#pragma once\n\n")
foreach(module IN LISTS TAPESTRY_MODULES)
  file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}/${module}" "${TAPESTRY_INCLUDE}/tapestry/${module}" SYMBOLIC)
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${module}/${module}.hpp")
    file(CREATE_LINK "${CMAKE_CURRENT_SOURCE_DIR}/${module}/${module}.hpp"
         "${TAPESTRY_INCLUDE}/tapestry/${module}.hpp" SYMBOLIC)
    string(APPEND umbrella "#include <tapestry/${module}.hpp>\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT "${TAPESTRY_INCLUDE}/tapestry/tapestry.hpp" CONTENT "${umbrella}" @ONLY)

add_library(tapestry STATIC)
add_library(Tapestry::tapestry ALIAS tapestry)

set(TAPESTRY_WARNINGS -Wall -Wextra -Wpedantic -Wshadow)
if(TAPESTRY_WERROR)
  list(APPEND TAPESTRY_WARNINGS -Werror)
endif()

set(TAPESTRY_SANITIZE_FLAGS "")
set(TAPESTRY_KERNEL_FLAGS -O3)
if(TAPESTRY_SANITIZE)
  set(TAPESTRY_KERNEL_FLAGS -O1 -DTAPESTRY_SANITIZED)
  set(TAPESTRY_SANITIZE_FLAGS -fsanitize=${TAPESTRY_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  # g++ 12 sees uninitialised values in instrumented std::optional that are not there.
  list(APPEND TAPESTRY_SANITIZE_FLAGS $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

set(architectures baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND architectures avx2 avx512)
endif()
set(TAPESTRY_FLAGS_baseline "")
set(TAPESTRY_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(TAPESTRY_FLAGS_avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mf16c -mprefer-vector-width=512)

foreach(module IN LISTS TAPESTRY_MODULES)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
       "${CMAKE_CURRENT_SOURCE_DIR}/${module}/*.cpp")
  set(kernels ${sources})
  list(FILTER sources EXCLUDE REGEX "/kernels/")
  list(FILTER kernels INCLUDE REGEX "/kernels/")
  target_sources(tapestry PRIVATE ${sources})
  list(APPEND all_kernels ${kernels})
endforeach()

# Random numbers are the same bits on every instruction set: no contraction to fused multiply-adds.
set(random_sources ${all_kernels})
list(FILTER random_sources INCLUDE REGEX "/kernels/random[^/]*\\.cpp$")
set_source_files_properties(${random_sources} PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
# An update rounds an element alike in a whole vector and in a partial one. Of a b + c d, g++ fuses the same product in
# both, clang does not.
set(optimizer_sources ${all_kernels})
list(FILTER optimizer_sources INCLUDE REGEX "/kernels/optimizer[^/]*\\.cpp$")
set_source_files_properties(${optimizer_sources} PROPERTIES
  COMPILE_OPTIONS $<$<CXX_COMPILER_ID:Clang>:-ffp-contract=off>)

foreach(architecture IN LISTS architectures)
  add_library(tapestry_kernels_${architecture} OBJECT ${all_kernels})
  target_compile_definitions(tapestry_kernels_${architecture} PRIVATE TAPESTRY_ARCH=${architecture})
  # Vectors wider than the architecture's registers are passed between functions of one file only: their ABI is nobody's.
  target_compile_options(tapestry_kernels_${architecture} PRIVATE
    ${TAPESTRY_KERNEL_FLAGS} -fno-math-errno -fno-trapping-math -ffp-contract=fast
    ${TAPESTRY_FLAGS_${architecture}} ${TAPESTRY_WARNINGS} ${TAPESTRY_SANITIZE_FLAGS} -Wno-psabi)
  target_include_directories(tapestry_kernels_${architecture} PRIVATE "${TAPESTRY_INCLUDE}")
  target_include_directories(tapestry_kernels_${architecture} SYSTEM PRIVATE ${SLEEF_INCLUDE_DIRS})
  if(TAPESTRY_PRECOMPILE AND NOT architecture STREQUAL "baseline")
    target_precompile_headers(tapestry_kernels_${architecture} PRIVATE <immintrin.h>)
  endif()
  target_sources(tapestry PRIVATE $<TARGET_OBJECTS:tapestry_kernels_${architecture}>)
  string(TOUPPER ${architecture} upper)
  target_compile_definitions(tapestry PRIVATE TAPESTRY_HAVE_${upper}=1)
endforeach()

target_include_directories(tapestry PUBLIC
  "$<BUILD_INTERFACE:${TAPESTRY_INCLUDE}>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_include_directories(tapestry SYSTEM PRIVATE ${LAPACKE_INCLUDE_DIR} ${LBFGS_INCLUDE_DIR} ${METIS_INCLUDE_DIR}
  $<TARGET_PROPERTY:nlohmann_json::nlohmann_json,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_features(tapestry PUBLIC cxx_std_20)
target_compile_options(tapestry PRIVATE ${TAPESTRY_WARNINGS} ${TAPESTRY_SANITIZE_FLAGS})
target_link_options(tapestry PUBLIC ${TAPESTRY_SANITIZE_FLAGS})
target_compile_definitions(tapestry PRIVATE
  TAPESTRY_VERSION="${PROJECT_VERSION}" $<$<BOOL:${TAPESTRY_TUNE_BLAS}>:TAPESTRY_TUNE_BLAS=1>)
target_link_libraries(tapestry
  PUBLIC xtensor Threads::Threads
  PRIVATE PkgConfig::OPENBLAS PkgConfig::SLEEF ${LBFGS_LIBRARY} ${METIS_LIBRARY} PNG::PNG
          ZLIB::ZLIB)
if(TAPESTRY_ONEDNN AND ONEDNN_INCLUDE_DIR AND ONEDNN_LIBRARY)
  set_source_files_properties(autodiff/onednn.cpp PROPERTIES
    COMPILE_DEFINITIONS TAPESTRY_ONEDNN=1 INCLUDE_DIRECTORIES "${ONEDNN_INCLUDE_DIR}")
  target_link_libraries(tapestry PRIVATE ${ONEDNN_LIBRARY} ${CMAKE_DL_LIBS})
endif()

# Headers of others alone: those of this tree change, and all would be compiled again.
set(TAPESTRY_PRECOMPILED <algorithm> <array> <cmath> <cstdint> <fstream> <functional> <map> <memory> <numeric> <optional>
  <sstream> <string> <unordered_map> <vector> <xtensor/xarray.hpp>)
if(TAPESTRY_PRECOMPILE)
  target_precompile_headers(tapestry PRIVATE ${TAPESTRY_PRECOMPILED})
endif()
