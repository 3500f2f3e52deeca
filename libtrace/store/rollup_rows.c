/* SPDX-License-Identifier: MIT */
/* Rows of roll-ups: see ft_rollup_rows.h. */
#include "ft_rollup_rows.h"

struct ft_error *ft_rollup_write(sqlite3 *db, const char *path, sqlite3_stmt *insert,
				 struct ft_packer *packer, int64_t id, const struct ft_rollup *r,
				 uint64_t *bytes)
{
	ft_auto_strbuf struct ft_strbuf sites, threads, pairs, largest;

	ft_strbuf_init(&sites);
	ft_strbuf_init(&threads);
	ft_strbuf_init(&pairs);
	ft_strbuf_init(&largest);
	if (!ft_rollup_pack(packer, &r->sites, &sites) ||
	    !ft_rollup_pack(packer, &r->threads, &threads) ||
	    !ft_rollup_pack_pairs(packer, r->pairs, r->n_pairs, &pairs) ||
	    !ft_rollup_pack_largest(packer, r, &largest))
		return &ft_enomem;
	*bytes = sites.len + threads.len + pairs.len + largest.len;
	return ft_db_run(db, path, insert, "zuuuuuuuuuuuuuuuuuuuuuuuuubbbub", (uint64_t)id,
			 (uint64_t)r->level, r->first_ns, r->last_ns, r->first_seq, r->n_events,
			 (uint64_t)r->sites.n, (uint64_t)r->threads.n, (uint64_t)r->n_pairs,
			 (uint64_t)r->cohort_shift, r->n_allocs, r->n_frees, r->bytes_allocated,
			 r->bytes_freed, r->n_unknown_frees, r->n_overlaps, r->low_bytes,
			 r->peak_bytes, r->peak_ns, r->peak_seq, r->peak_variance,
			 r->allocated_variance, r->live_blocks, r->live_bytes, r->live_usable,
			 r->live_variance, sites.data, sites.len, threads.data, threads.len,
			 pairs.data, pairs.len, (uint64_t)r->largest.n, largest.data, largest.len);
}

const char *ft_rollup_from_row(struct ft_unpacker *unpacker, sqlite3_stmt *row,
			       struct ft_rollup *ret)
{
	enum { SITES = 26, THREADS, PAIRS, N_LARGEST, LARGEST };
	struct ft_rollup r = {
		.level = (uint32_t)sqlite3_column_int64(row, 1),
		.first_ns = ft_db_u64(row, 2),
		.last_ns = ft_db_u64(row, 3),
		.first_seq = ft_db_u64(row, 4),
		.n_events = ft_db_u64(row, 5),
		.cohort_shift = (uint32_t)sqlite3_column_int64(row, 9),
		.n_allocs = ft_db_u64(row, 10),
		.n_frees = ft_db_u64(row, 11),
		.bytes_allocated = ft_db_u64(row, 12),
		.bytes_freed = ft_db_u64(row, 13),
		.n_unknown_frees = ft_db_u64(row, 14),
		.n_overlaps = ft_db_u64(row, 15),
		.low_bytes = ft_db_u64(row, 16),
		.peak_bytes = ft_db_u64(row, 17),
		.peak_ns = ft_db_u64(row, 18),
		.peak_seq = ft_db_u64(row, 19),
		.peak_variance = ft_db_u64(row, 20),
		.allocated_variance = ft_db_u64(row, 21),
		.live_blocks = ft_db_u64(row, 22),
		.live_bytes = ft_db_u64(row, 23),
		.live_usable = ft_db_u64(row, 24),
		.live_variance = ft_db_u64(row, 25),
	};
	const char *damage = NULL;

	if (r.first_ns > r.last_ns || r.last_ns > INT64_MAX)
		return "its times are out of order";
	if (r.first_seq > UINT64_MAX / 2 || r.n_events > UINT64_MAX / 2)
		return "its sequence numbers are out of range";
	if (r.cohort_shift > 62)
		return "its cohorts are out of range";
	if (!sqlite3_column_blob(row, SITES) || !sqlite3_column_blob(row, THREADS) ||
	    !sqlite3_column_blob(row, PAIRS))
		return "a part of it is empty";
	damage = ft_rollup_unpack(unpacker, sqlite3_column_blob(row, SITES),
				  (size_t)sqlite3_column_bytes(row, SITES), &r.sites);
	if (!damage)
		damage = ft_rollup_unpack(unpacker, sqlite3_column_blob(row, THREADS),
					  (size_t)sqlite3_column_bytes(row, THREADS), &r.threads);
	if (!damage)
		damage = ft_rollup_unpack_pairs(unpacker, sqlite3_column_blob(row, PAIRS),
						(size_t)sqlite3_column_bytes(row, PAIRS), &r.pairs,
						&r.n_pairs);
	r.largest.unknown = sqlite3_column_type(row, LARGEST) == SQLITE_NULL;
	if (!damage && !r.largest.unknown)
		damage = ft_rollup_unpack_largest(unpacker, sqlite3_column_blob(row, LARGEST),
						  (size_t)sqlite3_column_bytes(row, LARGEST), &r);
	if (!damage && (r.sites.n != (uint64_t)sqlite3_column_int64(row, 6) ||
			r.threads.n != (uint64_t)sqlite3_column_int64(row, 7) ||
			r.n_pairs != (uint64_t)sqlite3_column_int64(row, 8) ||
			r.largest.n != (uint64_t)sqlite3_column_int64(row, N_LARGEST)))
		damage = "its numbers of rows are not those that it states";
	if (damage) {
		ft_rollup_clear(&r);
		return damage;
	}
	*ret = r;
	return NULL;
}
