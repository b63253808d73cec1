# Builds every variant that runtime/kernels/table.def declares, on the paths of runtime/gpu/paths.def,
# and writes vkm_spirv.inc: the SPIR-V as C arrays and, for each kernel, its list of variants.
find_program(GLSLANG_VALIDATOR glslangValidator REQUIRED)

set(VKMOE_SPIRV_FROM "" CACHE PATH
    "A build folder of the same sources, built, whose SPIR-V is taken as it is; empty: compile the shaders")
set(VKMOE_SPIRV_DIR ${CMAKE_CURRENT_BINARY_DIR}/spirv)
if(VKMOE_SPIRV_FROM)
  cmake_path(ABSOLUTE_PATH VKMOE_SPIRV_FROM OUTPUT_VARIABLE VKMOE_SPIRV_DIR)
  string(APPEND VKMOE_SPIRV_DIR /spirv)
  if(NOT EXISTS ${VKMOE_SPIRV_DIR}/vkm_spirv.inc)
    message(FATAL_ERROR "VKMOE_SPIRV_FROM: ${VKMOE_SPIRV_DIR}/vkm_spirv.inc is missing; is it a build folder?")
  endif()
endif()
set(table ${CMAKE_CURRENT_SOURCE_DIR}/runtime/kernels/table.def)
set(paths_table ${CMAKE_CURRENT_SOURCE_DIR}/runtime/gpu/paths.def)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table} ${paths_table})
file(MAKE_DIRECTORY ${VKMOE_SPIRV_DIR})

# Cooperative matrices need a newer compiler than Debian 12's: the one found, or one given beside it.
set(VKMOE_GLSLANG "" CACHE FILEPATH
    "A second glslangValidator, for shaders that the first cannot compile; empty: none")
set(VKMOE_GLSLANG_COOPMAT "")
set(trial ${CMAKE_CURRENT_BINARY_DIR}/spirv-trial.comp)
file(WRITE ${trial} "#version 460\n#extension GL_KHR_cooperative_matrix : require\nvoid main() {}\n")
foreach(compiler ${GLSLANG_VALIDATOR} ${VKMOE_GLSLANG})
  execute_process(COMMAND ${compiler} -V --target-env vulkan1.3 -o ${trial}.spv ${trial}
                  RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(NOT failed AND NOT VKMOE_GLSLANG_COOPMAT)
    set(VKMOE_GLSLANG_COOPMAT ${compiler})
  endif()
endforeach()
if(NOT VKMOE_GLSLANG_COOPMAT)
  message(STATUS "Left out: the path coopmat, as ${GLSLANG_VALIDATOR} lacks GL_KHR_cooperative_matrix "
                 "(glslang 13 or later; VKMOE_GLSLANG names a second one)")
endif()

# Compiles one module to <symbol>.h, which defines the array <symbol>.
function(vkmoe_shader compiler symbol source defines)
  set(output ${VKMOE_SPIRV_DIR}/${symbol}.h)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/shaders/${source})
  set_property(GLOBAL APPEND_STRING PROPERTY VKMOE_SPIRV_INC "#include \"${symbol}.h\"\n")
  if(VKMOE_SPIRV_FROM)
    return()
  endif()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${compiler} --quiet -V --target-env vulkan1.3 ${defines} --vn ${symbol}
            --depfile ${output}.d -I${CMAKE_CURRENT_SOURCE_DIR}/shaders -o ${output} ${input}
    DEPENDS ${input} DEPFILE ${output}.d COMMENT "GLSL ${symbol}" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY VKMOE_SPIRV ${output})
endfunction()

