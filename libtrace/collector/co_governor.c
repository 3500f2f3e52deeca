/* SPDX-License-Identifier: MIT */
/* Keeping what recording adds below a limit: see co_governor.h. */
#include "co_governor.h"

#include <time.h>

#include "co_session.h"
#include "ft_governor.h"

/* A program that does next to nothing is not slowed down by anybody. */
enum { IDLE_SHARE = 100 };

void co_governor_init(struct co_governor *governor, double limit, uint32_t most)
{
	*governor = (struct co_governor){.limit = limit,
					 .most = most,
					 .patience = CO_GOVERNOR_PATIENCE,
					 .n_back = UINT32_MAX};
}

static double overhead_of(uint64_t cpu_ns, uint64_t recording_ns)
{
	/* What was measured of few events may come out as more than there was. */
	uint64_t own = cpu_ns > recording_ns ? cpu_ns - recording_ns : 1 + cpu_ns / IDLE_SHARE;

	return cpu_ns < (uint64_t)CO_GOVERNOR_WINDOW_NS / IDLE_SHARE
		       ? 0
		       : (double)recording_ns / (double)own;
}

static void step_on(struct co_governor *governor)
{
	/* It was not to be borne one step before, again: be in less of a hurry to go there. */
	if (governor->n_back <= 2 * governor->patience &&
	    governor->patience < CO_GOVERNOR_MOST_PATIENCE)
		governor->patience *= 2;
	if (governor->patience > CO_GOVERNOR_MOST_PATIENCE)
		governor->patience = CO_GOVERNOR_MOST_PATIENCE;
	governor->step++;
	governor->n_below = 0;
	governor->n_back = UINT32_MAX;
}

static void step_back(struct co_governor *governor)
{
	governor->step--;
	governor->n_below = 0;
	governor->n_back = 0;
}

bool co_governor_feed(struct co_governor *governor, uint64_t cpu_ns, uint64_t recording_ns)
{
	double overhead = overhead_of(cpu_ns, recording_ns);
	uint32_t before = governor->step;

	governor->overhead = overhead;
	if (governor->n_back < UINT32_MAX)
		governor->n_back++;
	if (governor->step > governor->most) {
		step_back(governor);
		return true;
	}
	if (overhead > governor->limit) {
		governor->n_below = 0;
		if (governor->step < governor->most)
			step_on(governor);
		return governor->step != before;
	}
	/* A step back that has been borne for long: the load is another one. */
	if (governor->n_back != UINT32_MAX && governor->n_back > 2 * governor->patience) {
		governor->n_back = UINT32_MAX;
		governor->patience = CO_GOVERNOR_PATIENCE;
	}
	governor->n_below = overhead < governor->limit / 2 ? governor->n_below + 1 : 0;
	if (governor->step && governor->n_below >= governor->patience)
		step_back(governor);
	return governor->step != before;
}

/* ---- the program's time -----------------------------------------------------------------------
 */

/* The kernel's number for the processor clock of a process; the call that makes it asks nothing
 * else. */
static bool read_cpu(pid_t pid, uint64_t *ret)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return false;
	*ret = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	return true;
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t recording_ticks(const struct co_session *session)
{
	uint64_t ticks = 0;

	for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++)
		ticks += load(&session->rings[i].consumer.header->recording_ticks);
	return ticks;
}

void co_governor_row(struct co_session *session, uint64_t time_ns)
{
	const struct co_governor *governor = &session->governor;
	const struct ft_segment_header *header = session->segment.header;
	struct ft_governor_step step = ft_governor_step(governor->step);
	struct co_op *op = co_op_create(CO_OP_GOVERNOR, 0);

	if (op) {
		op->governor = (struct ft_governor_row){
			.time_ns = time_ns,
			.step = governor->step,
			.depth = step.depth,
			.sample_bytes = step.sample_bytes,
			.overhead_ppm = (uint64_t)(governor->overhead * 1e6 + 0.5),
			.n_left_out = load(&header->n_left_out),
			.bytes_left_out = load(&header->bytes_left_out),
		};
		for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++) {
			const struct ft_ring_header *ring = session->rings[i].consumer.header;

			op->governor.n_left_out += load(&ring->n_left_out);
			op->governor.bytes_left_out += load(&ring->bytes_left_out);
		}
	}
	co_session_op(session, op);
}

/* What follows is from before the program sees it: a row that says less is recorded comes first. */
static void tell(struct co_session *session)
{
	struct co_governor *governor = &session->governor;
	uint64_t time_ns = co_session_time(session, session->timebase.now.monotonic_ns);

	/* From here on frees may come of blocks that nobody has seen. */
	if (ft_governor_step(governor->step).sample_bytes)
		session->left_out = true;
	co_governor_row(session,
			time_ns > session->timebase.last_ns ? time_ns : session->timebase.last_ns);
	atomic_store_explicit(&session->segment.header->governor_step, governor->step,
			      memory_order_relaxed);
}

void co_governor_pass(struct co_session *session)
{
	struct co_governor *governor = &session->governor;
	int64_t now = session->timebase.now.monotonic_ns;
	uint64_t cpu_ns = 0, ticks;
	bool has_cpu;

	/* A block that the table of live ones had no memory for is not known either when it is
	 * freed: none is left out from then on. */
	if (session->counters.n_untracked)
		governor->most = FT_GOVERNOR_CUTS;
	if (governor->limit <= 0 || now - governor->window_since < CO_GOVERNOR_WINDOW_NS)
		return;
	has_cpu = read_cpu(session->pid, &cpu_ns);
	ticks = recording_ticks(session);
	if (governor->has_cpu && has_cpu && cpu_ns >= governor->cpu_ns &&
	    ticks >= governor->recording_ticks) {
		double passed =
			(double)(now - governor->window_since) / (double)CO_GOVERNOR_WINDOW_NS;
		uint64_t recording_ns =
			(uint64_t)((double)(ticks - governor->recording_ticks) * session->rate);

		/* A window that has become long, because the collector had no processor, counts as
		 * one. */
		if (co_governor_feed(governor,
				     (uint64_t)((double)(cpu_ns - governor->cpu_ns) / passed),
				     (uint64_t)((double)recording_ns / passed)))
			tell(session);
	}
	governor->window_since = now;
	governor->cpu_ns = cpu_ns;
	governor->recording_ticks = ticks;
	governor->has_cpu = has_cpu;
}
