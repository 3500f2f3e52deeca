/* SPDX-License-Identifier: MIT */
/* Roll-ups: see ft_rollup.h. */
#include "ft_rollup.h"

#include <stdlib.h>
#include <string.h>

#include "fragtrace/event.h"

/* Few columns: an interval has few rows as a rule, and each column costs its frame. */
enum account_column { ACOL_ACCOUNT, ACOL_COHORT, ACOL_N };
enum pair_column { PCOL_PAIR, PCOL_N };
enum largest_column { LCOL_BIRTH, LCOL_N };

enum {
	VARINT = 10,
	ACCOUNT_BYTES = VARINT * (FT_ROLLUP_FIELDS + 2),
	LEAST_ACCOUNT = FT_ROLLUP_FIELDS + 2, /* bytes, one a number */
	LEAST_PAIR = 3,
	COHORT_BYTES = 3 * VARINT,
	COHORTS_BYTES = COHORT_BYTES * FT_ROLLUP_MAX_COHORTS, /* of one account */
	PAIR_BYTES = 3 * VARINT,
	BIRTH_BYTES = 7 * VARINT,
};
_Static_assert((int)COHORTS_BYTES <= (int)UINT16_MAX, "bound of a column's row");

void ft_rollup_clear(struct ft_rollup *rollup)
{
	free(rollup->sites.accounts);
	free(rollup->sites.cohorts);
	free(rollup->threads.accounts);
	free(rollup->threads.cohorts);
	free(rollup->pairs);
	*rollup = (struct ft_rollup){0};
}

/* ---- blobs ------------------------------------------------------------------------------------
 */

/* These are near `live_bytes` or `live_blocks`: written as the difference to them. */
static int relative_to(int field)
{
	switch (field) {
	case FT_ROLLUP_LOW_BYTES:
	case FT_ROLLUP_PEAK_BYTES:
		return FT_ROLLUP_LIVE_BYTES;
	case FT_ROLLUP_PEAK_BLOCKS:
		return FT_ROLLUP_LIVE_BLOCKS;
	default:
		return -1;
	}
}

static bool columns_init(struct ft_column_out *columns, size_t n, const size_t *bytes)
{
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		columns[i] = (struct ft_column_out){.capacity = bytes[i] + 1};
		columns[i].data = malloc(columns[i].capacity);
		ok = ok && columns[i].data;
	}
	return ok;
}

static bool columns_pack(struct ft_packer *packer, struct ft_column_out *columns, size_t n,
			 enum ft_columns_type type, uint32_t n_rows, bool ok, struct ft_strbuf *out)
{
	const struct ft_columns_head head = {
		.type = (uint8_t)type, .n_columns = (uint8_t)n, .n_rows = n_rows};
	size_t packed[FT_COLUMNS_MAX];

	ok = ok && ft_pack(packer, &head, columns, packed, out);
	for (size_t i = 0; i < n; i++)
		free(columns[i].data);
	return ok;
}

static void put_account(struct ft_column_out *columns, const struct ft_rollup_accounts *accounts,
			const struct ft_rollup_account *a, uint32_t before)
{
	uint64_t birth = 0;

	ft_put_varint(&columns[ACOL_ACCOUNT], a->id - before);
	for (int f = 0; f < FT_ROLLUP_FIELDS; f++) {
		int to = relative_to(f);

		ft_put_varint(&columns[ACOL_ACCOUNT],
			      to < 0 ? a->value[f] : ft_zigzag(a->value[f] - a->value[to]));
	}
	ft_put_varint(&columns[ACOL_ACCOUNT], a->n_cohorts);
	for (uint32_t i = 0; i < a->n_cohorts; i++) {
		const struct ft_rollup_cohort *c = &accounts->cohorts[a->first_cohort + i];

		ft_put_varint(&columns[ACOL_COHORT], c->birth - birth);
		ft_put_varint(&columns[ACOL_COHORT], c->blocks);
		ft_put_varint(&columns[ACOL_COHORT], c->bytes);
		birth = c->birth;
	}
}

