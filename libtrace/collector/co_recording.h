/* SPDX-License-Identifier: MIT */
/*
 * One recording, from the first thing heard of its image to the closing of its file
 *
 * An image that comes of another one has no file at first: what is known of it is held back. If it
 * ends with fewer calls than the minimum, it leaves a row in the recording that it descends from;
 * else, or when it has lived for CO_UNDECIDED_MS, it gets a file. A file that was made for a
 * long life of few calls goes again at its end. Write thread only.
 *
 *	undecided: no file, blocks are held      open: writer is set      failed: neither
 */
#ifndef CO_RECORDING_H
#define CO_RECORDING_H

#include <stdbool.h>
#include <stdint.h>

#include "co_session.h"
#include "co_spill.h"

enum {
	CO_UNDECIDED_MS = 1000,
	CO_HELD_BLOCKS = 16,	  /* of one image, */
	CO_HELD_BLOCKS_ALL = 128, /* and of all: about 10 MiB of the spill */
};

/* What images that come of this one need to know of it, also when it is gone. */
struct co_ancestry {
	uint64_t id;	  /* of its session */
	uint64_t owner;	  /* id of the session whose file `path` is: its own, or an ancestor's */
	int64_t start_ns; /* CLOCK_MONOTONIC at time 0 of `path` */
	uint64_t fork_ns; /* path is an ancestor's: when the heap parted from it; else, and if
			     it did not come of a fork, FT_TIME_NONE */
	char *path;	  /* NULL: there was never a file */
	char image[17];	  /* random: tells whether a file is the one that is meant */
};

struct co_writer_state {
	struct co_writer_state *next;
	struct co_session *session; /* a reference */
	struct ft_writer *writer;
	struct co_ancestry own;	   /* owner 0 while undecided */
	struct co_ancestry parent; /* path and image owned; id 0: none */
	uint64_t n_events;
	bool has_errors;	       /* a row of a parent's recording could not say so */
	int64_t born_ns, committed_ns; /* CLOCK_MONOTONIC */
	bool dirty;
	bool undecided;
	bool named; /* by the recording of a child */
	struct co_spill_block *held, **held_tail;
	unsigned n_held;
	char *failure; /* why there is no writer any more, NULL: it has not failed */

	/* Rotation: the next recording, while this one goes on; made and not begun. */
	struct ft_writer *next_writer;
	char *next_path;
	struct co_request *preparing; /* until it is known which blocks live */
	struct ft_limits limits;      /* as they are now */
	struct ft_pages *pages;	      /* with limits; of all parts */
	uint32_t part;		      /* recordings of the session that are closed, */
	struct co_ancestry before;    /* the last of these, */
	uint64_t begin_ns;	      /* and when it was closed */

	bool end_waits;	  /* for children that have ended and may become its rows: */
	struct co_op end; /* then this is to be done */
};

/* Takes a reference of the session. NULL when out of memory. */
struct co_writer_state *co_recording_create(struct co_session *session);
void co_recording_destroy(struct co_writer_state *recording); /* holds nothing any more */

/* Copies; false when out of memory. */
bool co_ancestry_copy(struct co_ancestry *to, const struct co_ancestry *from);
void co_ancestry_clear(struct co_ancestry *ancestry);

/* When the image parted from its parent, in the time of the parent's file; FT_TIME_NONE: unknown,
 * or no fork. */
uint64_t co_recording_fork_ns(const struct co_writer_state *recording,
			      const struct co_ancestry *parent);

/* Make the file; recording->parent is set before, if there is one. */
struct ft_error *co_recording_open(struct co_writer_state *recording,
				   const struct ft_limits *limits);

/* Write a block's rows and events. */
struct ft_error *co_recording_rows(struct co_writer_state *recording,
				   const struct co_spill_block *block);

/* Make the file in which co_recording_rotate() goes on. */
struct ft_error *co_recording_prepare(struct co_writer_state *recording);
/* It is not wanted any more; a request that waits for it has failed with `why`. */
void co_recording_unprepare(struct co_writer_state *recording, const char *why);

/*
 * Close the file, and go on in the next one. *closed gets the path of the one that is closed
 * (free() it), also after an error in which case nothing more can be written.
 */
struct ft_error *co_recording_rotate(struct co_writer_state *recording, uint64_t at_ns,
				     char **closed);
/* What `ctl rotate` answers, as JSON. */
void co_recording_tell_rotated(const struct co_writer_state *recording, struct co_request *request);

struct ft_error *co_recording_commit(struct co_writer_state *recording);

/* Write the end, and finish the file. */
struct ft_error *co_recording_end(struct co_writer_state *recording, const struct co_op *end);

/* The row of an image that leaves no file. The image's session is at rest. */
struct ft_error *co_recording_add_child(struct co_writer_state *parent,
					const struct co_writer_state *child,
					const struct co_op *end);

#endif
