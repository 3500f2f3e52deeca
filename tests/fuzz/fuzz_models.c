/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the models of the page allocator: any order of requests, frees, replayed events and
 * compaction runs leaves lists, pages and counts that agree
 */
#include <stdlib.h>

#include "fa_compact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGES = 5000 };

static void compact(struct fa_zone *zone, uint8_t how, struct ft_error **error)
{
	struct fa_compact_stats stats = {0};
	struct fa_compact_request request = {
		.order = how % 11 - 1,
		.type = (enum fa_migratetype)(how % FA_PCP_TYPES),
		.mode = (enum fa_compact_mode)(how >> 4 & 1),
		.whole_zone = how >> 5 & 1,
		.any_target = how >> 6 & 1,
		.max_move_order = how >> 7 ? 3 : 0,
		.max_pages = how & 64 ? 100 : 0,
	};

	if (how == 255)
		fa_compact_manual(zone, &stats, error);
	else if (how == 254)
		fa_compact_proactive(zone, 100, &stats, error);
	else if (how == 253)
		fa_compact_direct(zone, 9, FA_MOVABLE, FA_EXTFRAG_THRESHOLD, &stats, error);
	else
		fa_compact(zone, &request, &stats, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fa_zone zone;
	struct ft_error *error = NULL;

	if (size < 2)
		return 0;

	struct fa_zone_options options = {
		.rules = data[0] & 1 ? FA_RULES_6_14 : FA_RULES_6_15,
		.no_grouping = data[0] & 2,
		.zone_movable = (data[0] & 12) == 12,
		.no_fragment = data[0] & 16,
		.cpus = data[0] >> 5 & 3,
		.pcp_batch = data[1] & 63,
		.pcp_high = data[1],
		.watermarks = {10, 12, 15},
		.boost_factor = 15000,
	};

	ft_error_destroy(fa_zone_init(&zone, PAGES, &options));
	fa_buddy_add(&zone.buddy, 3, PAGES - 100);
	fa_buddy_add_used(&zone.buddy, PAGES - 90, PAGES);
	fa_zone_ready(&zone);
	/* What, how, and a page. */
	for (size_t i = 2; i + 4 <= size; i += 4) {
		uint32_t page = (uint32_t)(data[i + 2] << 8 | data[i + 3]) % (PAGES + 10);
		unsigned order = data[i + 1] & 15;
		struct fa_zone_request request = {
			.order = order,
			.type = (enum fa_migratetype)(data[i + 1] >> 4 & 3),
			.cpu = data[i + 2],
			.atomic = data[i + 1] >> 6 == 3};

		switch (data[i] % 8) {
		case 0:
		case 1:
			fa_zone_alloc(&zone, request, &error);
			break;
		case 2:
		case 3:
			fa_zone_free(&zone, page, order, data[i + 1] >> 4, &error);
			break;
		case 4:
			fa_buddy_take(&zone.buddy, page, order);
			break;
		case 5:
			fa_buddy_give(&zone.buddy, page, order);
			break;
		case 6:
			compact(&zone, data[i + 1], &error);
			break;
		default:
			fa_zone_drain(&zone);
			fa_zone_unreserve(&zone, FA_MOVABLE);
		}
		ft_error_destroy(error);
	}
	if (!fa_zone_check(&zone))
		abort();
	fa_zone_deinit(&zone);
	return 0;
}
