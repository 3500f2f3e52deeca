/* SPDX-License-Identifier: MIT */
/* Pages of the trace buffer: pages made by hand, record by record, as the kernel lays them out. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "no_ring.h"

static struct no_layout layouts[FT_NODE_EVENT_KINDS];
static struct ft_node_event events[64];
static size_t n_events;

static void on_event(void *ctx, const struct ft_node_event *event)
{
	(void)ctx;
	events[n_events++ % 64] = *event;
}

struct page {
	uint8_t bytes[4096];
	size_t n;
};

static void put(struct page *page, const void *data, size_t n)
{
	memcpy(page->bytes + page->n, data, n);
	page->n += n;
}

static void put_u32(struct page *page, uint32_t value)
{
	put(page, &value, sizeof(value));
}

static void put_u64(struct page *page, uint64_t value)
{
	put(page, &value, sizeof(value));
}

static void begin(struct page *page, uint64_t time)
{
	page->n = 0;
	put_u64(page, time);
	put_u64(page, 0);
	n_events = 0;
}

static struct no_page_facts decode(struct page *page, uint64_t flags)
{
	uint64_t commit = (page->n - 16) | flags;
	struct no_page_facts facts;

	memcpy(page->bytes + 8, &commit, sizeof(commit));
	no_ring_page(page->bytes, page->n, layouts, 3, on_event, NULL, &facts);
	return facts;
}

/* mm_page_free: 8 bytes of header, pfn, order, and 4 bytes of padding. */
static void put_free(struct page *page, uint32_t delta, uint64_t pfn, uint32_t order)
{
	put_u32(page, delta << 5 | 24 / 4);
	put_u32(page, 655);
	put_u32(page, 1234); /* pid */
	put_u64(page, pfn);
	put_u32(page, order);
	put_u32(page, 0);
}

static void set_up(void)
{
	static const char text[] =
		"ID: 655\n\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;\n"
		"\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;\n";
	struct no_format format;

	memset(layouts, 0, sizeof(layouts));
	ck_assert(no_parse_format(text, strlen(text), &format));
	ck_assert(no_layout_make(FT_NODE_RELEASE, &format, &layouts[FT_NODE_RELEASE]));
	/* An event without the fields that are needed can't be used. */
	ck_assert(!no_layout_make(FT_NODE_TAKE, &format, &layouts[FT_NODE_TAKE]));
}

START_TEST(events_with_their_times)
{
	struct page page;

	begin(&page, 1000);
	put_free(&page, 5, 0x1234, 2);
	put_free(&page, 7, 0x1238, 3);
	ck_assert_uint_eq(decode(&page, 0).n_bad, 0);
	ck_assert_uint_eq(n_events, 2);
	ck_assert_uint_eq(events[0].time_ns, 1005);
	ck_assert_uint_eq(events[1].time_ns, 1012);
	ck_assert_uint_eq(events[1].pfn, 0x1238);
	ck_assert_uint_eq(events[1].order, 3);
	ck_assert_uint_eq(events[1].kind, FT_NODE_RELEASE);
	ck_assert_uint_eq(events[1].cpu, 3);
}
END_TEST

START_TEST(long_times_absolute_stamps_and_discarded_records)
{
	struct page page;

	begin(&page, 1000);
	put_u32(&page, 1U << 5 | 30); /* 1 + 2 * 2^27 */
	put_u32(&page, 2);
	put_free(&page, 3, 1, 0);
	put_u32(&page, 9U << 5 | 31); /* 9 + 4 * 2^27, absolute */
	put_u32(&page, 4);
	put_free(&page, 0, 2, 0);
	put_u32(&page, 6U << 5 | 29); /* a discarded record of 8 bytes takes time too */
	put_u32(&page, 8);
	put_u32(&page, 0);
	put_free(&page, 0, 3, 0);
	ck_assert_uint_eq(decode(&page, 0).n_bad, 0);
	ck_assert_uint_eq(n_events, 3);
	ck_assert_uint_eq(events[0].time_ns, 1000 + 1 + (UINT64_C(2) << 27) + 3);
	ck_assert_uint_eq(events[1].time_ns, 9 + (UINT64_C(4) << 27));
	ck_assert_uint_eq(events[2].time_ns, 9 + (UINT64_C(4) << 27) + 6);
}
END_TEST

START_TEST(a_record_of_any_length)
{
	struct page page;

	begin(&page, 0);
	put_u32(&page, 0); /* the length stands behind */
	put_u32(&page, 28);
	put_u32(&page, 655);
	put_u32(&page, 0);
	put_u64(&page, 77);
	put_u64(&page, 1);
	put_u32(&page, 29); /* the rest of the page is empty */
	put_free(&page, 0, 3, 0);
	ck_assert_uint_eq(decode(&page, 0).n_bad, 0);
	ck_assert_uint_eq(n_events, 1);
	ck_assert_uint_eq(events[0].pfn, 77);
}
END_TEST

START_TEST(other_events_are_passed_over)
{
	struct page page;

	begin(&page, 0);
	put_u32(&page, 2);
	put_u32(&page, 999);
	put_u32(&page, 0);
	put_free(&page, 0, 3, 0);
	ck_assert_uint_eq(decode(&page, 0).n_bad, 0);
	ck_assert_uint_eq(n_events, 1);
}
END_TEST

START_TEST(what_was_overwritten_is_told)
{
	struct page page;

	begin(&page, 0);
	put_free(&page, 0, 3, 0);
	ck_assert_uint_eq(decode(&page, 1U << 31).missed, 1);
	ck_assert_uint_eq(n_events, 1);
}
END_TEST

START_TEST(pages_that_are_not_sound)
{
	struct page page;
	struct no_page_facts facts;

	begin(&page, 0);
	put_free(&page, 0, 3, 0);
	put_u32(&page, 20); /* 80 bytes that are not there */
	ck_assert_uint_eq(decode(&page, 0).n_bad, 1);
	ck_assert_uint_eq(n_events, 1);
	begin(&page, 0);
	put_u32(&page, 3); /* an event of 12 bytes that should have 24 */
	put_u32(&page, 655);
	put_u32(&page, 0);
	put_u32(&page, 0);
	ck_assert_uint_eq(decode(&page, 0).n_bad, 1);
	no_ring_page(page.bytes, 7, layouts, 0, on_event, NULL, &facts);
	ck_assert_uint_eq(facts.n_bad, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node-ring");
	TCase *tests = tcase_create("ring");

	tcase_add_checked_fixture(tests, set_up, NULL);
	tcase_add_test(tests, events_with_their_times);
	tcase_add_test(tests, long_times_absolute_stamps_and_discarded_records);
	tcase_add_test(tests, a_record_of_any_length);
	tcase_add_test(tests, other_events_are_passed_over);
	tcase_add_test(tests, what_was_overwritten_is_told);
	tcase_add_test(tests, pages_that_are_not_sound);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
