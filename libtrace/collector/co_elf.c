/* SPDX-License-Identifier: MIT */
/* ELF headers: see co_elf.h. */
#include "co_elf.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ft_cleanup.h"

#if defined(__x86_64__)
#define NATIVE_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define NATIVE_MACHINE EM_AARCH64
#else
#define NATIVE_MACHINE EM_NONE
#endif

static bool read_at(int fd, void *to, size_t len, uint64_t at)
{
	return at <= INT64_MAX - len && pread(fd, to, len, (off_t)at) == (ssize_t)len;
}

static void read_notes(int fd, const Elf64_Phdr *phdr, struct co_elf *elf)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char notes[4096];
	size_t len = phdr->p_filesz < sizeof(notes) ? phdr->p_filesz : sizeof(notes);
	size_t at = 0;

	if (!read_at(fd, notes, len, phdr->p_offset))
		return;
	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, desc;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
		desc = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > len - at || desc > len - at - name)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    memcmp(notes + at, "GNU", 4) == 0 && note.n_descsz <= 64) {
			for (size_t i = 0; i < note.n_descsz; i++) {
				elf->build_id[2 * i] = digits[notes[at + name + i] >> 4];
				elf->build_id[2 * i + 1] = digits[notes[at + name + i] & 15];
			}
			elf->build_id[2 * note.n_descsz] = 0;
			return;
		}
		at += name + desc;
	}
}

bool co_elf_read(const char *path, struct co_elf *elf)
{
	ft_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	Elf64_Ehdr header;

	*elf = (struct co_elf){0};
	if (fd < 0)
		return false;
	if (!read_at(fd, &header, sizeof(header), 0) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return true;
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
	    header.e_machine != NATIVE_MACHINE) {
		elf->kind = CO_ELF_FOREIGN;
		return true;
	}
	elf->kind = CO_ELF_NATIVE;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr phdr;

		if (header.e_phentsize != sizeof(phdr) ||
		    !read_at(fd, &phdr, sizeof(phdr), header.e_phoff + i * sizeof(phdr)))
			break;
		if (phdr.p_type == PT_INTERP)
			elf->has_interp = true;
		else if (phdr.p_type == PT_NOTE && !elf->build_id[0])
			read_notes(fd, &phdr, elf);
		else if (phdr.p_type == PT_LOAD && elf->n_loads < CO_ELF_MAX_LOADS) {
			elf->loads[elf->n_loads].offset = phdr.p_offset;
			elf->loads[elf->n_loads].vaddr = phdr.p_vaddr;
			elf->loads[elf->n_loads++].memsz = phdr.p_memsz;
		}
	}
	return true;
}

bool co_elf_bias(const struct co_elf *elf, uint64_t start, uint64_t offset, uint64_t *bias)
{
	for (unsigned i = 0; i < elf->n_loads; i++) {
		uint64_t page = elf->loads[i].offset & ~UINT64_C(4095);

		if (offset < page || offset >= elf->loads[i].offset + elf->loads[i].memsz)
			continue;
		*bias = start - offset + elf->loads[i].offset - elf->loads[i].vaddr;
		return true;
	}
	return false;
}
