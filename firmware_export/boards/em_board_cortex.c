/* Output and exit by semihosting (ARM's "Semihosting for AArch32 and AArch64", section 5), and the stack's paint. */
#include "em_board_cortex.h"

#include "em_board.h"

enum { EM_WRITE0 = 0x04, EM_EXIT_EXTENDED = 0x20 };
#define EM_APPLICATION_EXIT 0x20026u
#define EM_PAINT 0xA5C3E178
#define EM_TEXT(macro) EM_TEXT_OF(macro)
#define EM_TEXT_OF(tokens) #tokens

extern uint32_t em_board_stack_bottom[], em_board_stack_top[], *em_board_marked;

uint32_t *em_board_marked = em_board_stack_top; /* where the painted stack ends */

static void em_board_host_call(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void em_board_print(const char *text) { em_board_host_call(EM_WRITE0, text); }

void em_board_exit(int code) {
    const uint32_t block[2] = {EM_APPLICATION_EXIT, (uint32_t)code};
    em_board_host_call(EM_EXIT_EXTENDED, block);
    for (;;) {
    }
}

/* In assembly, for it must paint all below its caller's frame and have no frame itself. */
__attribute__((naked)) void em_board_stack_mark(void) {
    __asm volatile(
        "ldr r0, =em_board_stack_bottom\n\t"
        "ldr r1, =" EM_TEXT(EM_PAINT) "\n\t"
        "ldr r3, =em_board_marked\n\t"
        "mov r2, sp\n\t"
        "str r2, [r3]\n"
        "1:\tcmp r0, r2\n\t"
        "itt lo\n\t"
        "strlo r1, [r0], #4\n\t"
        "blo 1b\n\t"
        "bx lr\n\t"
        ".ltorg");
}

uint32_t em_board_stack_peak(void) {
    const uint32_t *word = em_board_stack_bottom;
    while (word < em_board_marked && *(const volatile uint32_t *)word == EM_PAINT) word++;
    return (uint32_t)(em_board_marked - word) * 4u;
}
