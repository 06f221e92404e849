"""What the C library is built for: five Cortex-M cores on boards that QEMU has, and two hosts."""

from dataclasses import dataclass

from edgemoe.errors import EdgemoeError

__all__ = ["TARGETS", "Board", "Budget", "Region", "Target", "target_named"]


@dataclass(frozen=True)
class Region:
    """A piece of the address space: its first address and its size, both in bytes."""

    origin: int
    size: int


@dataclass(frozen=True)
class Board:
    """A board as QEMU 7.2 emulates it (docs/system/arm/mps2.rst there; ARM's application note of the same number).

    Attributes
    ----------
    machine : str
        QEMU's name of it.
    vectors, flash, ram : Region
        Where the core looks for its first vectors, and where code and variables go.
    clock : int
        Of the timers, in Hz.
    timers : dict of str to int
        Addresses by the macro that the board's C code reads: a CMSDK timer and dual timer, or an SSE-300's system
        counter (control frame and read frame).
    """

    machine: str
    vectors: Region
    flash: Region
    ram: Region
    clock: int
    timers: dict[str, int]


@dataclass(frozen=True)
class Budget:
    """Flash and RAM, in bytes, of a common part with such a core."""

    part: str
    flash: int
    ram: int


@dataclass(frozen=True)
class Target:
    """One thing that the library is compiled for.

    Attributes
    ----------
    name : str
    prefix : str
        Of the tools: `<prefix>gcc`, `<prefix>size`.
    packages : str
        The Debian packages that bring the compiler.
    flags : tuple of str
        The compiler's, beside the warnings and the optimization.
    board : Board or None
        None for a host.
    budget : Budget or None
        None: nothing to refuse.
    runner : tuple of str
        The command that a program is started with; empty where the machine itself runs it.
    """

    name: str
    prefix: str
    packages: str
    flags: tuple[str, ...]
    board: Board | None = None
    budget: Budget | None = None
    runner: tuple[str, ...] = ()


KB, MB = 1 << 10, 1 << 20

# The Cortex-M Prototyping System 2: the same memory and timers for the three older cores.
_MPS2_TIMERS = {"EM_BOARD_TIMER": 0x4000_0000, "EM_BOARD_DUAL_TIMER": 0x4000_2000}


def _mps2(machine: str) -> Board:
    return Board(
        machine,
        vectors=Region(0x0000_0000, 1 * KB),
        flash=Region(0x0000_0400, 4 * MB - 1 * KB),
        ram=Region(0x2000_0000, 4 * MB),
        clock=25_000_000,
        timers=_MPS2_TIMERS,
    )


# ARMv8-M boards start in the secure state: the secure aliases of everything.
_AN505 = Board(
    "mps2-an505",
    vectors=Region(0x1000_0000, 1 * KB),
    flash=Region(0x1000_0400, 4 * MB - 1 * KB),
    ram=Region(0x3800_0000, 4 * MB),
    clock=20_000_000,
    timers={"EM_BOARD_TIMER": 0x5000_0000, "EM_BOARD_DUAL_TIMER": 0x5000_2000},
)
_AN547 = Board(
    "mps3-an547",
    vectors=Region(0x1000_0000, 1 * KB),
    flash=Region(0x1100_0000, 2 * MB),
    ram=Region(0x3000_0000, 512 * KB),
    clock=32_000_000,
    timers={"EM_BOARD_COUNTER_CONTROL": 0x5810_0000, "EM_BOARD_COUNTER": 0x4810_1000},
)


def _cortex(core: str, float_flags: tuple[str, ...], board: Board, budget: Budget) -> Target:
    return Target(
        f"cortex-{core}",
        "arm-none-eabi-",
        "gcc-arm-none-eabi and libnewlib-arm-none-eabi",
        (f"-mcpu=cortex-{core}", "-mthumb", *float_flags, "-ffp-contract=off"),
        board,
        budget,
        ("qemu-system-arm",),
    )


# A single-precision unit is what the M7 of an STM32F746 has, and all that the library asks for.
_SINGLE = ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")

# Flash and RAM of the parts: the front pages of their data sheets (STM32F103xE, nRF52840, STM32F746xG, nRF5340's
# application core) and, of the Alif Ensemble E1C, its MRAM and the core's data TCM (Zephyr's ae1c1f4051920ph0.dtsi).
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _cortex("m3", ("-mfloat-abi=soft",), _mps2("mps2-an385"), Budget("STM32F103RE", 512 * KB, 64 * KB)),
        _cortex(
            "m4",
            ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            _mps2("mps2-an386"),
            Budget("nRF52840", 1 * MB, 256 * KB),
        ),
        _cortex("m7", _SINGLE, _mps2("mps2-an500"), Budget("STM32F746", 1 * MB, 320 * KB)),
        _cortex("m33", _SINGLE, _AN505, Budget("nRF5340", 1 * MB, 512 * KB)),
        _cortex("m55", ("-mfloat-abi=hard",), _AN547, Budget("Alif Ensemble E1C", 1945 * KB, 1536 * KB)),
        Target("host", "", "gcc", ("-ffp-contract=off",)),
        Target(
            "aarch64",
            "aarch64-linux-gnu-",
            "gcc-aarch64-linux-gnu",
            ("-ffp-contract=off",),
            runner=("qemu-aarch64",),
        ),
    )
}


def target_named(name: str) -> Target:
    """The target of that name.

    Raises
    ------
    EdgemoeError
        If there is none.
    """
    if name not in TARGETS:
        raise EdgemoeError(f"target {name!r}: there is none; choose from {', '.join(TARGETS)}")
    return TARGETS[name]
