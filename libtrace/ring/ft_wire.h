/* SPDX-License-Identifier: MIT */
/*
 * Wire records: what a traced thread writes into its ring
 *
 * A record is 1 to FT_WIRE_MAX_WORDS 64-bit words in the machine's own byte order: producer and
 * consumer run on one machine. The first word says what it is:
 *
 *	bits  0- 7  type (enum ft_wire_type)      bits 16-23  flags (enum ft_event_flags)
 *	bits  8-15  api (enum ft_api)             bits 24-31  length in words, this one included
 *	bits 32-63  stack id, or what the type says
 *
 * Addresses of user space have 47 bits; the upper 16 bits of an address word carry a small number
 * beside it. The collector trusts none of this: the traced program can scribble over the ring.
 *
 * Nearly all records are SHORT ones, 24 bytes an allocation and 16 bytes a free. Their stamp is a
 * difference, which has to fit into 32 bits, to the stamp of the record before them in the ring,
 * whatever that was: its word 1, or in its turn a sum. What does not fit (a size of 4 GiB, a stamp
 * that goes back, an alignment, a stack of a free) is written as the long form.
 */
#ifndef FT_WIRE_H
#define FT_WIRE_H

#include <stdint.h>

enum ft_wire_type {
	FT_WIRE_PAD = 0,     /* skip `length` words */
	FT_WIRE_ALLOC = 1,   /* head, stamp, address | extra, size [, usable] [, align_log2] */
	FT_WIRE_FREE = 2,    /* head (stack 0 or the freeing stack), stamp, address | given
				[, size] */
	FT_WIRE_REALLOC = 3, /* head, early stamp, late stamp, old address, new address | extra,
				size [, usable] */
	FT_WIRE_THREAD = 4,  /* head (upper: tid), stamp, start routine, 16 bytes of name, serial:
				the records that follow in this ring are this thread's */
	FT_WIRE_THREAD_END = 5, /* head (upper: tid), stamp, 16 bytes of name: the last name; late
				   events of the same thread (libc's own clean-up) may follow */
	FT_WIRE_MODULE = 6, /* head (upper: bytes of text), stamp, bias, start, end, build-id length
			     * (bytes) | serial << 32, 32 bytes of build-id, then the path, padded
			     * with zeros. The serial tells loads of one library from each other */
	FT_WIRE_MODULE_END = 7, /* head (upper: serial), stamp, start, the greatest node id then:
				 * a later node at these addresses is another module's */
	FT_WIRE_LOSS = 8,	/* head, stamp, number of events lost since the record before. The
				   next event carries FT_EVENT_F_AFTER_LOSS */
	FT_WIRE_MARK = 9,	/* head (api: enum ft_wire_mark, upper: bytes of text), stamp, text
				   padded with zeros */
	FT_WIRE_ERROR =
		10, /* head (stack of the bad call), stamp, address, kind (enum ft_wire_error)
		     * | region (enum ft_wire_region) << 8 | bytes of text << 16, offset, then the
		     * text, padded with zeros: what the address lies in, and how far */
	FT_WIRE_SHORT_ALLOC = 11, /* head, address | extra, size | stamp difference << 32 */
	FT_WIRE_SHORT_FREE = 12,  /* head (upper: stamp difference), address | given */
	FT_WIRE_STACK = 13, /* head (api: enum ft_wire_stack), stamp, pcs, outermost first: a stack
			       for which the tree has no room; for the events of this ring
			       that name FT_WIRE_RAW_STACK, until the next */
	FT_WIRE_POOL = 14,  /* head (api: enum ft_wire_pool, upper: stack), stamp, pool, block, size
			     * (CREATE: bytes of the name), then the name, padded with zeros */
	FT_WIRE_MAP = 15,   /* head (api: enum ft_wire_map, upper: stack), stamp (after the call),
			     * stamp before it, address, bytes, old address, old bytes, detail */
};

/*
 * Calls that map, move and unmap memory, when they have succeeded. `address` and `bytes` are what
 * is mapped after it (madvise: what it is about), `old` what was before it: of munmap(), of
 * mremap(), and of a program break that moved down. Lengths are as they were given. What lies at
 * the old place and was mapped after the stamp before the call is another thread's.
 */
enum ft_wire_map {
	FT_WIRE_MAP_MMAP = 1, /* detail: prot | flags << 32 */
	FT_WIRE_MAP_MUNMAP = 2,
	FT_WIRE_MAP_MREMAP = 3, /* detail: flags << 32 */
	FT_WIRE_MAP_BRK = 4,
	FT_WIRE_MAP_SBRK = 5,
	FT_WIRE_MAP_MADVISE = 6, /* detail: the advice << 32 */
	FT_WIRE_MAP_N
};
enum { FT_WIRE_MAP_WORDS = 8 };

/* As enum fragtrace_pool_call of fragtrace/mark.h. */
enum ft_wire_pool {
	FT_WIRE_POOL_CREATE = 1,
	FT_WIRE_POOL_ADD = 2,
	FT_WIRE_POOL_ALLOC = 3,
	FT_WIRE_POOL_FREE = 4,
	FT_WIRE_POOL_RESET = 5,
	FT_WIRE_POOL_DESTROY = 6,
};

