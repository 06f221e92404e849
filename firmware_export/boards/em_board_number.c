/* Numbers as text, by subtraction only: a 64-bit division would bring a library function into every linked image. */
#include "em_board.h"

void em_board_print_number(int64_t number) {
    char text[21];
    char *digit = text;
    uint64_t rest = number < 0 ? 0u - (uint64_t)number : (uint64_t)number;
    int started = 0;
    if (number < 0) *digit++ = '-';
    for (int place = 18; place >= 0; place--) { /* 10**18 is the largest power of ten within an int64_t */
        uint64_t power = 1;
        int value = 0;
        for (int k = 0; k < place; k++) power *= 10u;
        for (; rest >= power; value++) rest -= power;
        started = started || value > 0 || place == 0;
        if (started) *digit++ = (char)('0' + value);
    }
    *digit = 0;
    em_board_print(text);
}

void em_board_report(const char *name, int64_t number) {
    em_board_print(name);
    em_board_print(" ");
    em_board_print_number(number);
    em_board_print("\n");
}
