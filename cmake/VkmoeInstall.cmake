# What `cmake --install` puts where: libraries, headers, pkg-config and CMake package files. The
# command-line tool and the shipped model are installed by apps/.
install(TARGETS vkmoe_shared vkmoe_static EXPORT vkmoe-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/vkmoe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT vkmoe-targets NAMESPACE vkmoe:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkmoe)

configure_package_config_file(cmake/vkmoe-config.cmake.in ${CMAKE_BINARY_DIR}/vkmoe-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkmoe)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/vkmoe-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/vkmoe-config.cmake ${CMAKE_BINARY_DIR}/vkmoe-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkmoe)

# From the folder of vkmoe.pc back to the prefix, so that an installed tree can be moved.
file(RELATIVE_PATH VKMOE_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" VKMOE_PC_UP "${VKMOE_PC_UP}")
configure_file(cmake/vkmoe.pc.in ${CMAKE_BINARY_DIR}/vkmoe.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/vkmoe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
