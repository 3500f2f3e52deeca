/* SPDX-License-Identifier: MIT */
/* Layout: see fa_layout.h. */
#include "fa_layout.h"

void fa_layout_init(struct fa_layout *layout, unsigned phase)
{
	*layout = (struct fa_layout){0};
	fa_pagemap_init(&layout->pages, FA_PAGE_SHIFT, true);
	fa_pagemap_init(&layout->mapped, FA_PAGE_SHIFT, true);
	fa_holes_init(&layout->holes, phase);
	ft_map_init(&layout->refused);
}

void fa_layout_deinit(struct fa_layout *layout)
{
	fa_pagemap_deinit(&layout->pages);
	fa_pagemap_deinit(&layout->mapped);
	fa_holes_deinit(&layout->holes);
	fa_regions_deinit(&layout->own);
	ft_map_deinit(&layout->refused);
}

static struct ft_error *refuse(struct fa_layout *layout, uint64_t address)
{
	layout->n_refused++;
	return ft_map_put(&layout->refused, address, NULL) ? NULL : &ft_enomem;
}

struct ft_error *fa_layout_add(struct fa_layout *layout, const struct fa_place *place,
			       uint64_t address, uint32_t site)
{
	const uint64_t start = place->start, end = place->end;
	bool refused;

	if (place->own_mapping) {
		FT_TRY(fa_pagemap_add(&layout->mapped, start, end, site, &refused));
		return refused ? refuse(layout, address)
			       : fa_regions_cover(&layout->own, start, end, 0);
	}
	FT_TRY(fa_holes_add(&layout->holes, start, end, place->tag, &refused));
	if (refused)
		return refuse(layout, address);
	FT_TRY(fa_pagemap_add(&layout->pages, start, end, site, &refused));
	if (refused) {
		fa_holes_remove(&layout->holes, start, end);
		return refuse(layout, address);
	}
	return NULL;
}

void fa_layout_remove(struct fa_layout *layout, const struct fa_place *place, uint64_t address,
		      uint32_t site)
{
	if (ft_map_count(&layout->refused) && ft_map_remove(&layout->refused, address, NULL))
		return;
	if (place->own_mapping) {
		fa_pagemap_remove(&layout->mapped, place->start, place->end, site);
		return;
	}
	fa_holes_remove(&layout->holes, place->start, place->end);
	fa_pagemap_remove(&layout->pages, place->start, place->end, site);
}

struct ft_error *fa_layout_pass(struct fa_layout *layout, const struct fa_place *place)
{
	if (place->own_mapping) {
		fa_pagemap_touch(&layout->mapped, place->start, place->end);
		return fa_regions_cover(&layout->own, place->start, place->end, 0);
	}
	fa_pagemap_touch(&layout->pages, place->start, place->end);
	return NULL;
}
