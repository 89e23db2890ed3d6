# What `cmake --install` puts where find_package(Tapestry) finds it.
set(TAPESTRY_PACKAGE "${CMAKE_INSTALL_LIBDIR}/cmake/Tapestry")

install(TARGETS tapestry EXPORT TapestryTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT TapestryTargets NAMESPACE Tapestry:: DESTINATION "${TAPESTRY_PACKAGE}")
foreach(module IN LISTS TAPESTRY_MODULES)
  install(DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/${module}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tapestry"
          FILES_MATCHING PATTERN "*.hpp" PATTERN "*.inc")
  if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${module}/${module}.hpp")
    install(FILES "${CMAKE_CURRENT_SOURCE_DIR}/${module}/${module}.hpp"
            DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tapestry")
  endif()
endforeach()
install(FILES "${TAPESTRY_INCLUDE}/tapestry/tapestry.hpp" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/tapestry")

configure_package_config_file("${CMAKE_CURRENT_SOURCE_DIR}/.cmake/TapestryConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/TapestryConfig.cmake" INSTALL_DESTINATION "${TAPESTRY_PACKAGE}")
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/TapestryConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/TapestryConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/TapestryConfigVersion.cmake"
  "${CMAKE_CURRENT_SOURCE_DIR}/.cmake/TapestryDependencies.cmake" DESTINATION "${TAPESTRY_PACKAGE}")
