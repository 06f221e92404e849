/* The board's functions on a host with an operating system. */
#include "em_board.h"

#include <stdio.h>
#include <stdlib.h>

void em_board_print(const char *text) { fputs(text, stdout); }
void em_board_exit(int code) { exit(code); }
uint64_t em_board_ticks(void) { return 0; }
void em_board_stack_mark(void) {}
uint32_t em_board_stack_peak(void) { return 0; }
