/* SPDX-License-Identifier: MIT */
/* JSON: the whole analysis document, sections and columns, as reports/FORMAT.md has it. */
#include <string.h>

#include "export_impl.h"

FA_EXPORT_WRITER(fa_export_json)
{
	ft_auto_strbuf struct ft_strbuf buf;
	const struct fa_column *column;
	struct fa_json json;
	const char *name;

	ft_strbuf_init(&buf);
	fa_json_init(&json, &buf);
	fa_json_object_begin(&json);
	fa_json_kv_u64(&json, "schema", 1);
	for (size_t i = 0; (name = fa_doc_section_name(source->doc, i)); i++) {
		fa_json_key(&json, name);
		fa_json_raw(&json, fa_doc_section(source->doc, name));
		FT_TRY(fa_export_flush_some(&buf, out));
	}
	fa_json_key(&json, "columns");
	fa_json_object_begin(&json);
	for (size_t i = 0; (column = fa_doc_column_at(source->doc, i)); i++) {
		fa_json_key(&json, column->name);
		fa_json_array_begin(&json);
		for (size_t v = 0; v < column->n; v++) {
			fa_column_emit(&json, column, v);
			FT_TRY(fa_export_flush_some(&buf, out));
		}
		fa_json_array_end(&json);
	}
	fa_json_object_end(&json);
	fa_json_object_end(&json);
	ft_strbuf_addc(&buf, '\n');
	return fa_export_flush(&buf, out);
}
