/* SPDX-License-Identifier: MIT */
/* A traced image's segment: see co_segment.h. */
#include "co_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ft_error.h"
#include "ft_governor.h"
#include "ft_hello.h"
#include "ft_sample.h"

/* Upper bounds for what a segment may claim; far above what the tracer makes. */
enum { MAX_RINGS = 1 << 16, MAX_NODES = 1 << 26 };
#define MAX_RING_BYTES (UINT64_C(1) << 28)

static bool range_fits(uint64_t at, uint64_t n, uint64_t each, uint64_t align, uint64_t size)
{
	uint64_t bytes, end;

	return at >= sizeof(struct ft_segment_header) && at % align == 0 &&
	       !__builtin_mul_overflow(n, each, &bytes) &&
	       !__builtin_add_overflow(at, bytes, &end) && end <= size;
}

static struct ft_error *segment_check(struct co_segment *segment)
{
	const struct ft_segment_header *shared = segment->base;
	struct ft_segment_header header;

	/* One copy, then only the copy: the program may change the original between two looks. */
	memcpy(&header, shared, sizeof(header));

	if (header.magic != FT_SEGMENT_MAGIC)
		return ft_error_create(FT_ERROR_INPUT, "the segment has no valid magic number");
	if (header.version != FT_SEGMENT_VERSION)
		return ft_error_create(
			FT_ERROR_INPUT,
			"the segment has version %u, this collector serves %d: "
			"libfragtrace.so and fragtrace-collector are of different builds",
			header.version, FT_SEGMENT_VERSION);
	if (header.clock_source != FT_CLOCK_TSC && header.clock_source != FT_CLOCK_MONOTONIC)
		return ft_error_create(FT_ERROR_INPUT, "the segment's clock is unknown (%u)",
				       header.clock_source);
	if (header.n_rings == 0 || header.n_rings > MAX_RINGS || header.max_nodes == 0 ||
	    header.max_nodes > MAX_NODES || header.ring_bytes < 4096 ||
	    header.ring_bytes > MAX_RING_BYTES || (header.ring_bytes & (header.ring_bytes - 1)))
		return ft_error_create(FT_ERROR_INPUT, "the segment's sizes are out of range");
	if (header.max_overhead > FT_OVERHEAD_MOST)
		return ft_error_create(FT_ERROR_INPUT, "the segment's limit is out of range");
	if (header.sample_bytes > FT_SAMPLE_MAX)
		return ft_error_create(FT_ERROR_INPUT,
				       "the segment's sampling rate is out of range");
	if (!range_fits(header.rings_at, header.n_rings, sizeof(struct ft_ring_header), 64,
			segment->size) ||
	    !range_fits(header.nodes_at, header.max_nodes, sizeof(struct ft_segment_node), 16,
			segment->size) ||
	    !range_fits(header.bodies_at, header.n_rings, header.ring_bytes, 8, segment->size))
		return ft_error_create(FT_ERROR_INPUT,
				       "the segment's parts do not fit into its %llu bytes",
				       (unsigned long long)segment->size);

	segment->n_rings = header.n_rings;
	segment->max_nodes = (uint32_t)header.max_nodes;
	segment->ring_bytes = header.ring_bytes;
	segment->clock_source = header.clock_source;
	segment->options = header.options;
	segment->sample_bytes = header.sample_bytes;
	segment->max_overhead = header.max_overhead;
	segment->ppid = header.ppid;
	segment->parent_pid = header.parent_pid;
	segment->start_stamp = header.start_stamp;
	segment->fork_stamp = header.fork_stamp;
	segment->start_monotonic_ns = header.start_monotonic_ns;
	segment->start_realtime_ns = header.start_realtime_ns;
	segment->start_boottime_ns = header.start_boottime_ns;
	memcpy(segment->output, header.output, sizeof(segment->output) - 1);
	memcpy(segment->cwd, header.cwd, sizeof(segment->cwd) - 1);
	memcpy(segment->exe, header.exe, sizeof(segment->exe) - 1);
	memcpy(segment->argv, header.argv, sizeof(segment->argv) - 1);
	segment->argv_bytes = header.argv_bytes < sizeof(segment->argv) ? header.argv_bytes
									: sizeof(segment->argv);

	char *base = segment->base;

	segment->header = segment->base;
	segment->rings = (struct ft_ring_header *)(base + header.rings_at);
	segment->nodes = (const struct ft_segment_node *)(base + header.nodes_at);
	segment->bodies = base + header.bodies_at;
	return NULL;
}

struct ft_error *co_segment_map(int fd, struct co_segment *segment)
{
	struct stat st;

	*segment = (struct co_segment){0};

	/* The seal first: what fstat says then stays true. Only a memfd can be sealed. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
		int seals = fcntl(fd, F_GET_SEALS);

		if (seals < 0 || !(seals & F_SEAL_SHRINK))
			return ft_error_create(FT_ERROR_INPUT,
					       "the segment can't be sealed against shrinking");
	}
	if (fstat(fd, &st) < 0)
		return ft_error_os(errno, "can't stat the segment");
	if (st.st_size < (off_t)sizeof(struct ft_segment_header))
		return ft_error_create(FT_ERROR_INPUT, "the segment is too small");

	void *base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return ft_error_os(errno, "can't map the segment");
	segment->base = base;
	segment->size = (uint64_t)st.st_size;
	segment->inode = st.st_ino;

	struct ft_error *error = segment_check(segment);
	if (error)
		co_segment_unmap(segment);
	return error;
}

void co_segment_unmap(struct co_segment *segment)
{
	if (segment->base)
		munmap(segment->base, segment->size);
	segment->base = NULL;
}

const uint64_t *co_segment_ring_body(const struct co_segment *segment, uint32_t ring)
{
	return (const uint64_t *)(segment->bodies + ring * segment->ring_bytes);
}

void co_segment_ring_discard(const struct co_segment *segment, uint32_t ring, uint64_t from,
			     uint64_t to)
{
	uint64_t mask = segment->ring_bytes - 1;
	char *body = (char *)segment->base + (segment->bodies - (const char *)segment->base) +
		     ring * segment->ring_bytes;

	while (from < to) {
		uint64_t to_end = segment->ring_bytes - (from & mask),
			 n = to - from < to_end ? to - from : to_end;

		/* Where it can't be done, the pages stay: nothing depends on it. */
		madvise(body + (from & mask), n, MADV_REMOVE);
		from += n;
	}
}

uint32_t co_segment_n_rings_used(const struct co_segment *segment)
{
	/* Acquire: the owners of the rings wrote their headers before they raised it. */
	uint32_t n = atomic_load_explicit(&segment->header->n_rings_used, memory_order_acquire);

	return n < segment->n_rings ? n : segment->n_rings;
}

void co_futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void co_segment_set_attached(struct co_segment *segment, uint32_t attached)
{
	atomic_store_explicit(&segment->header->attached, attached, memory_order_release);
	co_futex_wake(&segment->header->attached);
}
