/* SPDX-License-Identifier: MIT */
/*
 * A terminal, for as long as it is a screen
 *
 * The alternate screen, keys as they are typed, no cursor; and everything as it was afterwards,
 * whatever ends it: the caller, a signal that asks the process to end or to stop, or a crash. One a
 * process.
 */
#ifndef FA_TOP_SCREEN_H
#define FA_TOP_SCREEN_H

#include <stddef.h>

#include "ft_error.h"

enum { FA_TOP_MIN_COLUMNS = 20, FA_TOP_MIN_ROWS = 2 };

/* stdin and stdout are terminals. */
struct ft_error *fa_top_screen_enter(void);
void fa_top_screen_leave(void);

void fa_top_screen_size(unsigned *rows, unsigned *columns);

/* A picture that replaces the one before (fa_top_draw()). */
void fa_top_screen_show(const char *text, size_t len);

/* End as the signal would have ended the process. */
void fa_top_screen_end_by(int signal);

/*
 * Wait for keys, at most so long. Returns how many bytes were read into `keys`; 0: the time is
 * over, or the size has changed, or the screen is shown again after a stop: draw.
 * -1: the terminal has gone, or *signal says which signal asks to end
 * (fa_top_screen_leave(), then fa_top_screen_end_by()).
 */
int fa_top_screen_wait(unsigned milliseconds, char *keys, size_t size, int *signal);

#endif
