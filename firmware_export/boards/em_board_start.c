/* From reset to main on any Cortex-M: the vectors, the floating-point unit, .data, .bss, the stack's paint. */
#include "em_board.h"
#include "em_board_cortex.h"

int main(void);
void em_board_reset(void);
void em_board_fault(void);

/* The linker script's. */
extern uint32_t em_board_stack_top[], em_board_data_start[], em_board_data_end[], em_board_data_image[],
    em_board_bss_start[], em_board_bss_end[];

typedef union {
    void *stack;
    void (*handler)(void);
} em_vector;

/* The initial stack pointer, reset, and the fourteen system exceptions of ARMv7-M and ARMv8-M: any is a failure, since
 * nothing here enables one. No peripheral interrupt is enabled either. */
__attribute__((section(".vectors"), used)) const em_vector em_board_vectors[16] = {
    {em_board_stack_top},
    {.handler = em_board_reset},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
    {.handler = em_board_fault},
};

/* Not inlined into the reset handler, which may touch no floating-point register before the unit is on. */
__attribute__((noinline)) static int em_board_main(void) {
    em_board_clock_start();
    em_board_stack_mark();
    return main();
}

void em_board_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    EM_REGISTER(0xE000ED88) |= 0xFu << 20; /* CPACR: full access to coprocessors 10 and 11, the FPU and Helium */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    /* volatile: or the compiler calls memcpy and memset, which the size of the library would then miss. */
    const uint32_t *image = em_board_data_image;
    for (volatile uint32_t *word = em_board_data_start; word < em_board_data_end; word++) *word = *image++;
    for (volatile uint32_t *word = em_board_bss_start; word < em_board_bss_end; word++) *word = 0;
    em_board_exit(em_board_main());
}

void em_board_fault(void) {
    em_board_report("fault: exception", (int64_t)(EM_REGISTER(0xE000ED04) & 0x1FFu)); /* ICSR.VECTACTIVE */
    em_board_report("fault: configurable fault status", (int64_t)EM_REGISTER(0xE000ED28)); /* CFSR */
    em_board_exit(EM_BOARD_FAULT);
}
