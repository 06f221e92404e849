/* Instructions, from the board's timers. QEMU's -icount advances its clock by the same time for each instruction, and by
 * more than a tick of these timers, so that a count of ticks belongs to one count of instructions:
 * ticks * EM_BOARD_RATIO / 2**EM_BOARD_RATIO_SHIFT, rounded up. */
#include "em_board.h"
#include "em_board_cortex.h"

static uint64_t em_board_calls;
static uint64_t em_board_call_cost; /* instructions from one reading of the timers to the next one's */

#ifdef EM_BOARD_TIMER
/* CMSDK (Cortex-M System Design Kit, ARM DDI 0479, sections 4.3 and 4.4): both timers count down. The plain one has 32
 * bits at the clock's rate, the dual one 32 bits at a 256th of it: together 40 bits that do not wrap in a measurement. */
static void em_board_start_timers(void) {
    EM_REGISTER(EM_BOARD_TIMER + 0x8) = 0xFFFFFFFFu;      /* RELOAD */
    EM_REGISTER(EM_BOARD_TIMER + 0x4) = 0xFFFFFFFFu;      /* VALUE */
    EM_REGISTER(EM_BOARD_DUAL_TIMER + 0x0) = 0xFFFFFFFFu; /* TIMER1LOAD */
    EM_REGISTER(EM_BOARD_DUAL_TIMER + 0x8) = 0x8Au;       /* TIMER1CONTROL: enabled, prescaled by 256, 32 bits */
    EM_REGISTER(EM_BOARD_TIMER + 0x0) = 1u;               /* CTRL: enabled */
}

static uint64_t em_board_timer_ticks(void) {
    const uint32_t fine = ~EM_REGISTER(EM_BOARD_TIMER + 0x4);
    const uint64_t coarse = (uint64_t)(uint32_t)~EM_REGISTER(EM_BOARD_DUAL_TIMER + 0x4) << 8;
    const uint32_t behind = (uint32_t)coarse - fine + 0x80000000u; /* offset: either may be ahead of the other */
    return coarse + 0x80000000u - behind;
}
#else
/* The SSE-300's system counter (ARM 101773, section 5.7): 64 bits, counting up. */
static void em_board_start_timers(void) { EM_REGISTER(EM_BOARD_COUNTER_CONTROL) = 1u; /* CNTCR: enabled */ }

static uint64_t em_board_timer_ticks(void) {
    const uint32_t high = EM_REGISTER(EM_BOARD_COUNTER + 0x4);
    const uint32_t low = EM_REGISTER(EM_BOARD_COUNTER + 0x0);
    const uint32_t again = EM_REGISTER(EM_BOARD_COUNTER + 0x4);
    return ((uint64_t)again << 32) | (again == high ? low : 0u); /* carried in between: the low word was just 0 */
}
#endif

static uint64_t em_board_instructions(void) {
    const uint64_t round_up = ((uint64_t)1 << EM_BOARD_RATIO_SHIFT) - 1; /* a timer tells whole ticks, rounded down */
    return (em_board_timer_ticks() * EM_BOARD_RATIO + round_up) >> EM_BOARD_RATIO_SHIFT;
}

uint64_t em_board_ticks(void) {
    const uint64_t now = em_board_instructions();
    return now - em_board_call_cost * em_board_calls++;
}

void em_board_clock_start(void) {
    em_board_start_timers();
    const uint64_t first = em_board_ticks();
    em_board_call_cost = em_board_ticks() - first;
}