bool ft_rollup_pack(struct ft_packer *packer, const struct ft_rollup_accounts *accounts,
		    struct ft_strbuf *out)
{
	struct ft_column_out columns[ACOL_N];
	const size_t bytes[ACOL_N] = {(size_t)accounts->n * ACCOUNT_BYTES,
				      (size_t)accounts->n_cohorts * COHORT_BYTES};
	bool ok = columns_init(columns, ACOL_N, bytes);

	for (uint32_t i = 0; ok && i < accounts->n; i++)
		put_account(columns, accounts, &accounts->accounts[i],
			    i ? accounts->accounts[i - 1].id : 0);
	return columns_pack(packer, columns, ACOL_N, FT_COLUMNS_ROLLUP, accounts->n, ok, out);
}

bool ft_rollup_pack_pairs(struct ft_packer *packer, const struct ft_rollup_pair *pairs, uint32_t n,
			  struct ft_strbuf *out)
{
	struct ft_column_out columns[PCOL_N];
	const size_t bytes[PCOL_N] = {(size_t)n * PAIR_BYTES};
	bool ok = columns_init(columns, PCOL_N, bytes);

	for (uint32_t i = 0; ok && i < n; i++) {
		ft_put_varint(&columns[PCOL_PAIR], pairs[i].owner - (i ? pairs[i - 1].owner : 0));
		ft_put_varint(&columns[PCOL_PAIR], pairs[i].freer);
		ft_put_varint(&columns[PCOL_PAIR], pairs[i].bytes);
	}
	return columns_pack(packer, columns, PCOL_N, FT_COLUMNS_PAIRS, n, ok, out);
}

bool ft_rollup_pack_largest(struct ft_packer *packer, const struct ft_rollup *rollup,
			    struct ft_strbuf *out)
{
	const struct ft_largest *largest = &rollup->largest;
	const struct ft_columns_head head = {
		.type = FT_COLUMNS_LARGEST, .n_columns = LCOL_N, .n_rows = largest->n};
	uint8_t bytes[FT_LARGEST * BIRTH_BYTES];
	struct ft_column_out columns[LCOL_N] = {{.data = bytes}};
	size_t packed[FT_COLUMNS_MAX];

	for (uint32_t i = 0; i < largest->n; i++) {
		const struct ft_birth *birth = &largest->births[i];

		ft_put_varint(&columns[LCOL_BIRTH], birth->size);
		ft_put_varint(&columns[LCOL_BIRTH], birth->old_size);
		ft_put_varint(&columns[LCOL_BIRTH], birth->seq - rollup->first_seq);
		ft_put_varint(&columns[LCOL_BIRTH], birth->time_ns - rollup->first_ns);
		ft_put_varint(&columns[LCOL_BIRTH], birth->stack);
		ft_put_varint(&columns[LCOL_BIRTH], birth->thread);
		ft_put_varint(&columns[LCOL_BIRTH], birth->api);
	}
	return ft_pack(packer, &head, columns, packed, out);
}

static const char ends_early[] = "a column ends early";

/* The next number of a column; *damage is set when there is none. */
static uint64_t take(struct ft_column_in *column, const char **damage)
{
	if (column->at >= column->end) {
		*damage = ends_early;
		return 0;
	}
	return ft_get_varint(column);
}

/* Before room is made for rows: a blob can claim more of them than its bytes can be. */
static bool too_few(const struct ft_column_in *column, uint32_t n_rows, size_t least)
{
	return n_rows > (size_t)(column->end - column->at) / least;
}

static const char *used_up(const struct ft_column_in *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i].at != columns[i].end)
			return "a column is longer or shorter than its rows need";
	return NULL;
}

