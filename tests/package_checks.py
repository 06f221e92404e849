"""What the files around the exported library have to keep, whatever library it is: the rules of those who read them."""

import json
import re
import subprocess
import zipfile
from pathlib import Path

import jsonschema
import yaml
from firmware_tools import require

__all__ = [
    "built_and_tested",
    "check_arduino_archive",
    "check_platformio_manifest",
    "check_zephyr_module",
    "command",
    "run_sketch",
    "zephyr_application",
]


def command(*arguments: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built_and_tested(folder: Path) -> str:
    """What `ctest` prints, after the commands that the package's README gives."""
    for tool in ("cmake", "ctest", "make"):
        require(tool)
    (steps,) = re.findall(r"CMake\*\*: `(.*?)`", (folder / "README.md").read_text())
    configure, build, test = (step.split() for step in steps.split(" && "))
    command(*configure, cwd=folder)
    command(*build, cwd=folder)
    return subprocess.run([*test, "-V"], capture_output=True, text=True, cwd=folder, check=False).stdout


# arduino-lint's rules for library.properties at the level "strict", and the library specification's for the layout.
CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"),
    *("Data Processing", "Other"),
}
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"


def check_arduino_archive(folder: Path) -> None:
    """The archive keeps arduino-lint's rules and holds the library's sources."""
    library = {path.name for path in folder.glob("em_*.[ch]")} | {"edgemoe.h", "edgemoe_model.h"}
    with zipfile.ZipFile(folder / "edgemoe-arduino.zip") as archive:
        names = archive.namelist()
        text = archive.read("edgemoe/library.properties").decode()
        for name in library:
            assert archive.read(f"edgemoe/src/{name}") == (folder / name).read_bytes()
    assert {name.split("/")[0] for name in names} == {"edgemoe"}  # one folder, its name letters, digits, _ . -
    top = {name.split("/")[1] for name in names}
    assert top == {"library.properties", "README.md", "src", "examples"}  # no source at the top: the recursive layout
    sources = {name.removeprefix("edgemoe/src/") for name in names if name.startswith("edgemoe/src/")}
    assert sources == library
    assert {"edgemoe/examples/Recognize/Recognize.ino", "edgemoe/examples/Recognize/vectors.h"} <= set(names)
    properties = dict(line.split("=", 1) for line in text.splitlines())
    assert len(properties) == len(text.splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(properties) <= required | {"includes"}
    assert all(properties.values())
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,15}", properties["name"])
    assert not re.search("arduino|library", properties["name"], re.IGNORECASE)
    assert not re.search("arduino", properties["maintainer"], re.IGNORECASE)
    assert re.fullmatch(SEMVER, properties["version"])
    assert properties["category"] in CATEGORIES
    assert re.fullmatch(r"https://[a-z.]+/\S+", properties["url"])
    assert not properties["paragraph"].startswith(properties["sentence"])  # it is put before the paragraph
    assert properties["includes"] in sources


# As much of Arduino.h as the sketch uses: the serial line reads from standard input and writes to standard output.
ARDUINO = """
#include <cstdint>
#include <cstdio>
#define HEX 16
struct Line {
    void begin(unsigned long) {}
    void print(char c) { std::printf("%c", c); }
    void print(const char *text) { std::printf("%s", text); }
    void print(uint32_t number, int) { std::printf("%X", (unsigned)number); }
    void println(const char *text) { std::printf("%s\\n", text); }
    void println(float number) { std::printf("%.2f\\n", (double)number); }
    size_t readBytes(char *bytes, size_t count) { return std::fread(bytes, 1, count, stdin); }
};
extern Line Serial;
void setup();
void loop();
"""


