# CMake's toolchain file for @{target}.
set(CMAKE_SYSTEM_NAME @{cmake_system})
set(CMAKE_SYSTEM_PROCESSOR @{cmake_processor})
set(CMAKE_C_COMPILER @{compiler})
set(CMAKE_C_FLAGS_INIT "@{compiler_flags}")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # no program links without a board
set(CMAKE_CROSSCOMPILING_EMULATOR @{emulator})