static const char *take_account(struct ft_column_in *columns, struct ft_rollup_accounts *accounts,
				uint32_t index, uint32_t room)
{
	struct ft_rollup_account *a = &accounts->accounts[index];
	const char *damage = NULL;
	uint64_t id = take(&columns[ACOL_ACCOUNT], &damage), n, birth = 0;
	uint64_t before = index ? accounts->accounts[index - 1].id : 0;

	if (id > UINT32_MAX - before || (index && !id))
		return "an account's number is out of order";
	a->id = (uint32_t)(before + id);
	for (int f = 0; f < FT_ROLLUP_FIELDS; f++) {
		int to = relative_to(f);
		uint64_t value = take(&columns[ACOL_ACCOUNT], &damage);

		a->value[f] = to < 0 ? value : a->value[to] + ft_unzigzag(value);
	}
	n = take(&columns[ACOL_ACCOUNT], &damage);
	if (n > FT_ROLLUP_MAX_COHORTS || n > room - accounts->n_cohorts)
		return "an account has too many cohorts";
	a->first_cohort = accounts->n_cohorts;
	a->n_cohorts = (uint32_t)n;
	for (uint64_t i = 0; i < n && !damage; i++) {
		struct ft_rollup_cohort *c = &accounts->cohorts[accounts->n_cohorts++];

		c->birth = birth += take(&columns[ACOL_COHORT], &damage);
		c->blocks = take(&columns[ACOL_COHORT], &damage);
		c->bytes = take(&columns[ACOL_COHORT], &damage);
	}
	return damage;
}

const char *ft_rollup_unpack(struct ft_unpacker *unpacker, const void *data, size_t len,
			     struct ft_rollup_accounts *ret)
{
	static const uint16_t row_bytes[ACOL_N] = {ACCOUNT_BYTES, COHORTS_BYTES};
	struct ft_column_in columns[ACOL_N];
	struct ft_columns_head head = {0};
	struct ft_rollup_accounts accounts = {0};

	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_ROLLUP,
				       FT_ROLLUP_MAX_ACCOUNTS, row_bytes, ACOL_N, &head, columns);

	if (damage)
		return damage;
	if (too_few(&columns[ACOL_ACCOUNT], head.n_rows, LEAST_ACCOUNT))
		return ends_early;
	/* A cohort takes three bytes at least: so many there can be. */
	size_t room = (size_t)(columns[ACOL_COHORT].end - columns[ACOL_COHORT].at) / 3;

	accounts.accounts = calloc(head.n_rows + (size_t)1, sizeof(*accounts.accounts));
	accounts.cohorts = calloc(room + 1, sizeof(*accounts.cohorts));
	if (!accounts.accounts || !accounts.cohorts)
		damage = ft_unpack_nomem;
	for (uint32_t i = 0; i < head.n_rows && !damage; i++)
		damage = take_account(columns, &accounts, i, (uint32_t)room);
	accounts.n = head.n_rows;
	if (!damage)
		damage = used_up(columns, ACOL_N);
	if (damage) {
		free(accounts.accounts);
		free(accounts.cohorts);
		return damage;
	}
	*ret = accounts;
	return NULL;
}

const char *ft_rollup_unpack_pairs(struct ft_unpacker *unpacker, const void *data, size_t len,
				   struct ft_rollup_pair **ret, uint32_t *n)
{
	static const uint16_t row_bytes[PCOL_N] = {PAIR_BYTES};
	struct ft_column_in columns[PCOL_N];
	struct ft_columns_head head = {0};
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_PAIRS, FT_ROLLUP_MAX_PAIRS,
				       row_bytes, PCOL_N, &head, columns);
	struct ft_rollup_pair *pairs;
	uint64_t owner = 0;

	if (damage)
		return damage;
	if (too_few(&columns[PCOL_PAIR], head.n_rows, LEAST_PAIR))
		return ends_early;
	pairs = calloc(head.n_rows + (size_t)1, sizeof(*pairs));
	if (!pairs)
		return ft_unpack_nomem;
	for (uint32_t i = 0; i < head.n_rows && !damage; i++) {
		uint64_t freer;

		owner += take(&columns[PCOL_PAIR], &damage);
		freer = take(&columns[PCOL_PAIR], &damage);
		if (owner > UINT32_MAX || freer > UINT32_MAX)
			damage = "a thread's number is out of range";
		pairs[i] = (struct ft_rollup_pair){.owner = (uint32_t)owner,
						   .freer = (uint32_t)freer,
						   .bytes = take(&columns[PCOL_PAIR], &damage)};
	}
	if (!damage)
		damage = used_up(columns, PCOL_N);
	if (damage) {
		free(pairs);
		return damage;
	}
	*ret = pairs;
	*n = head.n_rows;
	return NULL;
}

