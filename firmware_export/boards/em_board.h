/* What a program that measures the library needs of its board, or of its host: the same seven functions everywhere. */
#ifndef EM_BOARD_H
#define EM_BOARD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Print; a line ends with \n. */
void em_board_print(const char *text);
void em_board_print_number(int64_t number);

/* Print "name number" and a new line: what the Python side reads back by name. */
void em_board_report(const char *name, int64_t number);

/* Instructions executed since the start, less those of this function itself. Exact under QEMU with the -icount that
 * firmware_export/emulator.py passes; on a host always 0: not counted. */
uint64_t em_board_ticks(void);

/* Bytes of stack used below the caller of em_board_stack_mark, at most, since it was called (on a Cortex-M the startup
 * calls it once for the whole program). On a host always 0: not measured. */
void em_board_stack_mark(void);
uint32_t em_board_stack_peak(void);

/* End the program; 0: success. Returning from main does the same. */
void em_board_exit(int code);

#ifdef __cplusplus
}
#endif
#endif
