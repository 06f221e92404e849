/* What the files of a Cortex-M board share. */
#ifndef EM_BOARD_CORTEX_H
#define EM_BOARD_CORTEX_H

#include <stdint.h>

#define EM_REGISTER(address) (*(volatile uint32_t *)(address))
#define EM_BOARD_FAULT 125 /* the exit code of a program that faulted */

void em_board_clock_start(void);

#endif
