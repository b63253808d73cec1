# Builds every variant that runtime/kernels/table.def declares, and writes vkm_spirv.inc: the SPIR-V
# as C arrays and, for each kernel, its list of variants.
find_program(GLSLANG_VALIDATOR glslangValidator REQUIRED)

set(VKMOE_SPIRV_DIR ${CMAKE_CURRENT_BINARY_DIR}/spirv)
set(table ${CMAKE_CURRENT_SOURCE_DIR}/runtime/kernels/table.def)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
file(MAKE_DIRECTORY ${VKMOE_SPIRV_DIR})

# Compiles one module to <symbol>.h, which defines the array <symbol>.
function(vkmoe_shader symbol source defines)
  set(output ${VKMOE_SPIRV_DIR}/${symbol}.h)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/shaders/${source})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${GLSLANG_VALIDATOR} --quiet -V --target-env vulkan1.3 ${defines} --vn ${symbol}
            --depfile ${output}.d -I${CMAKE_CURRENT_SOURCE_DIR}/shaders -o ${output} ${input}
    DEPENDS ${input} DEPFILE ${output}.d COMMENT "GLSL ${symbol}" VERBATIM)
  set_property(GLOBAL APPEND PROPERTY VKMOE_SPIRV ${output})
  set_property(GLOBAL APPEND_STRING PROPERTY VKMOE_SPIRV_INC "#include \"${symbol}.h\"\n")
endfunction()

# All variants of one row of the table.
function(vkmoe_kernel name source types paths defines)
  string(REPLACE " " ";" defines "${defines}")
  list(TRANSFORM defines PREPEND -D)
  list(APPEND defines -DVKM_KERNEL=${name} -DVKM_PARAMS=VKM_PARAMS_${name})
  set(dtypes COUNT)
  set(prefix WEIGHTS)
  if(types STREQUAL WEIGHTS)
    set(dtypes F32 F16 BF16)
  elseif(types STREQUAL MATRIX)
    set(dtypes F32 F16 BF16 Q8 Q4)
  elseif(types STREQUAL KV)
    set(dtypes F32 F16 BF16 Q8)
    set(prefix KV)
  endif()
  set(path_list BASE)
  if(paths STREQUAL BASE_SG)
    set(path_list BASE SUBGROUP)
  endif()
  set(rows "")
  foreach(dtype ${dtypes})
    foreach(path ${path_list})
      string(TOLOWER "spv_${name}_${dtype}_${path}" symbol)
      string(REPLACE "_count" "" symbol ${symbol})
      set(flags ${defines})
      if(NOT dtype STREQUAL COUNT)
        list(APPEND flags -D${prefix}_${dtype})
      endif()
      if(path STREQUAL SUBGROUP)
        list(APPEND flags -DPATH_SUBGROUP)
      endif()
      vkmoe_shader(${symbol} ${source} "${flags}")
      vkmoe_shader(${symbol}_debug ${source} "${flags};-DVKM_DEBUG")
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
file(CONFIGURE OUTPUT ${VKMOE_SPIRV_DIR}/vkm_spirv.inc CONTENT "${includes}${lists}" @ONLY)
get_property(outputs GLOBAL PROPERTY VKMOE_SPIRV)
add_custom_target(vkmoe_shaders DEPENDS ${outputs})
