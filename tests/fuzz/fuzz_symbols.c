/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the symbol resolver: any bytes are an ELF file with names or one without
 *
 * Feeds elfutils too: a crash inside libdw is contained by the worker process in the product, so
 * that what counts here is our own walk (run with the corpus of tests/unit/symbol's fixtures).
 * Addresses are taken from the file's end, so that the fuzzer chooses them.
 */
#include <elfutils/libdwelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ft_symbol.h"
#include "object.h"

enum { N_LOOKUPS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int compare(const void *a, const void *b)
{
	const struct ft_lookup *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

/* The build-id that the bytes claim, so that they are believed. malloc'ed, or NULL. */
static char *build_id_of(int fd)
{
	const void *id;
	char *text = NULL;
	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	ssize_t n = elf ? dwelf_elf_gnu_build_id(elf, &id) : -1;

	if (n > 0 && n < 64) {
		text = calloc(1, 2 * (size_t)n + 1);
		for (ssize_t i = 0; text && i < n; i++)
			sprintf(text + 2 * i, "%02x", ((const unsigned char *)id)[i]);
	}
	elf_end(elf);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t low[N_LOOKUPS];
	if (size < sizeof(low))
		return 0;
	size -= sizeof(low);
	memcpy(low, data + size, sizeof(low));

	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	struct ft_lookup lookups[N_LOOKUPS];
	for (size_t i = 0; i < N_LOOKUPS; i++)
		lookups[i] = (struct ft_lookup){.offset = low[i] + 1u, .address = low[i]};
	qsort(lookups, N_LOOKUPS, sizeof(lookups[0]), compare);

	struct ft_object object;
	struct ft_frame_table table;
	char *id = build_id_of(fd);
	struct ft_object_identity identity = {.path = path, .build_id = id};

	ft_frame_table_init(&table);
	if (ft_object_open(&object, &identity, "/nowhere") == FT_OBJECT_OK)
		ft_object_resolve(&object, lookups, N_LOOKUPS, &table);
	ft_object_close(&object);
	ft_frame_table_sort(&table);
	ft_frame_table_find(&table, lookups[0].offset);
	ft_frame_table_deinit(&table);
	free(id);
	close(fd);
	return 0;
}
