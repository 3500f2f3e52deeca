/* SPDX-License-Identifier: MIT */
/* Growing buffer: see ft_strbuf.h. */
#include "ft_strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ft_strbuf_init(struct ft_strbuf *buf)
{
	*buf = (struct ft_strbuf){0};
}

void ft_strbuf_deinit(struct ft_strbuf *buf)
{
	free(buf->data);
	*buf = (struct ft_strbuf){0};
}

void ft_strbuf_clear(struct ft_strbuf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

void *ft_strbuf_reserve(struct ft_strbuf *buf, size_t len)
{
	if (buf->failed)
		return NULL;
	if (len > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4) {
		buf->failed = true;
		return NULL;
	}

	size_t need = buf->len + len + 1;

	if (need > buf->capacity) {
		size_t capacity = buf->capacity ? buf->capacity * 2 : 128;

		if (capacity < need)
			capacity = need;

		char *data = realloc(buf->data, capacity);

		if (!data) {
			buf->failed = true;
			return NULL;
		}
		buf->data = data;
		buf->capacity = capacity;
	}
	return buf->data + buf->len;
}

void ft_strbuf_add(struct ft_strbuf *buf, const void *data, size_t len)
{
	char *room = ft_strbuf_reserve(buf, len);

	if (!room)
		return;
	if (len)
		memcpy(room, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void ft_strbuf_adds(struct ft_strbuf *buf, const char *text)
{
	ft_strbuf_add(buf, text, strlen(text));
}

void ft_strbuf_addc(struct ft_strbuf *buf, char c)
{
	ft_strbuf_add(buf, &c, 1);
}

void ft_strbuf_addf(struct ft_strbuf *buf, const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);

	int len = vsnprintf(NULL, 0, format, args);
	char *room = len < 0 ? NULL : ft_strbuf_reserve(buf, (size_t)len);

	if (room) {
		vsnprintf(room, (size_t)len + 1, format, again);
		buf->len += (size_t)len;
	} else {
		buf->failed = true;
	}
	va_end(again);
	va_end(args);
}

const char *ft_strbuf_text(const struct ft_strbuf *buf)
{
	return buf->data ? buf->data : "";
}

char *ft_strbuf_steal(struct ft_strbuf *buf)
{
	char *data = NULL;

	if (!buf->failed && ft_strbuf_reserve(buf, 0)) {
		data = buf->data;
		data[buf->len] = '\0';
		buf->data = NULL;
	}
	ft_strbuf_deinit(buf);
	return data;
}