/* What the pcs of a STACK record go on from. */
enum ft_wire_stack {
	FT_WIRE_STACK_NODE = 0, /* the node in the head's upper half; 0: they are the whole stack */
	FT_WIRE_STACK_MORE = 1, /* the STACK record before, in the same ring */
};

/* A stack id that is none: see FT_WIRE_STACK. */
#define FT_WIRE_RAW_STACK UINT32_MAX

enum { FT_WIRE_SHORT_ALLOC_WORDS = 3, FT_WIRE_SHORT_FREE_WORDS = 2 };

enum { FT_WIRE_MIN_WORDS = 2, FT_WIRE_MAX_WORDS = 255, FT_WIRE_NAME = 16, FT_WIRE_BUILD_ID = 32 };

/* Who speaks in a mark: the kinds of the recording's `mark` table. */
enum ft_wire_mark {
	FT_WIRE_MARK_USER = 0,	     /* the program */
	FT_WIRE_MARK_SELF_CHECK = 1, /* the tracer: a stack that is not what libunwind says */
};

/* What a bad call was: the kinds of the recording's `error` table, in its order. The tracer knows
 * no live blocks: of a record of its own, the collector asks whether the block lives. */
enum ft_wire_error {
	FT_WIRE_DOUBLE_FREE = 1,
	FT_WIRE_INTERIOR_FREE = 2,
	FT_WIRE_INVALID_FREE = 3,
	FT_WIRE_MISMATCHED_FREE = 4,
	FT_WIRE_BAD_SIZE = 5,
	FT_WIRE_SUSPECT = 6, /* nothing but a block that is free already should look like that */
};

/* What lies at a bad address. */
enum ft_wire_region {
	FT_WIRE_REGION_UNKNOWN = 0,
	FT_WIRE_REGION_HEAP = 1,
	FT_WIRE_REGION_STACK = 2, /* offset: the serial of the thread, 0 if it is not known */
	FT_WIRE_REGION_DATA = 3,  /* of a module: text and offset say where */
	FT_WIRE_REGION_CODE = 4,
	FT_WIRE_REGION_FILE = 5, /* another mapped file */
	FT_WIRE_REGION_MMAP = 6, /* anonymous memory that is no heap */
	FT_WIRE_REGION_UNMAPPED = 7,
	FT_WIRE_REGION_OTHER = 8, /* the kernel's: text is its name */
	FT_WIRE_REGION_N
};

/* `extra` beside an address: usable - requested. FT_WIRE_EXTRA_ESCAPE: a further word holds
 * `usable`. */
enum { FT_WIRE_ADDRESS_BITS = 48, FT_WIRE_EXTRA_ESCAPE = 0xffff };

/* `given` beside the address of a free: the size that the caller gave with it, + 1; 0: none.
 * FT_WIRE_GIVEN_ESCAPE: a further word holds the size. */
enum { FT_WIRE_GIVEN_ESCAPE = 0xffff };

static inline uint64_t ft_wire_head(unsigned type, unsigned api, unsigned flags, unsigned words,
				    uint32_t upper)
{
	return (uint64_t)type | (uint64_t)api << 8 | (uint64_t)flags << 16 | (uint64_t)words << 24 |
	       (uint64_t)upper << 32;
}
static inline unsigned ft_wire_type(uint64_t head)
{
	return head & 0xff;
}
static inline unsigned ft_wire_api(uint64_t head)
{
	return head >> 8 & 0xff;
}
static inline unsigned ft_wire_flags(uint64_t head)
{
	return head >> 16 & 0xff;
}
static inline unsigned ft_wire_words(uint64_t head)
{
	return head >> 24 & 0xff;
}
static inline uint32_t ft_wire_upper(uint64_t head)
{
	return (uint32_t)(head >> 32);
}

/*
 * The short form into `to` of an ALLOC or FREE with this head and these words (words[0] is not
 * looked at), after a record with the stamp `last`. Returns its length in words; 0: it has none.
 */
static inline unsigned ft_wire_shorten(uint64_t head, const uint64_t *words, uint64_t last,
				       uint64_t *to)
{
	/* A stamp that goes back makes a difference that is too long. */
	uint64_t delta = words[1] - last, api_flags = head & 0xffff00;

	if (delta > UINT32_MAX)
		return 0;
	if (ft_wire_type(head) == FT_WIRE_FREE && ft_wire_words(head) == 3 &&
	    !ft_wire_upper(head)) {
		to[0] = ft_wire_head(FT_WIRE_SHORT_FREE, 0, 0, FT_WIRE_SHORT_FREE_WORDS,
				     (uint32_t)delta) |
			api_flags;
		to[1] = words[2];
		return FT_WIRE_SHORT_FREE_WORDS;
	}
	if (ft_wire_type(head) == FT_WIRE_ALLOC && ft_wire_words(head) == 4 &&
	    words[3] <= UINT32_MAX) {
		to[0] = ft_wire_head(FT_WIRE_SHORT_ALLOC, 0, 0, FT_WIRE_SHORT_ALLOC_WORDS,
				     ft_wire_upper(head)) |
			api_flags;
		to[1] = words[2];
		to[2] = words[3] | delta << 32;
		return FT_WIRE_SHORT_ALLOC_WORDS;
	}
	return 0;
}

#endif