static const char *take_birth(struct ft_column_in *column, const struct ft_rollup *rollup,
			      struct ft_birth *ret)
{
	const char *damage = NULL;
	uint64_t size = take(column, &damage), old_size = take(column, &damage);
	uint64_t seq = take(column, &damage), time_ns = take(column, &damage);
	uint64_t stack = take(column, &damage), thread = take(column, &damage);
	uint64_t api = take(column, &damage);

	if (damage)
		return damage;
	if (size <= old_size)
		return "a largest block was made no larger";
	if (seq >= rollup->n_events || time_ns > rollup->last_ns - rollup->first_ns)
		return "a largest block was not born in it";
	if (stack > UINT32_MAX || thread > UINT32_MAX || api >= FT_API_N)
		return "a largest block has a number that is out of range";
	*ret = (struct ft_birth){.seq = rollup->first_seq + seq,
				 .time_ns = rollup->first_ns + time_ns,
				 .size = size,
				 .old_size = old_size,
				 .stack = (uint32_t)stack,
				 .thread = (uint32_t)thread,
				 .api = (uint8_t)api};
	return NULL;
}

const char *ft_rollup_unpack_largest(struct ft_unpacker *unpacker, const void *data, size_t len,
				     struct ft_rollup *rollup)
{
	static const uint16_t row_bytes[LCOL_N] = {BIRTH_BYTES};
	struct ft_column_in columns[LCOL_N];
	struct ft_columns_head head = {0};
	struct ft_birth *births = rollup->largest.births;
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_LARGEST, FT_LARGEST,
				       row_bytes, LCOL_N, &head, columns);

	for (uint32_t i = 0; !damage && i < head.n_rows; i++) {
		damage = take_birth(&columns[LCOL_BIRTH], rollup, &births[i]);
		if (!damage && i &&
		    (births[i].size > births[i - 1].size ||
		     (births[i].size == births[i - 1].size && births[i].seq <= births[i - 1].seq)))
			damage = "its largest blocks are out of order";
	}
	if (!damage)
		damage = used_up(columns, LCOL_N);
	rollup->largest.n = damage ? 0 : head.n_rows;
	return damage;
}

/* ---- merging ----------------------------------------------------------------------------------
 */

struct merge {
	uint64_t first_ns;
	uint32_t shift_a, shift_b, shift;
	bool peak_in_b;
};

/* Only `a` had the account: in `b` it stayed as it was. */
static void merge_first(const struct merge *m, const uint64_t *a, uint64_t *to)
{
	memcpy(to, a, FT_ROLLUP_FIELDS * sizeof(*a));
	if (!m->peak_in_b)
		return;
	to[FT_ROLLUP_PEAK_BYTES] = a[FT_ROLLUP_LIVE_BYTES];
	to[FT_ROLLUP_PEAK_BLOCKS] = a[FT_ROLLUP_LIVE_BLOCKS];
}

/* Only `b` had it: in `a` it was as at the start of `b`. */
static void merge_second(const struct merge *m, const uint64_t *b, uint64_t *to)
{
	memcpy(to, b, FT_ROLLUP_FIELDS * sizeof(*b));
	if (m->peak_in_b)
		return;
	to[FT_ROLLUP_PEAK_BYTES] =
		b[FT_ROLLUP_LIVE_BYTES] - b[FT_ROLLUP_BORN_BYTES] + b[FT_ROLLUP_FREED_BYTES];
	to[FT_ROLLUP_PEAK_BLOCKS] =
		b[FT_ROLLUP_LIVE_BLOCKS] - b[FT_ROLLUP_BORN_BLOCKS] + b[FT_ROLLUP_FREED_BLOCKS];
}