def run_sketch(folder: Path, scratch: Path, sent: bytes) -> str:
    """Build the archive's example as Arduino does, send it the bytes of two images, and return what it prints."""
    require("g++")
    with zipfile.ZipFile(folder / "edgemoe-arduino.zip") as archive:
        archive.extractall(scratch)
    library = scratch / "edgemoe"
    (scratch / "Arduino.h").write_text(ARDUINO)
    (scratch / "main.cpp").write_text(
        "#include <Arduino.h>\nLine Serial;\nvoid setup(); void loop();\nint main() { setup(); loop(); loop(); }\n"
    )
    objects = []
    for source in sorted((library / "src").glob("*.c")):  # as C, as Arduino does
        objects.append(scratch / f"{source.name}.o")
        command("gcc", "-std=gnu11", "-c", str(source), "-o", str(objects[-1]), f"-I{library / 'src'}")
    sketch = ["-x", "c++", "-include", "Arduino.h", str(library / "examples" / "Recognize" / "Recognize.ino")]
    warnings = ["-std=gnu++14", "-Wall", "-Wextra", "-Werror"]
    includes = [f"-I{scratch}", f"-I{library / 'src'}"]
    command("g++", *warnings, *includes, "-c", *sketch, "-o", str(scratch / "sketch.o"))
    command("g++", *warnings, *includes, "-c", str(scratch / "main.cpp"), "-o", str(scratch / "main.o"))
    program = str(scratch / "program")
    command("g++", str(scratch / "sketch.o"), str(scratch / "main.o"), *map(str, objects), "-o", program)
    return subprocess.run([program], input=sent, capture_output=True, check=True).stdout.decode()


# The part of library.json's schema (PlatformIO Core, assets/schema/library.json) that the file uses, with its rules in
# words as patterns.
LIBRARY_JSON = {
    "type": "object",
    "required": ["name", "version", "description", "keywords"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "maxLength": 50, "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "version": {"type": "string", "maxLength": 20, "pattern": f"^{SEMVER}$"},
        "description": {"type": "string", "maxLength": 255},
        "keywords": {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,253}[a-z0-9])?$"}},
        "license": {"type": "string"},
        "frameworks": {"const": "*"},
        "platforms": {"const": "*"},
        "headers": {"type": "string"},
        "examples": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "base": {"type": "string"},
                    "files": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "srcDir": {"type": "string"},
                "includeDir": {"type": "string"},
                "srcFilter": {"type": "array", "items": {"type": "string", "pattern": r"^[+-]<[^<>]+>$"}},
                "flags": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


def check_platformio_manifest(folder: Path) -> None:
    """The manifest keeps its schema, names files that are there, and builds the library alone."""
    manifest = json.loads((folder / "library.json").read_text())
    jsonschema.validate(manifest, LIBRARY_JSON)
    assert (folder / manifest["headers"]).is_file()
    for example in manifest["examples"]:
        assert all((folder / example["base"] / file).is_file() for file in example["files"])
    chosen: set[str] = set()
    for rule in manifest["build"]["srcFilter"]:
        found = {str(path.relative_to(folder)) for path in folder.glob(rule[2:-1] if rule[2:-1] != "*" else "**/*")}
        chosen = chosen | found if rule[0] == "+" else chosen - found
    assert chosen == {path.name for path in folder.glob("em_*.c")}  # not the board's, not the example's


# The part of Zephyr's schema for module.yml (scripts/zephyr_module.py) that the file uses.
MODULE_YML = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"cmake": {"type": "string"}, "kconfig": {"type": "string"}},
        },
    },
}

# What of Zephyr's CMake functions the module uses, on plain CMake.
ZEPHYR = """
cmake_minimum_required(VERSION 3.16)
project(zephyr_in_small C)
function(zephyr_include_directories)
  include_directories(${ARGV})
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY INCLUDE_DIRECTORIES ${ARGV})
endfunction()
macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC "")
endmacro()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGV})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGV})
endfunction()
add_subdirectory(${MODULE}/zephyr module)
if(CONFIG_EDGEMOE)
  add_executable(application ${MODULE}/example/main.c)
  target_link_libraries(application edgemoe)
endif()
"""


def check_zephyr_module(folder: Path) -> None:
    """The module keeps its schema, and names what is there."""
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    jsonschema.validate(module, MODULE_YML)
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert "\nconfig EDGEMOE\n\tbool " in "\n" + (folder / module["build"]["kconfig"]).read_text()


def zephyr_application(folder: Path, scratch: Path, chosen: bool) -> Path:
    """Build an application with the module as Zephyr does, and return where its program is if it was built."""
    require("cmake")
    application = scratch / "application"
    application.mkdir()
    (application / "CMakeLists.txt").write_text(ZEPHYR)
    options = [f"-DMODULE={folder}", f"-DCONFIG_EDGEMOE={'y' if chosen else ''}"]
    command("cmake", "-B", "build", *options, cwd=application)
    command("cmake", "--build", "build", cwd=application)
    return application / "build" / "application"
