/* The program without the library: what its image holds belongs to the board. */
#include "em_board.h"

int main(void) {
    em_board_stack_mark();
    em_board_report("instructions", (int64_t)em_board_ticks());
    em_board_report("stack", em_board_stack_peak());
    em_board_exit(0);
    return 0;
}
