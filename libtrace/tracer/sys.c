/* SPDX-License-Identifier: MIT */
/* System calls and strings for the tracer: see tr_sys.h. */
#include "tr_sys.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "tr_session.h"

size_t tr_read_file(const char *path, char *buffer, size_t size)
{
	int fd = (int)tr_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	buffer[0] = '\0';
	if (fd < 0)
		return 0;
	while (n + 1 < size) {
		long got = tr_sys(SYS_read, fd, buffer + n, size - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
	}
	buffer[n] = '\0';
	tr_close(fd);
	return n;
}

uint64_t tr_parse_number(const char *text, uint64_t otherwise)
{
	uint64_t n = 0;

	if (!text || !*text)
		return otherwise;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > UINT32_MAX)
			return otherwise;
		n = n * 10 + (uint64_t)(*text - '0');
	}
	return n;
}

void *tr_reserve_memory(size_t size)
{
	long p = tr_sys(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p < 0 && p > -4096)
		return NULL;
	/* A huge page behind each touched slot would commit the whole reservation. */
	tr_sys(SYS_madvise, p, size, MADV_NOHUGEPAGE);
	tr_sys(SYS_madvise, p, size, MADV_DONTDUMP);
	return (void *)p;
}

void tr_say(const char *what, const char *detail, long code)
{
	char line[512], *at = line;
	const char *end = line + sizeof(line) - 1;

	if (!tr_settings.verbose)
		return;
	at = tr_append(at, end, "fragtrace: ");
	at = tr_append(at, end, what);
	at = tr_append(at, end, detail);
	if (code < 0) {
		at = tr_append(at, end, ": error ");
		at = tr_append_number(at, end, (uint64_t)-code, 10);
	}
	*at++ = '\n';
	tr_sys(SYS_write, 2, line, at - line);
}
