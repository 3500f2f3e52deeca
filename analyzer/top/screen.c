/* SPDX-License-Identifier: MIT */
/* A terminal, for as long as it is a screen: see fa_top_screen.h. */
#include "fa_top_screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Alternate screen, cursor off; and back. */
#define ENTER "\033[?1049h\033[?25l\033[2J"
#define LEAVE "\033[0m\033[?25h\033[?1049l"

static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

static struct {
	struct termios before;
	volatile sig_atomic_t shown; /* the terminal is ours */
	volatile sig_atomic_t ending, stopping, changed;
	sigset_t waiting; /* the mask while we wait: signals come there and nowhere else */
	bool clear;
} screen;

static void write_all(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* it has gone: reading will say so */
		text += n;
		len -= (size_t)n;
	}
}

static void show(void)
{
	struct termios raw = screen.before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	screen.shown = 1;
	write_all(ENTER, strlen(ENTER));
	screen.clear = true;
}

/* From signal handlers, too. */
static void hide(void)
{
	if (!screen.shown)
		return;
	screen.shown = 0;
	write_all(LEAVE, strlen(LEAVE));
	tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
}

/* ---- signals -----------------------------------------------------------------------------------
 */

static void on_ending(int signal)
{
	screen.ending = signal;
}

static void on_stop(int signal)
{
	screen.stopping = 1;
}

static void on_change(int signal)
{
	screen.changed = 1;
}

/* The handler was reset: returning raises it again, or the caller's abort() does. */
static void on_crash(int signal)
{
	hide();
	raise(signal);
}

static void handle(int signal, void (*handler)(int), int flags, sigset_t *blocked)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigfillset(&action.sa_mask);
	sigaction(signal, &action, NULL);
	if (blocked)
		sigaddset(blocked, signal);
}

static void catch_signals(void)
{
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		handle(endings[i], on_ending, 0, &blocked);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
		handle(crashes[i], on_crash, SA_RESETHAND | SA_NODEFER, NULL);
	handle(SIGTSTP, on_stop, 0, &blocked);
	handle(SIGCONT, on_change, 0, &blocked);
	handle(SIGWINCH, on_change, 0, &blocked);
	sigprocmask(SIG_BLOCK, &blocked, &screen.waiting);
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		sigdelset(&screen.waiting, endings[i]);
	sigdelset(&screen.waiting, SIGTSTP);
	sigdelset(&screen.waiting, SIGCONT);
	sigdelset(&screen.waiting, SIGWINCH);
}

/* The shell gets its terminal back until it says `fg`. */
static void stop(void)
{
	screen.stopping = 0;
	hide();
	raise(SIGSTOP);
	show();
}

/* ---- for the caller ----------------------------------------------------------------------------
 */

struct ft_error *fa_top_screen_enter(void)
{
	if (tcgetattr(STDIN_FILENO, &screen.before) < 0)
		return ft_error_os(errno, "standard input is no terminal");
	catch_signals();
	show();
	return NULL;
}

void fa_top_screen_leave(void)
{
	hide();
	for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
		signal(crashes[i], SIG_DFL);
}

void fa_top_screen_size(unsigned *rows, unsigned *columns)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*rows = size.ws_row >= FA_TOP_MIN_ROWS ? size.ws_row : 24;
	*columns = size.ws_col >= FA_TOP_MIN_COLUMNS ? size.ws_col : 80;
}

void fa_top_screen_show(const char *text, size_t len)
{
	/* What is drawn anew in place does not flicker; the rest of the screen goes after it. */
	if (screen.clear)
		write_all("\033[2J", 4);
	screen.clear = false;
	write_all("\033[H", 3);
	write_all(text, len);
}

int fa_top_screen_wait(unsigned milliseconds, char *keys, size_t size, int *signal)
{
	struct timespec limit = {.tv_sec = milliseconds / 1000,
				 .tv_nsec = (long)(milliseconds % 1000) * 1000000};
	struct pollfd poll = {STDIN_FILENO, POLLIN, 0};
	int n = ppoll(&poll, 1, &limit, &screen.waiting);
	ssize_t got;

	*signal = 0;
	if (screen.ending) {
		*signal = screen.ending;
		return -1;
	}
	if (screen.stopping) {
		stop();
		return 0;
	}
	if (screen.changed) {
		screen.changed = 0;
		screen.clear = true;
		return 0;
	}
	if (n <= 0)
		return n < 0 && errno != EINTR ? -1 : 0;
	got = read(STDIN_FILENO, keys, size);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return got > 0 ? (int)got : -1;
}

void fa_top_screen_end_by(int number)
{
	sigset_t one;

	signal(number, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
}