# What a path covers: vkmoe_paths_WORD lists the paths of kernels with that word, and
# vkmoe_weights_PATH says of which storage types.
file(STRINGS ${paths_table} rows REGEX "^PATH\\(")
foreach(row IN LISTS rows)
  if(NOT row MATCHES
     "^PATH\\(([A-Z0-9]+), \"[a-z0-9]+\", ([A-Z_]+), ([A-Z]+), [a-z0-9_]+, [A-Z0-9_]+, [A-Z]+\\)$")
    message(FATAL_ERROR "runtime/gpu/paths.def: cannot read the row ${row}")
  endif()
  set(path ${CMAKE_MATCH_1})
  set(least ${CMAKE_MATCH_2})
  set(vkmoe_weights_${path} ${CMAKE_MATCH_3})
  foreach(word BASE BASE_SG TILED)
    if(word STREQUAL least OR reached)
      list(APPEND reached ${word})
    endif()
  endforeach()
  foreach(word IN LISTS reached)
    list(APPEND vkmoe_paths_${word} ${path})
  endforeach()
  unset(reached)
endforeach()

# All variants of one row of the table.
function(vkmoe_kernel name source types paths defines)
  string(REPLACE " " ";" defines "${defines}")
  list(TRANSFORM defines PREPEND -D)
  list(APPEND defines -DVKM_KERNEL=${name} -DVKM_PARAMS=VKM_PARAMS_${name})
  set(dtypes COUNT)
  set(prefix WEIGHTS)
  if(types STREQUAL WEIGHTS)
    set(dtypes F32 F16 BF16 Q8 Q4 Q8K Q4K)
  elseif(types STREQUAL KV)
    set(dtypes F32 F16 BF16 Q8)
    set(prefix KV)
  endif()
  set(rows "")
  foreach(dtype ${dtypes})
    foreach(path ${vkmoe_paths_${paths}})
      if(vkmoe_weights_${path} STREQUAL QUANTISED AND NOT dtype MATCHES "^Q")
        continue()
      elseif(vkmoe_weights_${path} STREQUAL NARROW AND dtype STREQUAL F32)
        continue()
      endif()
      set(compiler ${GLSLANG_VALIDATOR})
      if(path STREQUAL COOPMAT)
        set(compiler ${VKMOE_GLSLANG_COOPMAT})
        if(NOT compiler)
          continue()
        endif()
      endif()
      string(TOLOWER "spv_${name}_${dtype}_${path}" symbol)
      string(REPLACE "_count" "" symbol ${symbol})
      set(flags ${defines} -DPATH_${path})
      if(NOT dtype STREQUAL COUNT)
        list(APPEND flags -D${prefix}_${dtype})
      endif()
      vkmoe_shader(${compiler} ${symbol} ${source} "${flags}")
      vkmoe_shader(${compiler} ${symbol}_debug ${source} "${flags};-DVKM_DEBUG")
      string(APPEND rows "    {VKM_DTYPE_${dtype}, VKM_PATH_${path}, ${symbol}, sizeof(${symbol}), "
                         "${symbol}_debug, sizeof(${symbol}_debug)},\n")
    endforeach()
  endforeach()
  set_property(GLOBAL APPEND_STRING PROPERTY VKMOE_SPIRV_ROWS
               "static const struct vkm_variant variants_${name}[] = {\n${rows}};\n")
endfunction()

file(STRINGS ${table} rows REGEX "^KERNEL\\(")
foreach(row IN LISTS rows)
  if(NOT row MATCHES
     "^KERNEL\\(([a-z0-9_]+), \"([^\"]+)\", ([A-Z]+), ([A-Z_]+), [0-9]+, [A-Z]+, \"([^\"]*)\"\\)$")
    message(FATAL_ERROR "runtime/kernels/table.def: cannot read the row ${row}")
  endif()
  vkmoe_kernel(${CMAKE_MATCH_1} ${CMAKE_MATCH_2} ${CMAKE_MATCH_3} ${CMAKE_MATCH_4}
               "${CMAKE_MATCH_5}")
endforeach()

get_property(includes GLOBAL PROPERTY VKMOE_SPIRV_INC)
get_property(lists GLOBAL PROPERTY VKMOE_SPIRV_ROWS)
if(NOT VKMOE_SPIRV_FROM)
  file(CONFIGURE OUTPUT ${VKMOE_SPIRV_DIR}/vkm_spirv.inc CONTENT "${includes}${lists}" @ONLY)
endif()
get_property(outputs GLOBAL PROPERTY VKMOE_SPIRV)
add_custom_target(vkmoe_shaders DEPENDS ${outputs})
