/* SPDX-License-Identifier: MIT */
/*
 * Markers for programs under test
 *
 *	#include <fragtrace/mark.h>
 *	...
 *	fragtrace_mark("warm-up done");
 *
 * Header-only. Without the tracer preloaded a mark is one test of a weak symbol; nothing has to be
 * linked. With it, the label and the moment are in the recording: reports show it on the timeline,
 * and analyses can be cut at it.
 */
#ifndef FRAGTRACE_MARK_H
#define FRAGTRACE_MARK_H

#ifdef __cplusplus
extern "C" {
#endif

/* In libfragtrace.so, if it is preloaded. */
extern void fragtrace_mark_(const char *label) __attribute__((weak));

/* Put a mark into the recording. Any thread, any time; labels of up to 2 000 bytes. */
static inline void fragtrace_mark(const char *label)
{
	if (fragtrace_mark_)
		fragtrace_mark_(label);
}

#ifdef __cplusplus
}
#endif
#endif
