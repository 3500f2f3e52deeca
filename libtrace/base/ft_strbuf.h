/* SPDX-License-Identifier: MIT */
/*
 * Growing text or byte buffer
 *
 * Out of memory is remembered (`failed`), later appends do nothing: build first, check once at the
 * end. `data` is always NUL-terminated while it is not NULL. Single-threaded.
 */
#ifndef FT_STRBUF_H
#define FT_STRBUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct ft_strbuf {
	char *data; /* owned; NULL while empty */
	size_t len, capacity;
	bool failed;
};

void ft_strbuf_init(struct ft_strbuf *buf);
void ft_strbuf_deinit(struct ft_strbuf *buf);
void ft_strbuf_clear(struct ft_strbuf *buf); /* keeps the memory */

void ft_strbuf_add(struct ft_strbuf *buf, const void *data, size_t len);
void ft_strbuf_adds(struct ft_strbuf *buf, const char *text);
void ft_strbuf_addc(struct ft_strbuf *buf, char c);
__attribute__((format(printf, 2, 3))) void ft_strbuf_addf(struct ft_strbuf *buf, const char *format,
							  ...);

/* Room for `len` more bytes at the end; write there, then raise `len`. NULL when out of memory. */
void *ft_strbuf_reserve(struct ft_strbuf *buf, size_t len);

/* The text ("" while empty), borrowed. */
const char *ft_strbuf_text(const struct ft_strbuf *buf);

/* The text as malloc'ed memory of the caller's; the buffer is empty afterwards. NULL when failed.
 */
char *ft_strbuf_steal(struct ft_strbuf *buf);

#define ft_auto_strbuf __attribute__((cleanup(ft_strbuf_deinit)))

#endif