static void merge_both(const struct merge *m, const uint64_t *a, const uint64_t *b, uint64_t *to)
{
	for (int f = 0; f < FT_ROLLUP_FIELDS; f++) {
		switch (f) {
		case FT_ROLLUP_LIVE_BLOCKS:
		case FT_ROLLUP_LIVE_BYTES:
			to[f] = b[f];
			break;
		case FT_ROLLUP_LOW_BYTES:
			to[f] = a[f] < b[f] ? a[f] : b[f];
			break;
		case FT_ROLLUP_PEAK_BLOCKS:
		case FT_ROLLUP_PEAK_BYTES:
		case FT_ROLLUP_PEAK_VARIANCE:
			to[f] = m->peak_in_b ? b[f] : a[f];
			break;
		default:
			to[f] = a[f] + b[f];
		}
	}
}

/* Add a cohort at the end; what was born within the merged interval is in no cohort of it. */
static void add_cohort(const struct merge *m, struct ft_rollup_accounts *to, uint32_t first,
		       const struct ft_rollup_cohort *cohort, uint32_t shift)
{
	uint64_t birth = cohort->birth >> (m->shift - shift);

	if (cohort->birth << shift >= m->first_ns)
		return;
	if (to->n_cohorts > first && to->cohorts[to->n_cohorts - 1].birth == birth) {
		to->cohorts[to->n_cohorts - 1].blocks += cohort->blocks;
		to->cohorts[to->n_cohorts - 1].bytes += cohort->bytes;
		return;
	}
	to->cohorts[to->n_cohorts++] = (struct ft_rollup_cohort){
		.birth = birth, .blocks = cohort->blocks, .bytes = cohort->bytes};
}

/* Both lists are by age; so is their merge. NULL accounts have none. */
static void merge_cohorts(const struct merge *m, const struct ft_rollup_accounts *a,
			  const struct ft_rollup_account *from_a,
			  const struct ft_rollup_accounts *b,
			  const struct ft_rollup_account *from_b, struct ft_rollup_accounts *to,
			  struct ft_rollup_account *account)
{
	uint32_t i = 0, j = 0, first = to->n_cohorts;
	uint32_t n_a = from_a ? from_a->n_cohorts : 0, n_b = from_b ? from_b->n_cohorts : 0;

	while (i < n_a || j < n_b) {
		const struct ft_rollup_cohort *x =
			i < n_a ? &a->cohorts[from_a->first_cohort + i] : NULL;
		const struct ft_rollup_cohort *y =
			j < n_b ? &b->cohorts[from_b->first_cohort + j] : NULL;

		if (x && (!y || x->birth >> (m->shift - m->shift_a) <= y->birth >>
					(m->shift - m->shift_b))) {
			add_cohort(m, to, first, x, m->shift_a);
			i++;
		} else if (y) {
			add_cohort(m, to, first, y, m->shift_b);
			j++;
		}
	}
	account->first_cohort = first;
	account->n_cohorts = to->n_cohorts - first;
}

static bool merge_accounts(const struct merge *m, const struct ft_rollup_accounts *a,
			   const struct ft_rollup_accounts *b, struct ft_rollup_accounts *to)
{
	uint32_t i = 0, j = 0;

	to->accounts = calloc((size_t)a->n + b->n + 1, sizeof(*to->accounts));
	to->cohorts = calloc((size_t)a->n_cohorts + b->n_cohorts + 1, sizeof(*to->cohorts));
	if (!to->accounts || !to->cohorts)
		return false;
	while (i < a->n || j < b->n) {
		const struct ft_rollup_account *x = i < a->n ? &a->accounts[i] : NULL;
		const struct ft_rollup_account *y = j < b->n ? &b->accounts[j] : NULL;
		struct ft_rollup_account *account = &to->accounts[to->n++];

		if (x && y && x->id != y->id) {
			if (x->id < y->id)
				y = NULL;
			else
				x = NULL;
		}
		if (x)
			account->id = x->id;
		else if (y)
			account->id = y->id;
		if (x && y)
			merge_both(m, x->value, y->value, account->value);
		else if (x)
			merge_first(m, x->value, account->value);
		else if (y)
			merge_second(m, y->value, account->value);
		merge_cohorts(m, a, x, b, y, to, account);
		i += x != NULL;
		j += y != NULL;
	}
	return true;
}

