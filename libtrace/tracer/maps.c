/* SPDX-License-Identifier: MIT */
/* What is mapped: see tr_maps.h. */
#include "tr_maps.h"

#include <fcntl.h>

/* Where in a line "start-end perms offset device inode   name" the reader is. */
enum field { START, END, PERMS, OFFSET, DEVICE, INODE, BLANK, NAME, SKIP };

struct reader {
	enum field field;
	uintptr_t address;
	struct tr_mapping *mapping;
	char *name;
	size_t n_name, room;
	unsigned n_perms;
	bool done, found;
};

static uint64_t hex(uint64_t value, unsigned char c)
{
	return value << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

static void end_line(struct reader *r)
{
	/* In order of addresses: what comes further on is not it. */
	r->done = r->found || r->mapping->low > r->address;
	if (r->found)
		return;
	r->field = START;
	r->mapping->low = r->mapping->high = 0;
}

static void take(struct reader *r, unsigned char c)
{
	struct tr_mapping *m = r->mapping;

	if (c == '\n') {
		end_line(r);
		return;
	}
	switch (r->field) {
	case START:
		if (c == '-')
			r->field = END;
		else
			m->low = hex(m->low, c);
		break;
	case END:
		if (c != ' ') {
			m->high = hex(m->high, c);
			break;
		}
		r->found = r->address - m->low < m->high - m->low;
		r->field = r->found ? PERMS : SKIP;
		break;
	case PERMS:
		if (c == ' ')
			r->field = OFFSET;
		else if (r->n_perms < sizeof(m->perms))
			m->perms[r->n_perms++] = (char)c;
		break;
	case OFFSET:
		if (c == ' ')
			r->field = DEVICE;
		else
			m->offset = hex(m->offset, c);
		break;
	case DEVICE:
	case INODE:
		r->field += c == ' ';
		break;
	case BLANK:
		if (c == ' ')
			break;
		r->field = NAME;
		__attribute__((fallthrough));
	case NAME:
		if (r->n_name + 1 < r->room)
			r->name[r->n_name++] = (char)c;
		break;
	case SKIP:
		break;
	}
}

bool tr_read_mapping(uintptr_t address, struct tr_mapping *ret, char *name, size_t room)
{
	char buffer[512] = {0};
	struct reader r = {.address = address, .mapping = ret, .name = name, .room = room};
	int fd = (int)tr_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	long n = 1;

	*ret = (struct tr_mapping){.known = false};
	while (fd >= 0 && !r.done && n > 0) {
		n = tr_sys(SYS_read, fd, buffer, sizeof(buffer));
		for (long i = 0; i < n && !r.done; i++)
			take(&r, (unsigned char)buffer[i]);
		ret->known |= n > 0;
	}
	tr_close(fd);
	if (room)
		name[r.n_name] = '\0';
	if (!r.found)
		*ret = (struct tr_mapping){.known = ret->known};
	return r.found;
}

bool tr_find_mapping(uintptr_t address, struct tr_extent *ret)
{
	struct tr_mapping mapping;
	bool found = tr_read_mapping(address, &mapping, NULL, 0);

	*ret = (struct tr_extent){mapping.low, mapping.high};
	return found;
}
