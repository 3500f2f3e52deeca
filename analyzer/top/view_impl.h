/* SPDX-License-Identifier: MIT */
/* What the views of `top` share: the sites that are shown. */
#ifndef FA_TOP_VIEW_IMPL_H
#define FA_TOP_VIEW_IMPL_H

#include "fa_top_view.h"

/* At most `max` rows by the view's order, filter and place. *n_naming: sites that the filter can't
 * judge yet. */
size_t fa_top_view_rows(struct fa_top_view *view, const struct fa_top_scene *scene,
			struct fa_top_row *rows, size_t max, unsigned *n_naming);

#endif
