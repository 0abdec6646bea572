# Finds ExecuTorch's libraries in EDGEQ_EXECUTORCH, the folder of its Python package: beside the interpreter, or out of a
# wheel for another machine.
find_package(executorch REQUIRED COMPONENTS runtime kernels_optimized backend_xnnpack etdump
             PATHS ${EDGEQ_EXECUTORCH} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
# Its imported targets carry the rpath of the place where they were found: that is the build machine's.
foreach(target runtime threadpool kernels_optimized backend_xnnpack etdump)
  if(TARGET executorch::${target})
    get_target_property(options executorch::${target} INTERFACE_LINK_OPTIONS)
    if(options)
      list(FILTER options EXCLUDE REGEX "rpath")
      set_target_properties(executorch::${target} PROPERTIES INTERFACE_LINK_OPTIONS "${options}")
    endif()
  endif()
endforeach()
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH OFF)