int ft_rollup_compare_cohorts(const void *a, const void *b)
{
	const struct ft_rollup_cohort *x = a, *y = b;

	return x->birth < y->birth ? -1 : x->birth > y->birth;
}

int ft_rollup_compare_pairs(const void *a, const void *b)
{
	const struct ft_rollup_pair *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return x->freer < y->freer ? -1 : x->freer > y->freer;
}

static bool merge_pairs(const struct ft_rollup *a, const struct ft_rollup *b, struct ft_rollup *to)
{
	uint32_t i = 0, j = 0;

	to->pairs = calloc((size_t)a->n_pairs + b->n_pairs + 1, sizeof(*to->pairs));
	if (!to->pairs)
		return false;
	while (i < a->n_pairs || j < b->n_pairs) {
		const struct ft_rollup_pair *x = i < a->n_pairs ? &a->pairs[i] : NULL;
		const struct ft_rollup_pair *y = j < b->n_pairs ? &b->pairs[j] : NULL;
		struct ft_rollup_pair *pair = &to->pairs[to->n_pairs++];

		if (x && (!y || ft_rollup_compare_pairs(x, y) <= 0)) {
			*pair = *x;
			i++;
			if (y && ft_rollup_compare_pairs(x, y) >= 0) {
				pair->bytes += y->bytes;
				j++;
			}
		} else if (y) {
			*pair = *y;
			j++;
		}
	}
	return true;
}

bool ft_rollup_merge(const struct ft_rollup *a, const struct ft_rollup *b, uint32_t shift,
		     struct ft_rollup *ret)
{
	/* The engine's rule for a new peak: higher, not as high. */
	bool peak_in_b = b->peak_bytes > a->peak_bytes;
	const struct ft_rollup *peak = peak_in_b ? b : a;
	const struct merge m = {.first_ns = a->first_ns,
				.shift_a = a->cohort_shift,
				.shift_b = b->cohort_shift,
				.shift = shift,
				.peak_in_b = peak_in_b};

	*ret = (struct ft_rollup){
		.level = (a->level > b->level ? a->level : b->level) + 1,
		.cohort_shift = shift,
		.first_ns = a->first_ns,
		.last_ns = b->last_ns,
		.first_seq = a->first_seq,
		.n_events = a->n_events + b->n_events,
		.n_allocs = a->n_allocs + b->n_allocs,
		.n_frees = a->n_frees + b->n_frees,
		.bytes_allocated = a->bytes_allocated + b->bytes_allocated,
		.bytes_freed = a->bytes_freed + b->bytes_freed,
		.n_unknown_frees = a->n_unknown_frees + b->n_unknown_frees,
		.n_overlaps = a->n_overlaps + b->n_overlaps,
		.low_bytes = a->low_bytes < b->low_bytes ? a->low_bytes : b->low_bytes,
		.peak_bytes = peak->peak_bytes,
		.peak_ns = peak->peak_ns,
		.peak_seq = peak->peak_seq,
		.peak_variance = peak->peak_variance,
		.allocated_variance = a->allocated_variance + b->allocated_variance,
		.live_blocks = b->live_blocks,
		.live_bytes = b->live_bytes,
		.live_usable = b->live_usable,
		.live_variance = b->live_variance,
		.largest = a->largest,
	};
	ft_largest_join(&ret->largest, &b->largest);
	if (merge_accounts(&m, &a->sites, &b->sites, &ret->sites) &&
	    merge_accounts(&m, &a->threads, &b->threads, &ret->threads) && merge_pairs(a, b, ret))
		return true;
	ft_rollup_clear(ret);
	return false;
}
