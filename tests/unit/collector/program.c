/* SPDX-License-Identifier: MIT */
/* A traced program without a program: see program.h. */
#include "program.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <check.h>

#include "fake_store.h"
#include "ft_error.h"
#include "ft_hello.h"

void program_init_segment(struct program *program, unsigned n_rings, uint64_t ring_bytes)
{
	struct ft_segment_header header = {.magic = FT_SEGMENT_MAGIC,
					   .version = FT_SEGMENT_VERSION,
					   .n_rings = n_rings,
					   .ring_bytes = ring_bytes,
					   .max_nodes = PROGRAM_NODES,
					   .clock_source = FT_CLOCK_MONOTONIC,
					   .pid = getpid()};

	memset(program, 0, sizeof(*program));
	header.rings_at = 16384;
	header.nodes_at =
		header.rings_at + (n_rings * sizeof(struct ft_ring_header) + 4095) / 4096 * 4096;
	header.bodies_at = header.nodes_at + PROGRAM_NODES * sizeof(struct ft_segment_node);
	header.size = header.bodies_at + n_rings * ring_bytes;
	header.start_monotonic_ns = co_clock_monotonic() - INT64_C(60000000000);
	if (header.start_monotonic_ns < 0)
		header.start_monotonic_ns = 0;
	header.start_stamp = program->start = (uint64_t)header.start_monotonic_ns;
	strcpy(header.exe, "/usr/bin/program");
	strcpy(header.cwd, "/somewhere");
	memcpy(header.argv, "program\0a \"b\"\n\xff", 15);
	header.argv_bytes = 15;

	program->memfd = memfd_create("fragtrace-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_ge(program->memfd, 0);
	ck_assert_int_eq(ftruncate(program->memfd, (off_t)header.size), 0);
	program->base =
		mmap(NULL, header.size, PROT_READ | PROT_WRITE, MAP_SHARED, program->memfd, 0);
	ck_assert_ptr_ne(program->base, MAP_FAILED);
	program->size = header.size;
	memcpy(program->base, &header, sizeof(header));
	program->header = (struct ft_segment_header *)(void *)program->base;
	program->rings = (struct ft_ring_header *)(void *)(program->base + header.rings_at);
	program->nodes = (struct ft_segment_node *)(void *)(program->base + header.nodes_at);

	for (unsigned i = 0; i < n_rings && i < 64; i++) {
		uint64_t *body =
			(uint64_t *)(void *)(program->base + header.bodies_at + i * ring_bytes);

		ft_ring_producer_init(&program->producers[i], &program->rings[i], body, ring_bytes);
		atomic_store(&program->rings[i].thread, i + 1);
		atomic_store(&program->rings[i].state, FT_RING_ACTIVE);
	}
	atomic_store(&program->header->n_rings_used, n_rings);
	atomic_store(&program->header->n_threads, n_rings);
}

void program_attach(struct program *program)
{
	struct co_segment segment;
	struct ft_error *error = co_segment_map(program->memfd, &segment);

	ck_assert_msg(!error, "%s", error ? error->message : "");
	co_spill_init(&program->spill);
	error = co_session_create(&program->spill, getpid(), &segment, 1, &program->session);
	ck_assert_ptr_null(error);
	error = co_write_create(&program->spill, NULL, NULL, &program->write);
	ck_assert_ptr_null(error);
}

void program_init(struct program *program, unsigned n_rings, uint64_t ring_bytes)
{
	fake_reset();
	program_init_segment(program, n_rings, ring_bytes);
	program_attach(program);
}

void program_deinit(struct program *program)
{
	co_session_flush(program->session);
	while (co_write_step(program->write, 0) && program->spill.first)
		;
	co_session_unref(program->session);
	co_write_destroy(program->write);
	co_spill_deinit(&program->spill);
	munmap(program->base, program->size);
	close(program->memfd);
}

uint32_t program_node(struct program *program, uint32_t parent, uint64_t pc)
{
	uint32_t id = ++program->n_nodes;

	program->nodes[id] = (struct ft_segment_node){.pc = pc, .parent = parent};
	return id;
}

bool program_put(struct program *program, unsigned ring, const uint64_t *words, unsigned n)
{
	uint64_t *at = ft_ring_reserve(&program->producers[ring], n);

	if (!at)
		return false;

	unsigned short_n = ft_wire_shorten(words[0], words, program->last_stamps[ring], at);

	if (!short_n)
		memcpy(at, words, n * sizeof(*words));
	program->last_stamps[ring] = words[1];
	ft_ring_publish(&program->producers[ring], short_n ? short_n : n);
	return true;
}

bool program_alloc(struct program *program, unsigned ring, uint64_t at, uint64_t address,
		   uint64_t size, uint32_t stack)
{
	uint64_t words[] = {ft_wire_head(FT_WIRE_ALLOC, FT_API_MALLOC, 0, 4, stack),
			    program->start + at, address | UINT64_C(8) << FT_WIRE_ADDRESS_BITS,
			    size};

	return program_put(program, ring, words, 4);
}

bool program_free(struct program *program, unsigned ring, uint64_t at, uint64_t address)
{
	uint64_t words[] = {ft_wire_head(FT_WIRE_FREE, FT_API_FREE, 0, 3, 0), program->start + at,
			    address};

	return program_put(program, ring, words, 3);
}

bool program_realloc(struct program *program, unsigned ring, uint64_t early, uint64_t late,
		     uint64_t old, uint64_t address, uint64_t size, uint32_t stack)
{
	uint64_t words[] = {ft_wire_head(FT_WIRE_REALLOC, FT_API_REALLOC, 0, 6, stack),
			    program->start + early,
			    program->start + late,
			    old,
			    address,
			    size};

	return program_put(program, ring, words, 6);
}

static void write_all(struct program *program)
{
	while (program->spill.first)
		co_write_step(program->write, 0);
}

void program_settle(struct program *program)
{
	while (co_session_pass(program->session) != CO_PASS_IDLE)
		write_all(program);
	co_session_flush(program->session);
	write_all(program);
}

void program_end(struct program *program, enum co_end_kind kind, int code)
{
	co_session_end(program->session, kind, code);
	while (!program->session->finished) {
		co_session_pass(program->session);
		write_all(program);
	}
	write_all(program);
}
